import json
import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from axilla.analysis import recalibration
from axilla.analysis.calibration import calibration
from axilla.analysis.recalibration import (
    METHODS,
    Recalibration,
    apply_recalibration,
    fit_recalibration,
    recalibration_from_json,
)
from axilla.core.errors import StatisticsError, StoreError


def make_site(n, *, seed=0, intercept=0.0, slope=1.0, bend=0.0):
    """Labels, the model's probabilities and the true risks, off by a line or by a bend at 0."""
    rng = np.random.default_rng(seed)
    linear = rng.normal(-0.5, 1.2, size=n)
    risks = expit(intercept + slope * linear + bend * np.maximum(linear, 0))
    return (rng.random(n) < risks).astype(int), expit(linear), risks


def distance(probabilities, risks):
    return math.sqrt(np.mean((probabilities - risks) ** 2))


def test_intercept_and_platt_are_the_fits_of_statsmodels():
    labels, probabilities, _ = make_site(200, intercept=0.7, slope=0.6)
    linear = logit(probabilities)
    large = sm.GLM(labels, np.ones(200), family=sm.families.Binomial(), offset=linear).fit(
        tol=1e-12
    )
    joint = sm.Logit(labels, sm.add_constant(linear)).fit(disp=0, tol=1e-12)
    first = fit_recalibration(labels, probabilities, method="intercept")
    second = fit_recalibration(labels, probabilities, method="platt")
    assert (first.n, first.positives) == (200, labels.sum())
    assert (first.intercept, first.slope) == (pytest.approx(large.params[0], rel=1e-8), 1.0)
    assert [second.intercept, second.slope] == pytest.approx(joint.params.tolist(), rel=1e-8)
    new = np.array([0.05, 0.3, 0.9])
    np.testing.assert_allclose(
        apply_recalibration(second, new), expit(joint.params[0] + joint.params[1] * logit(new))
    )


@pytest.mark.parametrize(
    ("method", "off", "before", "after"),
    [
        # Distance (root mean square) of unseen patients' probabilities from their true risks.
        ("intercept", {"intercept": 0.9}, 0.18, 0.02),
        ("platt", {"intercept": 0.6, "slope": 0.5}, 0.20, 0.03),
        ("isotonic", {"intercept": 0.6, "slope": 0.5}, 0.20, 0.05),
        ("isotonic", {"intercept": -0.6, "slope": 0.3, "bend": 1.5}, 0.08, 0.04),
    ],
)
def test_a_shift_is_repaired_on_unseen_patients(method, off, before, after):
    labels, probabilities, _ = make_site(1000, seed=1, **off)
    fitted = fit_recalibration(labels, probabilities, method=method)
    unseen, plain, risks = make_site(20_000, seed=2, **off)
    corrected = apply_recalibration(fitted, plain)
    assert distance(plain, risks) == pytest.approx(before, abs=0.01)
    assert distance(corrected, risks) < after
    old, new = calibration(unseen, plain), calibration(unseen, corrected)
    assert new.brier.value < old.brier.value
    assert new.observed_expected.value == pytest.approx(1, abs=0.06)
    if method != "isotonic":
        # A curve of steps is always a little too extreme.
        assert new.slope.value == pytest.approx(1, abs=0.15)


def test_what_isotonic_repairs_the_others_do_not():
    off = {"intercept": -0.6, "slope": 0.3, "bend": 1.5}
    labels, probabilities, _ = make_site(1000, seed=1, **off)
    _, plain, risks = make_site(20_000, seed=2, **off)
    left = {
        method: distance(
            apply_recalibration(fit_recalibration(labels, probabilities, method=method), plain),
            risks,
        )
        for method in METHODS
    }
    assert left["isotonic"] < 0.6 * min(left["intercept"], left["platt"])


