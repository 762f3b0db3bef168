"""Every figure of one method on one cohort, as `metrics.json` holds it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.analysis.bootstrap import bootstrap
from axilla.analysis.intervals import (
    as_json,
    clopper_pearson,
    f1_interval,
    logit_predictive_value,
)
from axilla.analysis.roc import AucEstimate, auc_estimate, macro_interval, one_class
from axilla.core.types import Confusion, Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MEASURES = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")
REDRAW_SEED = 2021
"""Of the redrawn patients, so that a metrics file made again is the same, bit by bit."""


def count_confusion(labels: ArrayLike, scores: ArrayLike, *, threshold: float) -> Confusion:
    """Count the cross table; a score at or above the threshold is positive."""
    return count_calls(labels, np.asarray(scores) >= threshold)


def count_calls(labels: ArrayLike, called: NDArray[np.bool_]) -> Confusion:
    """Count the cross table of who is positive, [n], and who is called so, [n]."""
    truth = np.asarray(labels).astype(bool)
    return Confusion(
        tp=int(np.sum(truth & called)),
        fn=int(np.sum(truth & ~called)),
        tn=int(np.sum(~truth & ~called)),
        fp=int(np.sum(~truth & called)),
    )


def measures(confusion: Confusion) -> dict[str, Estimate]:
    """Accuracy, sensitivity, specificity (exact), PPV, NPV (logit) and F1 with 95% intervals.

    Examples
    --------
    The paper's DL-CNB model on its training cohort:

    >>> round(measures(Confusion(tp=226, fn=14, tn=280, fp=110))["ppv"].value, 4)
    0.6726
    """
    positives, negatives = confusion.tp + confusion.fn, confusion.tn + confusion.fp
    return {
        "accuracy": clopper_pearson(confusion.tp + confusion.tn, positives + negatives),
        "sensitivity": clopper_pearson(confusion.tp, positives)
        if positives
        else Estimate(math.nan, reason="no patient is positive"),
        "specificity": clopper_pearson(confusion.tn, negatives)
        if negatives
        else Estimate(math.nan, reason="no patient is negative"),
        "ppv": logit_predictive_value(confusion, of="ppv"),
        "npv": logit_predictive_value(confusion, of="npv"),
        "f1": f1_interval(confusion),
    }


def binary_entry(
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    *,
    threshold: float | str,
    own_thresholds: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Return the figures of a two-class cohort.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    scores
        [n], probability of the positive class.
    threshold
        The threshold, or the reason why there is none.
    own_thresholds
        [n], what each patient's score is called by, where not all by the same.
    """
    entry: dict[str, Any] = {
        "n": len(labels),
        "positives": int(labels.sum()),
        "threshold": None if isinstance(threshold, str) else float(threshold),
        "auc": _area(labels, scores).as_json(),
    }
    if isinstance(threshold, str):
        undefined = as_json(Estimate(math.nan, reason=threshold))
        entry |= {name: dict(undefined) for name in MEASURES}
        return entry | {"confusion": None, "reason": threshold}
    at = threshold if own_thresholds is None else own_thresholds
    confusion = count_calls(labels, scores >= at)
    figures = {name: as_json(value) for name, value in measures(confusion).items()}
    counts = {name: getattr(confusion, name) for name in ("tp", "fn", "tn", "fp")}
    return entry | figures | {"confusion": counts}


def multiclass_entry(
    labels: NDArray[np.int64], scores: NDArray[np.float64], *, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the figures of a cohort with three classes or more; the likeliest class is called.

    Parameters
    ----------
    labels
        [n], index into `classes`.
    scores
        [n, classes], probabilities.
    classes
        Names in the order of the labels.

    Returns
    -------
    dict
        `auc` is the mean of the one-versus-rest areas in `auc_by_class`, its interval that of
        `macro_interval` (there is no exact one); `macro_f1` is the mean over classes of `f1`, its
        interval BCa's of 2,000 redraws of the patients; rows of `confusion_matrix` are the true
        class, columns the called one.
    """
    called = scores.argmax(axis=1)
    matrix = _cross_table(labels, called, count=len(classes))
    areas = {name: _area(labels == index, scores[:, index]) for index, name in enumerate(classes)}
    by_class = [measures(_versus_rest(matrix, index)) for index in range(len(classes))]
    return {
        "n": len(labels),
        "classes": list(classes),
        "counts": dict(zip(classes, matrix.sum(axis=1).tolist(), strict=True)),
        "threshold": None,
        "auc": _macro(labels, scores, areas),
        "auc_by_class": {name: area.as_json() for name, area in areas.items()},
        "accuracy": as_json(clopper_pearson(int(np.trace(matrix)), len(labels))),
        "precision": {c: as_json(m["ppv"]) for c, m in zip(classes, by_class, strict=True)},
        "recall": {c: as_json(m["sensitivity"]) for c, m in zip(classes, by_class, strict=True)},
        "f1": {c: as_json(m["f1"]) for c, m in zip(classes, by_class, strict=True)},
        "macro_f1": bootstrap(_macro_f1, labels, scores, seed=REDRAW_SEED).as_json(),
        "confusion_matrix": matrix.tolist(),
    }


def _macro_f1(labels: NDArray[Any], scores: NDArray[np.float64]) -> float:
    """Mean of the classes' F1; NaN where a class neither is there nor was called."""
    matrix = _cross_table(labels, scores.argmax(axis=1), count=scores.shape[1])
    met = matrix.sum(axis=0) + matrix.sum(axis=1)
    return math.nan if (met == 0).any() else float(np.mean(2 * matrix.diagonal() / met))


def _cross_table(labels: NDArray[Any], called: NDArray[Any], *, count: int) -> NDArray[np.int64]:
    """Patients by true class (rows) and called class (columns), [count, count]."""
    cells = np.bincount(labels * count + called, minlength=count**2)
    return cells.reshape(count, count).astype(np.int64)


def _area(labels: NDArray[Any], scores: NDArray[np.float64]) -> AucEstimate:
    positive = labels.astype(bool)
    if positive.all() or not positive.any():
        undefined = Estimate(math.nan, reason=one_class(positive))
        return AucEstimate(undefined, undefined)
    return auc_estimate(positive, scores)


def _versus_rest(matrix: NDArray[np.int64], index: int) -> Confusion:
    tp = int(matrix[index, index])
    fn = int(matrix[index].sum()) - tp
    fp = int(matrix[:, index].sum()) - tp
    return Confusion(tp=tp, fn=fn, fp=fp, tn=int(matrix.sum()) - tp - fn - fp)


def _macro(
    labels: NDArray[np.int64], scores: NDArray[np.float64], areas: dict[str, AucEstimate]
) -> dict[str, Any]:
    undefined = [name for name, area in areas.items() if math.isnan(area.value)]
    if undefined:
        reason = f"class {undefined[0]}: {areas[undefined[0]].exact.reason}"
        return AucEstimate(Estimate(math.nan, reason=reason), Estimate(math.nan)).as_json()
    delong = macro_interval(labels, scores)
    exact = Estimate(
        delong.value, reason=delong.reason or "the mean over classes has no exact interval, only "
        "DeLong's; see auc_by_class",
    )  # fmt: skip
    return AucEstimate(exact, delong).as_json()
