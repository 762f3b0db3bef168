from __future__ import annotations

import statistics

import numpy as np
import pytest

from axilla.mil.ensemble import combine, mean_attention


def test_mean_and_spread_of_two_classes():
    positives = [0.2, 0.5, 0.9]
    found = combine([np.array([1 - p, p]) for p in positives])
    assert found.mean == pytest.approx([1 - statistics.mean(positives), statistics.mean(positives)])
    assert found.spread == pytest.approx(statistics.stdev(positives))


def test_with_more_classes_the_spread_is_that_of_the_likeliest():
    found = combine([np.array([0.1, 0.2, 0.7]), np.array([0.2, 0.3, 0.5])])
    assert found.mean == pytest.approx([0.15, 0.25, 0.6])
    assert found.spread == pytest.approx(statistics.stdev([0.7, 0.5]))


def test_one_model_has_no_spread_and_keeps_its_score():
    score = np.array([0.123456789012345, 0.876543210987655])
    found = combine([score])
    assert found.spread is None
    np.testing.assert_array_equal(found.mean, score)


def test_attention_is_the_mean_and_absent_where_it_was():
    found = mean_attention([np.array([1.0, np.nan, 0.5]), np.array([2.0, np.nan, 1.5])])
    np.testing.assert_array_equal(found, [1.5, np.nan, 1.0])
