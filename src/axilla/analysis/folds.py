"""Figures of repeated cross-validation: one a fold, and their mean with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.analysis.intervals import finite_or_none
from axilla.analysis.roc import auc
from axilla.analysis.thresholds import choose_threshold, is_chosen_on_validation
from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from axilla.analysis.score_table import Scores, ScoreTable
    from axilla.core.config import Threshold


@dataclass(frozen=True, slots=True)
class _Figure:
    """One fold's figure; NaN with its reason where it is undefined."""

    repeat: int
    fold: int
    value: float
    reason: str | None = None


def fold_thresholds(
    table: ScoreTable, method: str, *, rule: Threshold
) -> dict[tuple[int, int], float | str]:
    """Choose a threshold in every (repeat, fold) by its own validation patients.

    A fold without both classes in validation holds the reason instead of a number.

    Raises
    ------
    StatisticsError
        No fold can choose one.
    """
    chosen: dict[tuple[int, int], float | str] = {}
    for repeat, fold, cohorts in table.partitions(method):
        source = "val" if is_chosen_on_validation(rule) else "test"
        if isinstance(rule, float | int):
            chosen[repeat, fold] = float(rule)
        elif source not in cohorts:
            chosen[repeat, fold] = f"the fold has no {source} patients to choose a threshold on"
        else:
            part = cohorts[source]
            try:
                chosen[repeat, fold] = choose_threshold(part.labels, part.positive, rule=rule)
            except StatisticsError as error:
                chosen[repeat, fold] = error.problem.cause.rstrip(".")
    if all(isinstance(value, str) for value in chosen.values()):
        raise StatisticsError(
            f"method {method}: no fold can choose a threshold ({next(iter(chosen.values()))}).",
            "Add a validation share to the folds, or set a fixed threshold such as 0.5.",
        )
    return chosen


def summarise_folds(
    table: ScoreTable,
    method: str,
    *,
    thresholds: Mapping[tuple[int, int], float | str],
    names: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """Mean, standard deviation and standard error over the folds' test patients.

    Parameters
    ----------
    table
        Predictions with repeat and fold; only the rows of cohort `test` are scored.
    method
        The method.
    thresholds
        By (repeat, fold); not used with more than two classes, where the likeliest is called.
    names
        The group that each fold leaves out, where folds have one.

    Returns
    -------
    dict
        `auc` and `accuracy`: one value a (repeat, fold), `at` says which; `se` is sd / sqrt(n).
        Folds of one repeat share training patients, so `se` is, as in the literature it is
        compared with (Ilse 2018), an understatement. `by_repeat` holds the means over the folds
        of each repeat, `pooled_auc_by_repeat` the area over all patients of a repeat. `by_fold`
        lists every fold with its test patients, its threshold and both figures, None where one is
        not defined, with the reason.
    """
    areas: list[_Figure] = []
    accuracies: list[_Figure] = []
    by_fold: list[dict[str, Any]] = []
    for repeat, fold, cohorts in table.partitions(method):
        if "test" not in cohorts:
            missing = _Figure(repeat, fold, math.nan, "the fold has no test patients")
            areas.append(missing)
            accuracies.append(missing)
        else:
            test = cohorts["test"]
            areas.append(_area(test, repeat=repeat, fold=fold))
            accuracies.append(_accuracy(test, thresholds.get((repeat, fold), ""), repeat, fold))
        counts = _counts(cohorts.get("test"), table.classes)
        entry = _entry(areas[-1], accuracies[-1], counts, names or {})
        if (chosen := thresholds.get((repeat, fold))) is not None:
            entry["threshold"] = None if isinstance(chosen, str) else chosen
        by_fold.append(entry)
    repeats = table.repeats(method, cohort="test")
    pooled = [_area(test, repeat=repeat, fold=-1) for repeat, test in repeats]
    return {
        "auc": _summary(areas),
        "accuracy": _summary(accuracies),
        "by_fold": by_fold,
        "by_repeat": _by_repeat(areas, accuracies),
        "pooled_auc_by_repeat": _summary(pooled, by_fold=False),
    }


def _counts(part: Scores | None, classes: tuple[str, ...]) -> dict[str, Any]:
    """Test patients of a fold: all and the positive ones, or those of each class."""
    labels = [] if part is None else part.labels.tolist()
    by_class = {name: labels.count(index) for index, name in enumerate(classes)}
    if len(classes) > 2:
        return {"n": len(labels), "counts": by_class}
    return {"n": len(labels), "positives": by_class[classes[1]]}


def _entry(
    area: _Figure, accuracy: _Figure, counts: Mapping[str, Any], names: Mapping[int, str]
) -> dict[str, Any]:
    entry: dict[str, Any] = {"repeat": area.repeat, "fold": area.fold}
    if area.fold in names:
        entry["held_out"] = names[area.fold]
    entry |= {
        **counts,
        "auc": finite_or_none(area.value),
        "accuracy": finite_or_none(accuracy.value),
    }
    reasons = {n: f.reason for n, f in (("auc", area), ("accuracy", accuracy)) if f.reason}
    return entry | ({"reasons": reasons} if reasons else {})


def _area(part: Scores, *, repeat: int, fold: int) -> _Figure:
    """Area of two classes; the mean one-versus-rest area of more."""
    count = part.scores.shape[1]
    columns = [1] if count == 2 else list(range(count))
    try:
        values = [auc(part.labels == column, part.scores[:, column]) for column in columns]
    except StatisticsError as error:
        return _Figure(repeat, fold, math.nan, error.problem.cause.rstrip("."))
    return _Figure(repeat, fold, float(np.mean(values)))


def _accuracy(part: Scores, threshold: float | str, repeat: int, fold: int) -> _Figure:
    if part.scores.shape[1] > 2:
        called = part.scores.argmax(axis=1)
    elif isinstance(threshold, str):
        return _Figure(repeat, fold, math.nan, threshold)
    else:
        called = (part.positive >= threshold).astype(np.int64)
    return _Figure(repeat, fold, float(np.mean(called == part.labels)))


def _summary(figures: Sequence[_Figure], *, by_fold: bool = True) -> dict[str, Any]:
    def place(figure: _Figure) -> dict[str, int]:
        return {"repeat": figure.repeat} | ({"fold": figure.fold} if by_fold else {})

    defined = [figure for figure in figures if not math.isnan(figure.value)]
    values = [figure.value for figure in defined]
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    summary: dict[str, Any] = {
        "mean": float(np.mean(values)) if values else None,
        "se": finite_or_none(sd / math.sqrt(len(values))) if values else None,
        "sd": finite_or_none(sd),
        "n": len(values),
        "values": values,
        "at": [place(figure) for figure in defined],
        "undefined": [
            place(figure) | {"reason": figure.reason}
            for figure in figures
            if math.isnan(figure.value)
        ],
    }
    if len(values) < 2:
        summary["reason"] = (
            "a single value has no spread" if values else "no fold has a defined value"
        )
    return summary


def _by_repeat(areas: Sequence[_Figure], accuracies: Sequence[_Figure]) -> list[dict[str, Any]]:
    def mean(figures: Sequence[_Figure], repeat: int) -> float | None:
        values = [f.value for f in figures if f.repeat == repeat and not math.isnan(f.value)]
        return float(np.mean(values)) if values else None

    return [
        {"repeat": repeat, "auc": mean(areas, repeat), "accuracy": mean(accuracies, repeat)}
        for repeat in sorted({figure.repeat for figure in areas})
    ]
