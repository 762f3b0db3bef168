from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from axilla.analysis.interaction import interaction_test
from axilla.core.errors import StatisticsError


def make_patients(seed, *, sizes=(80, 60), slopes=None, base=(-0.5, 0.3, 0.0)):
    """Labels drawn from the model itself: logit P(y) = base + slope * logit(score)."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"g{index}" for index in range(len(sizes))], sizes)
    index = np.repeat(np.arange(len(sizes)), sizes)
    steps = rng.normal(size=len(groups))
    slope = np.array(slopes or [1.0] * len(sizes))[index]
    chance = 1 / (1 + np.exp(-(np.array(base)[index] + slope * steps)))
    labels = (rng.uniform(size=len(groups)) < chance).astype(int)
    return labels, 1 / (1 + np.exp(-steps)), groups


def largest_log_likelihood(labels, design):
    """Maximised by scipy, from the likelihood as it is written in a textbook."""

    def loss(weights):
        steps = design @ weights
        return np.sum(np.logaddexp(0, steps) - labels * steps)

    def slope(weights):
        return design.T @ (1 / (1 + np.exp(-design @ weights)) - labels)

    found = minimize(loss, np.zeros(design.shape[1]), jac=slope, method="BFGS",
                     options={"gtol": 1e-8})  # fmt: skip
    return -found.fun


@pytest.mark.parametrize("sizes", [(80, 60), (40, 70, 55)])
@pytest.mark.parametrize("seed", range(3))
def test_likelihood_ratio_is_that_of_a_general_optimiser(seed, sizes):
    labels, scores, groups = make_patients(seed, sizes=sizes)
    steps = np.log(scores / (1 - scores))
    member = np.column_stack([groups == name for name in np.unique(groups)]).astype(float)
    smaller = largest_log_likelihood(labels, np.column_stack([member, steps]))
    larger = largest_log_likelihood(labels, np.column_stack([member, member * steps[:, None]]))
    test = interaction_test(labels, scores, groups)
    assert test.chi_square == pytest.approx(2 * (larger - smaller), abs=1e-6)
    assert test.df == len(sizes) - 1
    assert test.p == pytest.approx(chi2.sf(2 * (larger - smaller), len(sizes) - 1), abs=1e-6)


def test_false_alarms_are_one_in_twenty_where_the_slopes_are_equal():
    # The frequency of positives differs between the groups, and must not matter.
    p = [interaction_test(*make_patients(seed, sizes=(150, 120))).p for seed in range(1000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_unequal_slopes_are_found():
    labels, scores, groups = make_patients(1, sizes=(300, 300), slopes=[0.3, 2.0])
    assert interaction_test(labels, scores, groups).p < 0.001


def test_a_wider_spread_of_scores_changes_the_area_and_not_the_slope():
    # What tells the two tests apart.
    rng = np.random.default_rng(2)
    groups = np.repeat(["narrow", "wide"], 4000)
    steps = rng.normal(size=8000) * np.repeat([0.4, 2.5], 4000)
    labels = (rng.uniform(size=8000) < 1 / (1 + np.exp(-steps))).astype(int)
    assert interaction_test(labels, 1 / (1 + np.exp(-steps)), groups).p > 0.05


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 0, 1] * 2, [0.2, 0.3, 0.5, 0.4, 0.2, 0.3, 0.7, 1.0], "no finite logit"),
        ([0, 1, 0, 1] * 2, [0.2, 0.3, 0.5, 0.4, 0.2, 0.3, 0.7, math.nan], "no finite logit"),
        ([0, 1, 0, 1] * 2, [0.2, 0.6, 0.3, 0.5, 0.2, 0.3, 0.7, 0.4], "separates the classes of a"),
        ([0, 1, 0, 1] * 2, [0.2, 0.3, 0.5, 0.4, 0.3, 0.3, 0.3, 0.3], "scores of b are equal"),
        ([0, 1, 0, 1, 1, 1, 1, 1], [0.2, 0.3, 0.5, 0.4, 0.2, 0.3, 0.7, 0.4], "b are of one class"),
    ],
)
def test_what_has_no_slope_says_why(labels, scores, message):
    with pytest.raises(StatisticsError, match=message):
        interaction_test(labels, scores, ["a"] * 4 + ["b"] * 4)


def test_one_group_has_no_interaction():
    with pytest.raises(StatisticsError, match="only one group"):
        interaction_test([0, 1, 0, 1], [0.2, 0.3, 0.5, 0.4], ["a"] * 4)


def test_nearly_separated_groups_still_converge():
    labels = [0] * 30 + [1, 0] + [1] * 30
    scores = np.r_[np.linspace(0.001, 0.4, 30), 0.5, 0.501, np.linspace(0.6, 0.999, 30)]
    test = interaction_test(labels * 2, np.tile(scores, 2), ["a"] * 62 + ["b"] * 62)
    assert test.chi_square == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("edge", [0.01, 1e-300])
def test_a_fit_that_runs_away_says_so_without_a_warning(edge):
    # Two scores of the wrong order, 1e-10 apart, are all that keeps the slope finite.
    labels = [0] * 30 + [1, 0] + [1] * 30
    scores = np.r_[edge, np.linspace(0.02, 0.4, 29), 0.5, 0.5 + 1e-10, np.linspace(0.6, 0.99, 30)]
    other, more, _ = make_patients(0, sizes=(62,))
    with pytest.raises(StatisticsError, match="does not converge"):
        interaction_test([*labels, *other], [*scores, *more], ["a"] * 62 + ["b"] * 62)
