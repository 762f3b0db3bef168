import math

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from axilla.analysis.cohort_metrics import measures
from axilla.analysis.spared import count_spared
from axilla.core.types import Confusion

# The paper's Table 2, DL-CNB+C on its test cohort: 89.29% of 84 positives, 67.16% of 134 negatives.
PAPER = Confusion(tp=75, fn=9, tn=90, fp=44)


def test_the_papers_test_cohort():
    spared = count_spared(PAPER)
    for figure, count, of in (
        (spared.avoided_per_100, 99, 218),
        (spared.missed_per_100, 9, 218),
        (spared.missed_per_100_spared, 9, 99),
    ):
        low, high = proportion_confint(count, of, method="beta")
        expected = [100 * count / of, 100 * low, 100 * high]
        np.testing.assert_allclose([figure.value, figure.low, figure.high], expected, rtol=1e-10)


def test_missed_of_the_spared_is_what_the_npv_leaves():
    npv = measures(PAPER)["npv"].value
    assert count_spared(PAPER).missed_per_100_spared.value == pytest.approx(100 * (1 - npv))


def test_intervals_hold_the_truth_in_at_least_95_percent():
    # Summed over every count of missed positives in 218 patients.
    for truth in (0.005, 0.02, 0.04, 0.1):
        held = sum(
            binom.pmf(missed, 218, truth)
            for missed in range(80)
            if count_spared(Confusion(tp=80 - missed, fn=missed, tn=90, fp=48)).missed_per_100.low
            <= 100 * truth
            <= count_spared(Confusion(tp=80 - missed, fn=missed, tn=90, fp=48)).missed_per_100.high
        )
        assert held >= 0.95


def test_nobody_missed_is_not_nobody_at_risk():
    spared = count_spared(Confusion(tp=84, fn=0, tn=30, fp=104))
    assert spared.missed_per_100_spared.value == 0
    # 1 - 0.025^(1/30): Clopper-Pearson with no event.
    assert spared.missed_per_100_spared.high == pytest.approx(100 * (1 - 0.025 ** (1 / 30)))


def test_nobody_spared_and_nobody_there():
    assert (
        count_spared(Confusion(tp=4, fn=0, tn=0, fp=5)).missed_per_100_spared.reason
        == "no patient would be spared"
    )
    nobody = count_spared(Confusion(tp=0, fn=0, tn=0, fp=0))
    assert math.isnan(nobody.avoided_per_100.value)
    assert nobody.avoided_per_100.reason == "there is nobody to count"
    assert nobody.as_json()["avoided_per_100"]["value"] is None
