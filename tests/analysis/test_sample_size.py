from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, ndtri
from scipy.stats import binom
from statsmodels.discrete.discrete_model import Logit
from statsmodels.stats.proportion import proportion_confint

from axilla.analysis.intervals import logit_predictive_value
from axilla.analysis.roc import delong_interval
from axilla.analysis.sample_size import (
    Assumed,
    interval_width,
    patients_needed,
    plan_validation,
    slope_standard_error,
)
from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion

VALVE = Assumed(auc=0.8, prevalence=0.018)
"""Riley 2021's example: failure of mechanical heart valves."""
PAPER = Assumed(auc=0.8, prevalence=0.38, sensitivity=0.94, specificity=0.72)


def test_the_published_example_of_the_area():
    # The authors' program pmvalsampsize 0.1.0 prints 4252 for C = 0.8, prevalence 0.018, width 0.1.
    assert patients_needed("auc", VALVE, width=0.1) == 4252


def test_the_published_example_of_observed_over_expected():
    # The same program prints 905 for width 1; it raises the standard error in steps of 1e-4 until
    # the interval is wider than that, ours is the fewest whose interval is not.
    assert patients_needed("oe", VALVE, width=1.0) == 906
    assert interval_width("oe", VALVE, n=905) == pytest.approx(1.0, abs=0.001)


def test_the_published_example_of_the_slope():
    # Log odds normal with mean -5 and SD 2.5: the program simulates a million and prints 4544 for
    # a width of 0.2, at the seed of its documentation; a sample of a thousand gives 4501.
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    found = slope_standard_error(-5 + 2.5 * nodes, weights / weights.sum(), n=1)
    assert (found * 2 * 1.96 / 0.2) ** 2 == pytest.approx(4544, rel=0.01)


def test_the_area_of_the_paper_as_it_is_printed():
    # 0.816 of 218 patients: [0.758, 0.865].
    width = interval_width("auc_exact", Assumed(auc=0.816, prevalence=0.3853), n=218)
    assert width == pytest.approx(0.865 - 0.758, abs=0.001)


@pytest.mark.parametrize(("prevalence", "auc"), [(0.38, 0.8), (0.2, 0.7)])
def test_the_area_is_as_wide_as_delongs_on_average(prevalence, auc):
    rng = np.random.default_rng(0)
    labels = np.arange(300) < 300 * prevalence
    widths = []
    for _ in range(200):
        found = delong_interval(labels, rng.normal(size=300) + labels * math.sqrt(2) * ndtri(auc))
        widths.append(found.high - found.low)
    expected = interval_width("auc", Assumed(auc=auc, prevalence=prevalence), n=300)
    assert np.mean(widths) == pytest.approx(expected, rel=0.05)


def test_shares_by_statsmodels_summed_over_the_binomial():
    positives = np.arange(77)
    low, high = proportion_confint(positives, 76, method="beta")
    expected = np.sum(binom.pmf(positives, 76, 0.94) * (high - low))
    assert interval_width("sensitivity", PAPER, n=200) == pytest.approx(expected, abs=1e-7)
    low, high = proportion_confint(np.arange(125), 124, method="beta")
    expected = np.sum(binom.pmf(np.arange(125), 124, 0.72) * (high - low))
    assert interval_width("specificity", PAPER, n=200) == pytest.approx(expected, abs=1e-7)


def test_npv_is_the_interval_that_the_tables_print():
    # 1,000 patients of whom 400 are positive make whole counts.
    assumed = Assumed(auc=0.8, prevalence=0.4, sensitivity=0.9, specificity=0.7)
    figure = logit_predictive_value(Confusion(tp=360, fn=40, tn=420, fp=180), of="npv")
    assert assumed.npv == pytest.approx(figure.value)
    assert interval_width("npv", assumed, n=1000) == pytest.approx(figure.high - figure.low)


def test_the_slope_is_as_uncertain_as_fitted_on_cohorts():
    rng = np.random.default_rng(1)
    spread = math.sqrt(2) * ndtri(0.8)
    slopes = []
    for _ in range(300):
        labels = rng.random(500) < 0.38
        sign = np.where(labels, 1, -1)
        log_odds = math.log(0.38 / 0.62) + sign * spread**2 / 2 + spread * rng.normal(size=500)
        design = np.column_stack([np.ones(500), log_odds])
        slopes.append(Logit(labels, design).fit(disp=False).params[1])
    # The assumed distribution is well calibrated: the slope is 1.
    assert np.mean(slopes) == pytest.approx(1, abs=0.02)
    width = interval_width("calibration_slope", Assumed(auc=0.8, prevalence=0.38), n=500)
    assert np.std(slopes) * 2 * 1.96 == pytest.approx(width, rel=0.1)


@pytest.mark.parametrize("figure", ["auc", "auc_exact", "sensitivity", "npv", "oe"])
@pytest.mark.parametrize("width", [0.15, 0.05])
def test_the_patients_are_the_fewest(figure, width):
    n = patients_needed(figure, PAPER, width=width)
    assert interval_width(figure, PAPER, n=n) <= width < interval_width(figure, PAPER, n=n - 1)


def test_a_plan_holds_what_is_assumed():
    short = plan_validation(Assumed(auc=0.8, prevalence=0.38), n=218)
    assert [one.figure for one in short] == ["auc", "auc_exact", "oe", "calibration_slope"]
    assert {(one.n, one.positives) for one in short} == {(218, 83)}
    whole = {one.figure: one for one in plan_validation(PAPER, width=0.1)}
    assert list(whole) == [
        "auc", "auc_exact", "sensitivity", "specificity", "npv", "oe", "calibration_slope",
    ]  # fmt: skip
    assert whole["npv"].value == pytest.approx(0.72 * 0.62 / (0.72 * 0.62 + 0.06 * 0.38))
    assert whole["oe"].width == pytest.approx(0.2, abs=0.001)
    assert whole["auc"].n > whole["auc_exact"].n


def test_the_assumed_risks_have_the_assumed_prevalence():
    spread = math.sqrt(2) * ndtri(0.8)
    draws = np.random.default_rng(0).normal(size=200_000)
    risks = [
        np.mean(expit(math.log(0.38 / 0.62) + sign * spread**2 / 2 + spread * draws))
        for sign in (1, -1)
    ]
    assert 0.38 * risks[0] + 0.62 * risks[1] == pytest.approx(0.38, abs=0.002)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"auc": 0.5, "prevalence": 0.3}, "an AUC of 0.5 cannot"),
        ({"auc": 80, "prevalence": 0.3}, "an AUC of 80 cannot"),
        ({"auc": 0.8, "prevalence": 0}, "a prevalence of 0 cannot"),
        ({"auc": 0.8, "prevalence": 0.3, "sensitivity": 1.0}, "a sensitivity of 1 cannot"),
    ],
)
def test_impossible_assumptions_are_sentences(settings, said):
    with pytest.raises(StatisticsError, match=said):
        Assumed(**settings)


def test_impossible_plans_are_sentences():
    assumed = Assumed(auc=0.8, prevalence=0.38)
    with pytest.raises(StatisticsError, match="cannot be 0 wide"):
        plan_validation(assumed, width=0)
    with pytest.raises(StatisticsError, match="more than 10,000,000 patients"):
        plan_validation(assumed, width=1e-5)
    with pytest.raises(StatisticsError, match="fewer than two"):
        plan_validation(assumed, n=4)
    with pytest.raises(StatisticsError, match="npv cannot be planned"):
        interval_width("npv", assumed, n=100)