def test_below_its_least_number_isotonic_does_not_help_a_fair_model(monkeypatch):
    # The reason for the least number: the model's own probabilities are 5 points off.
    monkeypatch.setattr(recalibration, "LEAST_ISOTONIC", 0)
    off = {"intercept": 0.2}
    _, plain, risks = make_site(5000, seed=0, **off)
    left = {}
    for n in (200, 500, 2000):
        fits = [
            fit_recalibration(*make_site(n, seed=seed, **off)[:2], method="isotonic")
            for seed in range(1, 31)
        ]
        left[n] = np.mean([distance(apply_recalibration(fit, plain), risks) for fit in fits])
    assert distance(plain, risks) == pytest.approx(0.04, abs=0.005)
    assert left[200] > 0.055
    assert 0.04 < left[500] < 0.05
    assert left[2000] < 0.03


@pytest.mark.parametrize("seed", [0, 4, 11])
def test_isotonic_is_the_least_squares_rising_curve_joined_through_blocks_of_ten(seed):
    labels, probabilities, _ = make_site(600, seed=seed, intercept=0.5, slope=2)
    fitted = fit_recalibration(labels, probabilities, method="isotonic")
    order = np.argsort(probabilities)
    values, truth = probabilities[order], labels[order].tolist()
    # Oracle: pool neighbours that violate, again and again; then merge from the left until each
    # has ten patients, some of each class.
    blocks = [(label, 1) for label in truth]
    at = 0
    while at < len(blocks) - 1:
        (a, n), (b, m) = blocks[at], blocks[at + 1]
        if a * m >= b * n:
            blocks[at : at + 2] = [(a + b, n + m)]
            at = max(at - 1, 0)
        else:
            at += 1
    merged = []
    for positives, size in blocks:
        if merged and (merged[-1][1] < 10 or merged[-1][0] == 0):
            merged[-1] = (merged[-1][0] + positives, merged[-1][1] + size)
        else:
            merged.append((positives, size))
    if merged[-1][1] < 10 or merged[-1][0] == merged[-1][1]:
        last = merged.pop()
        merged[-1] = (merged[-1][0] + last[0], merged[-1][1] + last[1])
    ends = np.cumsum([size for _, size in merged])
    means = [part.mean() for part in np.split(values, ends[:-1])]
    assert len(merged) > 5
    np.testing.assert_allclose(fitted.observed, [p / n for p, n in merged], rtol=1e-12)
    np.testing.assert_allclose(fitted.predicted, means, rtol=1e-12)
    middle = (means[2] + means[3]) / 2
    assert apply_recalibration(fitted, [middle])[0] == pytest.approx(
        (fitted.observed[2] + fitted.observed[3]) / 2
    )


