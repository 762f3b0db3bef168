"""Figures of a training cohort that tell of no single patient: means of ten values or more."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from axilla.core.store.model_record import SMALLEST_GROUP, SMALLEST_RANGE

if TYPE_CHECKING:
    from collections.abc import Sequence


def group_mean(values: Sequence[float]) -> float:
    """Mean; of equal values, the value to the last digit: it must not lie outside its own range."""
    return min(max(fmean(values), min(values)), max(values))


def mean_ends(ordered: Sequence[float]) -> tuple[float, float] | None:
    """Means of the first and of the last ten; None where under ten lie between."""
    if len(ordered) < SMALLEST_RANGE:
        return None
    return group_mean(ordered[:SMALLEST_GROUP]), group_mean(ordered[-SMALLEST_GROUP:])
