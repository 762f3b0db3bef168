"""Operating points: thresholds chosen by rules on one cohort, applied unchanged to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from axilla.analysis.cohort_metrics import count_confusion, measures
from axilla.analysis.intervals import as_json
from axilla.analysis.spared import Spared, count_spared
from axilla.analysis.thresholds import choose_threshold
from axilla.core.config import NpvThreshold, SensitivityThreshold, Threshold
from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

RULES: tuple[Threshold, ...] = (
    "youden-validation",
    SensitivityThreshold(sensitivity=0.9),
    SensitivityThreshold(sensitivity=0.95),
    SensitivityThreshold(sensitivity=0.99),
    NpvThreshold(npv=0.9),
    NpvThreshold(npv=0.95),
    0.5,
)
"""What a reader asks for first; those of sensitivity and NPV rule out positive nodes."""

_FIGURES = ("sensitivity", "specificity", "ppv", "npv")
_COUNTS = ("tp", "fn", "tn", "fp")


@dataclass(frozen=True, slots=True)
class LockedRule:
    """A rule with the threshold that it chose."""

    rule: Threshold
    threshold: float | None
    """A score at or above it is positive; None where no threshold meets the rule."""
    reason: str | None = None
    """Why there is no threshold."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A locked rule on one cohort: who is called what, and how often that is right."""

    locked: LockedRule
    confusion: Confusion
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    spared: Spared

    @property
    def n_at_or_above(self) -> int:
        """Patients called positive, who keep their biopsy."""
        return self.confusion.tp + self.confusion.fp

    @property
    def n_below(self) -> int:
        """Patients called negative, who would be spared."""
        return self.confusion.tn + self.confusion.fn


def lock_rules(
    labels: ArrayLike, scores: ArrayLike, *, rules: Sequence[Threshold] = RULES
) -> tuple[LockedRule, ...]:
    """Choose the threshold of every rule on these patients, those of the validation cohort.

    Parameters
    ----------
    labels
        [n], 0 or 1; n is 0 where there is no such cohort, and only fixed thresholds remain.
    scores
        [n].
    rules
        As the study's `threshold`.

    Returns
    -------
    tuple of LockedRule
        In the order of the rules; one that cannot be met has no threshold but its reason.

    Raises
    ------
    StatisticsError
        A rule chooses anew on every cohort, which nothing can lock.
    """
    return tuple(_lock(labels, scores, rule) for rule in rules)


def operating_points(
    locked: Sequence[LockedRule], labels: ArrayLike, scores: ArrayLike
) -> tuple[OperatingPoint | LockedRule, ...]:
    """Measure locked thresholds on a cohort, whichever it is.

    Parameters
    ----------
    locked
        From `lock_rules`.
    labels
        [n], 0 or 1.
    scores
        [n].

    Returns
    -------
    tuple of OperatingPoint or LockedRule
        In the order of the rules; a rule without a threshold comes back as it is.
    """
    return tuple(
        rule
        if rule.threshold is None
        else _point(rule, count_confusion(labels, scores, threshold=rule.threshold))
        for rule in locked
    )


def operating_points_json(points: Sequence[OperatingPoint | LockedRule]) -> list[dict[str, Any]]:
    """Return the entry `operating_points` of `metrics.json`, one a rule.

    A rule that could not be met has null for its threshold, and a `reason`; no figures.
    """
    return [_as_json(point) for point in points]


def _lock(labels: ArrayLike, scores: ArrayLike, rule: Threshold) -> LockedRule:
    if rule == "youden-per-cohort":
        raise StatisticsError(
            "a threshold that is chosen anew on each cohort cannot be locked.",
            "Use `youden-validation`.",
        )
    try:
        return LockedRule(rule, choose_threshold(labels, scores, rule=rule))
    except StatisticsError as error:
        return LockedRule(rule, None, error.problem.cause.rstrip("."))


def _point(rule: LockedRule, confusion: Confusion) -> OperatingPoint:
    figures = measures(confusion)
    return OperatingPoint(
        locked=rule,
        confusion=confusion,
        sensitivity=figures["sensitivity"],
        specificity=figures["specificity"],
        ppv=figures["ppv"],
        npv=figures["npv"],
        spared=count_spared(confusion),
    )


def _as_json(point: OperatingPoint | LockedRule) -> dict[str, Any]:
    locked = point.locked if isinstance(point, OperatingPoint) else point
    rule = locked.rule.model_dump() if isinstance(locked.rule, BaseModel) else locked.rule
    entry: dict[str, Any] = {"rule": rule, "threshold": locked.threshold}
    if not isinstance(point, OperatingPoint):
        return entry | {"reason": locked.reason}
    counts = {name: getattr(point.confusion, name) for name in _COUNTS}
    entry |= {"n_at_or_above": point.n_at_or_above, "n_below": point.n_below, "confusion": counts}
    entry |= {name: as_json(getattr(point, name)) for name in _FIGURES}
    return entry | point.spared.as_json()