@pytest.mark.parametrize("method", METHODS)
def test_patients_keep_their_order_and_probabilities_stay_probabilities(method):
    labels, probabilities, _ = make_site(600, seed=3, intercept=1, slope=0.4)
    # Saturated, as a network's may be, with ties.
    probabilities = np.clip(np.round(probabilities, 2) * 1.2 - 0.1, 0, 1)
    fitted = fit_recalibration(labels, probabilities, method=method)
    grid = np.concatenate([[0.0, 1e-300, 1e-7], np.linspace(1e-5, 1 - 1e-5, 999), [1.0]])
    corrected = apply_recalibration(fitted, grid)
    assert corrected.dtype == np.float64
    # Neither 0 nor 1: no sample proves either.
    assert corrected.min() > 0
    assert corrected.max() < 1
    assert (np.diff(corrected) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_json_comes_back_as_it_went(method):
    labels, probabilities, _ = make_site(700, intercept=0.5, slope=0.7)
    fitted = fit_recalibration(labels, probabilities, method=method)
    stored = json.loads(json.dumps(fitted.to_json(), allow_nan=False))
    assert recalibration_from_json(stored) == fitted


def test_json_holds_what_the_method_has():
    fitted = Recalibration("intercept", 40, 15, intercept=0.25)
    assert fitted.to_json() == {"method": "intercept", "n": 40, "positives": 15, "intercept": 0.25}


PLATT = {"method": "platt", "n": 40, "positives": 15, "intercept": 0.25, "slope": 0.5}
CURVE = {"method": "isotonic", "n": 600, "positives": 15}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "its method is none of"),
        ([PLATT], "its method is none of"),
        (PLATT | {"method": "beta"}, "its method is none of"),
        (PLATT | {"method": ["platt"]}, "its method is none of"),
        ({**PLATT, "extra": 1}, "holds method, n, positives, intercept, slope, and nothing else"),
        ({k: v for k, v in PLATT.items() if k != "slope"}, "and nothing else"),
        (PLATT | {"method": "intercept"}, "and nothing else"),
        (PLATT | {"n": 40.0}, "not counts"),
        (PLATT | {"positives": True}, "not counts"),
        (PLATT | {"positives": 40}, "not counts"),
        (PLATT | {"positives": 0}, "not counts"),
        (PLATT | {"intercept": "0.25"}, "one of its numbers is none"),
        (PLATT | {"intercept": math.nan}, "one of its numbers is none"),
        (PLATT | {"slope": math.inf}, "one of its numbers is none"),
        (PLATT | {"slope": True}, "one of its numbers is none"),
        (PLATT | {"slope": 0}, "slope is not above 0"),
        (PLATT | {"slope": -1.0}, "slope is not above 0"),
        (CURVE | {"predicted": [], "observed": []}, "rising probabilities"),
        (CURVE | {"predicted": [0.2, 0.1], "observed": [0.1, 0.2]}, "rising probabilities"),
        (CURVE | {"predicted": [0.1, 0.2], "observed": [0.3, 0.2]}, "rising probabilities"),
        (CURVE | {"predicted": [0.1, 1.2], "observed": [0.1, 0.2]}, "rising probabilities"),
        (CURVE | {"predicted": [0.1, 0.2], "observed": [-0.1, 0.2]}, "rising probabilities"),
        (CURVE | {"predicted": [0.1, 0.1], "observed": [0.1, 0.2]}, "knots of one curve"),
        (CURVE | {"predicted": [0.1, 0.2, 0.3], "observed": [0.1, 0.2]}, "knots of one curve"),
        (CURVE | {"predicted": "0.1", "observed": [0.1]}, "one of its numbers is none"),
        (CURVE | {"predicted": [[0.1]], "observed": [0.1]}, "one of its numbers is none"),
    ],
)
def test_a_record_that_is_no_recalibration_is_refused(value, said):
    with pytest.raises(StoreError, match=said):
        recalibration_from_json(value)


@pytest.mark.parametrize("method", METHODS)
def test_too_small_a_sample_is_refused(method):
    labels, probabilities = np.repeat([0, 1], [600, 9]), np.linspace(0.1, 0.9, 609)
    with pytest.raises(StatisticsError, match="9 positives and 600 negatives"):
        fit_recalibration(labels, probabilities, method=method)


def test_isotonic_asks_for_500():
    labels, probabilities, _ = make_site(499)
    with pytest.raises(StatisticsError, match="has 499 patients, and isotonic"):
        fit_recalibration(labels, probabilities, method="isotonic")


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_model_that_ranks_backwards_is_not_turned_around(method):
    labels, probabilities, _ = make_site(600, slope=-1)
    with pytest.raises(StatisticsError, match="turn the order"):
        fit_recalibration(labels, probabilities, method=method)


def test_separated_classes_have_no_platt():
    labels, probabilities = np.repeat([0, 1], 20), np.linspace(0.1, 0.9, 40)
    with pytest.raises(StatisticsError, match="no maximum"):
        fit_recalibration(labels, probabilities, method="platt")


def test_an_unknown_method_and_no_probability_are_refused():
    labels, probabilities, _ = make_site(100)
    with pytest.raises(StatisticsError, match="no recalibration by beta"):
        fit_recalibration(labels, probabilities, method="beta")
    with pytest.raises(StatisticsError, match="not a probability"):
        apply_recalibration(Recalibration("intercept", 40, 20), [0.2, -3.0])
