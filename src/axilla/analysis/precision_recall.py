"""Precision against recall, and the average precision.

Positives carry label 1, negatives 0; a higher score means more likely positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit
from sklearn.metrics import precision_recall_curve

from axilla.analysis.intervals import as_json, clopper_pearson
from axilla.analysis.roc import parse_scores
from axilla.core.types import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """The curve of one score on one cohort; arrays [k], from everybody called positive on."""

    precision: _Floats
    recall: _Floats
    """Falling; the last is 0, where nobody is called positive and precision is set to 1."""
    thresholds: _Floats
    """[k - 1], rising; a score at or above it is positive."""
    average: Estimate
    """Average precision with its 95% interval."""
    prevalence: Estimate
    """Share of positives, the average precision that chance reaches; exact 95% interval."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry `precision_recall` of `metrics.json`; the curve stays out of it."""
        return {
            "average_precision": as_json(self.average),
            "prevalence": as_json(self.prevalence),
        }


def precision_recall(
    labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95
) -> PrecisionRecall:
    """Curve, average precision and baseline.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    scores
        [n], any scale.
    level
        Coverage of the average precision's interval.

    Raises
    ------
    StatisticsError
        Only one class is present, or a score is not finite.
    """
    positive, values = parse_scores(labels, scores, of="precision-recall curve")
    precision, recall, thresholds = precision_recall_curve(positive, values)
    return PrecisionRecall(
        precision=precision,
        recall=recall,
        thresholds=thresholds,
        average=average_precision(positive, values, level=level),
        prevalence=clopper_pearson(int(positive.sum()), len(positive)),
    )


def average_precision(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Estimate:
    r"""Mean over the positives of the precision at each one's score, with a jackknife interval.

    The standard error is the delete-one jackknife's of :math:`\operatorname{logit}(AP)`, the
    quantile Student's with one degree of freedom less than there are positives.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    scores
        [n], any scale.
    level
        Coverage.

    Returns
    -------
    Estimate
        Fraction. Bounds are NaN, with a reason, where the logit of the area, or of the area
        without one of the patients, is infinite, and where all scores are equal.

    Raises
    ------
    StatisticsError
        Only one class is present, or a score is not finite.

    Notes
    -----
    Of four intervals this one kept nearest to 95% where two normal scores of 60 to 2,000 patients
    were drawn: 94.1% to 95.9%. The logit interval of Boyd 2013
    (doi:10.1007/978-3-642-40994-3_29), which looks at the number of positives only, held the truth
    in 90.9% to 98.9%, the percentile bootstrap (in seven of the twelve settings) in 90.4% to
    93.6%. The jackknife: Miller 1974, doi:10.1093/biomet/61.1.1. O(n log n).
    """
    positive, values = parse_scores(labels, scores, of="precision-recall curve")
    value, without_one = _leave_one_out(positive, values)
    positives = int(positive.sum())
    if positives == 1:
        return Estimate(value, reason="a single patient is positive, so nothing says how it varies")
    if max(value, float(without_one.max())) > 1 - 1e-12:
        return Estimate(
            value,
            reason="the classes are separated perfectly, or would be without one patient, "
            "so the logit interval does not exist",
        )
    if np.ptp(values) == 0:
        return Estimate(value, reason="all scores are equal, so the area is the prevalence")
    n, logits = len(values), logit(without_one)
    error = math.sqrt((n - 1) / n * float(np.sum((logits - logits.mean()) ** 2)))
    half = float(stdtrit(positives - 1, 1 - (1 - level) / 2)) * error
    middle = float(logit(value))
    return Estimate(value, float(expit(middle - half)), float(expit(middle + half)))


def _leave_one_out(positive: NDArray[np.bool_], values: _Floats) -> tuple[float, _Floats]:
    """Average precision of all, and [n] without each patient in turn, in the order of the scores.

    Taking a patient away changes the precision at that score and below only, and there by one
    patient, so that sums from the top and from the bottom give every one of them in O(n).
    """
    order = np.argsort(-values, kind="stable")
    truth, ranked = positive[order].astype(np.float64), values[order]
    _, first, group, size = np.unique(
        -ranked, return_index=True, return_inverse=True, return_counts=True
    )
    last = first + size - 1
    # One entry a distinct score, highest first: positives there, and counts at or above.
    here = np.bincount(group, weights=truth)
    above, called = np.cumsum(truth)[last], last + 1.0
    positives = above[-1]
    kept = here * above / called
    # Without a patient who alone has the highest score nobody is called there: nothing to divide.
    others = np.maximum(called - 1, 1)
    no_negative = here * above / others
    no_positive = here * (above - 1) / others
    before = np.cumsum(kept) - kept
    negatives_out = before + _from_bottom(no_negative)
    # The patient's own precision is no longer counted.
    positives_out = before + _from_bottom(no_positive) - (above - 1) / others
    without = np.where(
        truth == 1,
        positives_out[group] / max(positives - 1, 1),
        negatives_out[group] / positives,
    )
    return float(kept.sum() / positives), without


def _from_bottom(values: _Floats) -> _Floats:
    return np.cumsum(values[::-1])[::-1]
