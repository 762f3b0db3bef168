"""Standardised differences against the t statistic, which knows the same from the patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind

from axilla.analysis.differences import mean_difference, share_difference


def test_of_means_it_is_the_t_statistic_of_equal_groups() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(50, 10, 400), rng.normal(53, 14, 400)
    t = ttest_ind(second, first).statistic
    found = mean_difference((first.mean(), first.std(ddof=1)), (second.mean(), second.std(ddof=1)))
    assert found == pytest.approx(t * math.sqrt(2 / 400), rel=1e-12)


def test_of_shares_it_is_that_of_an_indicator() -> None:
    first, second = np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [45, 55])
    found = share_difference(0.3, 0.45)
    # The share's variance is the indicator's with n, not n - 1.
    of_means = mean_difference((first.mean(), first.std()), (second.mean(), second.std()))
    assert found == pytest.approx(of_means, rel=1e-12)
    assert found == pytest.approx(0.15 / math.sqrt((0.21 + 0.2475) / 2), rel=1e-12)


def test_without_any_spread_only_equal_groups_have_one() -> None:
    assert mean_difference((5.0, 0.0), (5.0, 0.0)) == 0
    assert math.isnan(mean_difference((5.0, 0.0), (6.0, 0.0)))
    assert math.isnan(share_difference(0.0, 1.0))
    assert share_difference(1.0, 1.0) == 0
