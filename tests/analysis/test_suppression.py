"""Whatever is withheld stays unknown to a reader who subtracts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from axilla.analysis.suppression import suppress

MINIMUM = 5


def possible(counts, missing, rule):
    """Every count of the withheld cells that fits what is printed, by trying all of them.

    The reader knows the cohort's patients and positives, all that is shown, and that a `<5` stands
    for 1 to 4; of the missing values shown the positives are not told.
    """
    cells = [n for (n, _), mark in zip(counts, rule.levels, strict=True) if mark]
    total = sum(cells) + (missing[0] if rule.missing else 0)
    ranges = []
    for mark in filter(None, rule.levels):
        if not rule.bound_told:
            ranges.append(range(total + 1))
        else:
            ranges.append(range(1, MINIMUM) if mark == "small" else range(MINIMUM, total + 1))
    if rule.missing:
        ranges.append(range(1, total + 1))
    return np.array([found for found in product(*ranges) if sum(found) == total])


@pytest.mark.parametrize("seed", range(150))
def test_no_withheld_count_has_a_single_possible_value(seed):
    rng = np.random.default_rng(seed)
    levels = int(rng.integers(2, 5))
    sizes = rng.integers(0, 14, size=levels)
    counts = [(int(n), int(rng.integers(0, n + 1))) for n in sizes]
    empty = int(rng.integers(0, 2) * rng.integers(1, 6))
    missing = (empty, int(rng.integers(0, empty + 1)))
    rule = suppress(counts, missing=missing, minimum=MINIMUM)
    for (n, _), mark in zip(counts, rule.levels, strict=True):
        assert (mark == "small") == (0 < n < MINIMUM)
    if not any(rule.levels):
        assert not rule.missing
        return
    found = possible(counts, missing, rule)
    hidden = [n for (n, _), mark in zip(counts, rule.levels, strict=True) if mark]
    hidden += [missing[0]] if rule.missing else []
    assert (found == hidden).all(axis=1).any()
    if len(hidden) > 1:
        # A lone small group beside empty ones is the cohort itself, whose number is no secret.
        assert (found.max(axis=0) > found.min(axis=0)).all()
    if rule.bound_told:
        positives = sum(p for (_, p), mark in zip(counts, rule.levels, strict=True) if mark)
        positives += missing[1] if rule.missing else 0
        least = np.maximum(0, positives - (found.sum(axis=1, keepdims=True) - found))
        most = np.minimum(found, positives)
        assert (most.max(axis=0) > least.min(axis=0)).all()


def test_a_lone_small_level_takes_the_next_smallest_with_it():
    rule = suppress([(40, 20), (3, 1), (25, 10), (30, 9)], minimum=10)
    assert rule.levels == (None, "small", "complementary", None)
    assert rule.bound_told


def test_two_small_levels_protect_each_other():
    rule = suppress([(4, 1), (60, 30), (6, 2)], minimum=10)
    assert rule.levels == ("small", None, "small")


def test_two_small_levels_that_can_only_be_nine_each_do_not():
    rule = suppress([(9, 4), (60, 30), (9, 2)], minimum=10)
    assert rule.levels == ("small", "complementary", "small")


def test_the_number_of_missing_values_goes_before_a_level_does():
    rule = suppress([(180, 70), (4, 1)], missing=(14, 5), minimum=10)
    assert rule.levels == (None, "small")
    assert rule.missing


def test_patients_all_of_one_class_are_not_told_by_subtraction():
    # 7 patients in two groups, and no positive left for them: the reader would know all seven.
    rule = suppress([(3, 0), (4, 0), (30, 10), (50, 20)], minimum=10)
    assert rule.levels == ("small", "small", "complementary", None)


def test_where_even_the_bound_gives_the_number_away_it_is_not_told():
    rule = suppress([(1, 0), (10, 4)], minimum=10)
    assert rule.levels == ("small", "complementary")
    assert not rule.bound_told


def test_nothing_small_withholds_nothing():
    assert suppress([(0, 0), (12, 3)], missing=(2, 1), minimum=10).levels == (None, None)
    assert suppress([(1, 0), (12, 3)], minimum=1).levels == (None, None)
