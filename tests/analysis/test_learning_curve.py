from __future__ import annotations

import json
import math

import numpy as np
import pytest

from axilla.analysis.learning_curve import LearningRun, learning_curve, nested_subsets
from axilla.core.errors import StatisticsError

SIZES = (50, 100, 200, 400)


def _runs(a=0.85, b=1.5, c=0.6, *, noise=0.0, sizes=SIZES, repeats=5):
    rng = np.random.default_rng(0)
    return [
        LearningRun(n, repeat, a - b * n**-c + noise * rng.normal())
        for repeat in range(repeats)
        for n in sizes
    ]


def test_the_law_that_made_the_areas_is_found():
    curve = learning_curve(_runs(), extrapolate_to=800, seed=1)
    assert (curve.law.a, curve.law.b, curve.law.c) == pytest.approx((0.85, 1.5, 0.6), rel=1e-3)
    told = curve.law.extrapolated
    assert told.value == pytest.approx(0.85 - 1.5 * 800**-0.6, abs=1e-5)
    # Without noise every redraw gives the same law.
    assert told.high - told.low < 1e-4
    assert curve.law.at([50, 400]) == pytest.approx([curve.points[0].mean, curve.points[-1].mean])


def test_noise_widens_the_extrapolation_and_a_seed_repeats_it():
    found = [
        learning_curve(_runs(noise=0.02), extrapolate_to=800, seed=s, draws=60) for s in (1, 1, 2)
    ]
    told = found[0].law.extrapolated
    assert told.low < told.value < told.high
    assert 0.005 < told.high - told.low < 0.2
    assert found[0] == found[1]
    assert found[0].law.extrapolated != found[2].law.extrapolated


def test_points_are_mean_and_standard_deviation():
    runs = [LearningRun(10, 0, 0.6), LearningRun(10, 1, 0.7), LearningRun(20, 0, 0.8)]
    curve = learning_curve(runs, extrapolate_to=40, seed=0)
    assert [(p.n, p.values) for p in curve.points] == [(10, (0.6, 0.7)), (20, (0.8,))]
    assert curve.points[0].mean == pytest.approx(0.65)
    assert curve.points[0].sd == pytest.approx(0.1 / math.sqrt(2))
    assert math.isnan(curve.points[1].sd)
    written = json.loads(json.dumps(curve.as_json(), allow_nan=False))
    assert written["points"][1] == {"n": 20, "mean": 0.8, "sd": None, "values": [0.8]}
    assert written["law"] is None
    assert written["reason"] == "a law needs 4 sizes, and there are 2"


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (_runs(sizes=SIZES[:3]), "needs 4 sizes"),
        (_runs(repeats=2), "needs 3 repeats"),
        (_runs(b=0.0), "does not grow"),
    ],
)
def test_without_grounds_nothing_is_said_of_more_patients(runs, reason):
    curve = learning_curve(runs, extrapolate_to=800, seed=0)
    assert curve.law is None
    assert reason in curve.reason


def test_subsets_are_nested_stratified_and_seeded():
    labels = np.array([0] * 60 + [1] * 36 + [2] * 4)
    shares = (0.25, 0.5, 1.0)
    first, second, whole = nested_subsets(labels, shares=shares, seed=3)
    assert set(first) < set(second) < set(whole)
    assert np.bincount(labels[first]).tolist() == [15, 9, 2]
    assert np.bincount(labels[second]).tolist() == [30, 18, 2]
    assert whole.tolist() == list(range(100))
    again = nested_subsets(labels, shares=shares, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip((first, second, whole), again, strict=True))
    assert not np.array_equal(first, nested_subsets(labels, shares=shares, seed=4)[0])


@pytest.mark.parametrize("share", [0, -0.5, 1.1, math.nan])
def test_a_share_is_a_fraction(share):
    with pytest.raises(StatisticsError, match="of the training patients cannot be taken"):
        nested_subsets([0, 0, 1, 1], shares=[0.5, share], seed=0)
