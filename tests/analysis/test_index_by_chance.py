import time

import numpy as np
import pytest
from scipy.special import expit

from axilla.analysis import index_by_chance as module
from axilla.analysis.index_by_chance import index_by_chance
from axilla.analysis.reliability import reliability_curve


def make_scores(n, *, seed=0):
    return expit(np.random.default_rng(seed).normal(-0.5, 1.2, size=n))


@pytest.mark.parametrize("n", [70, 300])
def test_every_cohort_has_the_index_of_its_reliability_curve(n):
    # With 70 patients some cohorts have three knots, some four and some too few for any.
    values = np.sort(make_scores(n))
    outcomes = np.random.default_rng(7).binomial(1, values[:, None], size=(n, 60))
    curves = [reliability_curve(column, values) for column in outcomes.T]
    expected = np.array([c.index for c in curves if c.index is not None])
    found = index_by_chance(values[::-1], draws=60, seed=7)
    assert found.undefined == 60 - len(expected)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-7)
    assert found.upper == pytest.approx(np.quantile(expected, 0.95), abs=1e-7)


def test_of_many_patients_neighbours_are_taken_together(monkeypatch):
    values = make_scores(3000)
    grouped = index_by_chance(values, draws=400)
    monkeypatch.setattr(module, "MOST_GROUPS", 3000)
    alone = index_by_chance(values, draws=400)
    # Other draws: the mean's standard error is near 1.5% of it, the percentile's near 4%.
    assert grouped.mean == pytest.approx(alone.mean, rel=0.07)
    assert grouped.upper == pytest.approx(alone.upper, rel=0.15)


def test_one_calibrated_cohort_in_twenty_is_above_the_percentile():
    # 300 cohorts: the standard error of the share is 1.3%, of which 2.5 are allowed.
    above = []
    for seed in range(300):
        values = make_scores(120, seed=seed)
        labels = np.random.default_rng(10_000 + seed).random(120) < values
        index = reliability_curve(labels.astype(int), values).index
        above.append(index > index_by_chance(values, draws=200).upper)
    assert np.mean(above) == pytest.approx(0.05, abs=0.032)


def test_predictions_that_are_too_extreme_are_above_it():
    linear = np.random.default_rng(3).normal(-0.5, 1.2, size=200)
    labels = (np.random.default_rng(4).random(200) < expit(0.3 * linear)).astype(int)
    extreme = expit(2 * linear)
    found = index_by_chance(extreme)
    assert reliability_curve(labels, extreme).index > 2 * found.upper


def test_it_is_the_same_each_time_and_of_another_seed_another():
    values = make_scores(150)
    assert index_by_chance(values) == index_by_chance(values[::-1])
    assert index_by_chance(values).as_json().keys() == {
        "mean", "upper", "draws", "undefined", "seed",
    }  # fmt: skip
    assert index_by_chance(values, seed=1).mean != index_by_chance(values).mean


@pytest.mark.parametrize(
    "values",
    [
        np.full(100, 0.3),  # equal predictions have no spline
        make_scores(25),  # too few patients for one
        np.repeat([1e-9, 1 - 1e-9], 50),  # nothing is left to chance
    ],
)
def test_where_no_cohort_has_an_index_nothing_is_told(values):
    assert index_by_chance(values) is None


def test_a_cohort_of_a_thousand_takes_a_part_of_a_second():
    values = make_scores(1000)
    # The processor's time: a busy machine is no slower method. About 0.1 s here.
    start = time.process_time()
    index_by_chance(values)
    assert time.process_time() - start < 0.6
