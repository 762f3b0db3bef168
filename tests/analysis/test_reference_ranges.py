"""Quantiles of groups: right where they are told, and silent about small groups."""

from __future__ import annotations

import numpy as np
import pytest

from axilla.analysis.reference_ranges import EVERYBODY, SMALLEST_GROUP, reference_ranges

CLASSES = ("N0", "N(+)")


def test_quantiles_by_class() -> None:
    values = np.r_[np.arange(11.0), np.arange(100.0, 121.0)]
    labels = np.r_[np.zeros(11, int), np.ones(21, int)]
    first, second = reference_ranges(values, labels, classes=CLASSES)
    assert (first.group, first.n, first.quantiles) == ("N0", 11, (1, 2.5, 5, 7.5, 9))
    assert (second.group, second.n) == ("N(+)", 21)
    assert (second.wide, second.middle, second.median) == ((102, 118), (105, 115), 110)


@pytest.mark.parametrize("small", [0, 1, SMALLEST_GROUP - 1])
def test_a_small_class_hides_the_others_too(small: int) -> None:
    values = np.arange(30.0 + small)
    labels = np.r_[np.zeros(30, int), np.ones(small, int)]
    (only,) = reference_ranges(values, labels, classes=CLASSES)
    assert (only.group, only.n) == (EVERYBODY, 30 + small)
    assert only.median == np.median(values)


def test_few_patients_are_not_told_at_all() -> None:
    assert reference_ranges(np.arange(9.0), np.zeros(9, int), classes=CLASSES) == ()
    # Those without a value count for nothing.
    values = np.r_[np.arange(9.0), np.full(50, np.nan)]
    assert reference_ranges(values, np.zeros(59, int), classes=("N0",)) == ()
