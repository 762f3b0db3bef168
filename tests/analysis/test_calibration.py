import json
import math
from dataclasses import fields

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit
from sklearn.metrics import brier_score_loss

from axilla.analysis.calibration import Calibration, calibration, calibration_entry
from axilla.analysis.index_by_chance import index_by_chance
from axilla.analysis.logistic import log_odds
from axilla.core.errors import StatisticsError

FIGURES = [field.name for field in fields(Calibration)]


def make_cohort(n, *, seed=0, intercept=0.0, slope=1.0):
    """Predictions with log-odds around -0.5, SD 1.2; 0 and 1 for intercept and slope are ideal."""
    rng = np.random.default_rng(seed)
    linear = rng.normal(-0.5, 1.2, size=n)
    labels = (rng.random(n) < expit(intercept + slope * linear)).astype(int)
    return labels, expit(linear)


def bounds(figure):
    return [figure.value, figure.low, figure.high]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_intercept_and_slope_are_those_of_statsmodels(seed):
    labels, probabilities = make_cohort(300, seed=seed, intercept=0.4, slope=0.6)
    figures = calibration(labels, probabilities)
    linear = np.log(probabilities / (1 - probabilities))
    large = sm.GLM(labels, np.ones(300), family=sm.families.Binomial(), offset=linear).fit(
        tol=1e-12
    )
    joint = sm.Logit(labels, sm.add_constant(linear)).fit(disp=0, tol=1e-12)
    np.testing.assert_allclose(
        bounds(figures.intercept), [large.params[0], *large.conf_int()[0]], rtol=1e-6
    )
    np.testing.assert_allclose(
        bounds(figures.slope), [joint.params[1], *joint.conf_int()[1]], rtol=1e-6
    )


def test_a_cohort_worked_by_hand():
    # 40 patients with prediction 0.2, of whom 12 are positive; 40 with 0.6, of whom 20 are.
    labels = np.repeat([1, 0, 1, 0], [12, 28, 20, 20])
    probabilities = np.repeat([0.2, 0.6], 40)
    figures = calibration(labels, probabilities)
    # Two groups and two parameters: the fit goes through both shares, 0.3 and 0.5. Predicted odds
    # are 1/4 and 3/2, observed ones 3/7 and 1.
    slope = math.log(7 / 3) / math.log(6)
    # Its variance is that of a difference of two log-odds, 1/12 + 1/28 + 1/20 + 1/20.
    half = 1.959964 * math.sqrt(1 / 12 + 1 / 28 + 1 / 20 + 1 / 20) / math.log(6)
    np.testing.assert_allclose(
        bounds(figures.slope), [slope, slope - half, slope + half], rtol=1e-6
    )
    # 32 positives, expected 8 + 24.
    assert figures.observed_expected.value == pytest.approx(1.0, rel=1e-12)
    # Squares of y - p: 12 of 0.64, 28 of 0.04, 20 of 0.16, 20 of 0.36; their sum is 19.2.
    factor = math.exp(1.959964 * math.sqrt(19.2) / 32)
    np.testing.assert_allclose(bounds(figures.observed_expected), [1, 1 / factor, factor], 1e-6)
    # As many as expected: with the slope fixed at 1 nothing is to be added.
    assert figures.intercept.value == pytest.approx(0, abs=1e-9)
    # 1 / sqrt(information), 40 * 0.2 * 0.8 + 40 * 0.6 * 0.4.
    assert figures.intercept.high == pytest.approx(1.959964 / 4, rel=1e-6)
    assert figures.brier.value == pytest.approx(19.2 / 80, rel=1e-12)
    squares = 12 * 0.64**2 + 28 * 0.04**2 + 20 * 0.16**2 + 20 * 0.36**2
    spread = math.sqrt((squares - 80 * 0.24**2) / 79)
    assert figures.brier.high == pytest.approx(0.24 + 1.959964 * spread / math.sqrt(80), rel=1e-6)
    # The prevalence is 0.4, so predicting it scores 0.24 too.
    assert figures.scaled_brier.value == pytest.approx(0, abs=1e-12)


def test_brier_score_is_scikit_learns():
    labels, probabilities = make_cohort(173, slope=0.5)
    figures = calibration(labels, probabilities)
    score = brier_score_loss(labels, probabilities)
    assert figures.brier.value == pytest.approx(score, rel=1e-12)
    prevalence = np.full(173, labels.mean())
    ideal = brier_score_loss(labels, prevalence)
    assert figures.scaled_brier.value == pytest.approx(1 - score / ideal, rel=1e-12)


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (0.5, 0.7)])
def test_intervals_cover_the_truth(intercept, slope):
    # What is estimated, from the risks of a million patients; the log-odds' own truth is fixed only
    # where the predictions are calibrated or the model of the slope holds.
    linear = np.random.default_rng(7).normal(-0.5, 1.2, size=1_000_000)
    risks, predicted = expit(intercept + slope * linear), expit(linear)
    brier = np.mean(risks * (1 - predicted) ** 2 + (1 - risks) * predicted**2)
    share = risks.mean()
    truth = {
        "slope": slope,
        "observed_expected": share / predicted.mean(),
        "brier": brier,
        "scaled_brier": 1 - brier / (share * (1 - share)),
    }
    if slope == 1:
        truth["intercept"] = intercept
    runs = 2000
    covered = dict.fromkeys(truth, 0)
    for seed in range(runs):
        labels, probabilities = make_cohort(400, seed=seed, intercept=intercept, slope=slope)
        figures = calibration(labels, probabilities)
        for name, value in truth.items():
            figure = getattr(figures, name)
            covered[name] += figure.low <= value <= figure.high
    for name, count in covered.items():
        assert 0.94 <= count / runs <= 0.96, name


def test_perfect_separation_has_no_slope_but_the_rest():
    labels = np.repeat([0, 1], 20)
    probabilities = np.concatenate([np.linspace(0.1, 0.4, 20), np.linspace(0.6, 0.9, 20)])
    figures = calibration(labels, probabilities)
    assert math.isnan(figures.slope.value)
    assert figures.slope.reason == "the predictions separate the classes, so there is no slope"
    assert figures.intercept.value == pytest.approx(0, abs=1e-9)
    assert figures.brier.value == pytest.approx(np.mean((labels - probabilities) ** 2))
    backwards = calibration(1 - labels, probabilities)
    assert "separate" in backwards.slope.reason


def test_zeros_and_ones_are_clipped_and_counted():
    labels, probabilities = make_cohort(400)
    probabilities[:3], labels[:3] = 0.0, (0, 0, 1)
    probabilities[3:5], labels[3:5] = 1.0, 1
    entry = calibration_entry(labels, probabilities)
    assert entry["clipped"] == 5
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    joint = sm.Logit(labels, sm.add_constant(log_odds(clipped))).fit(disp=0, tol=1e-12)
    assert entry["slope"]["value"] == pytest.approx(joint.params[1], rel=1e-6)
    # The Brier score and O/E take them as they are.
    assert entry["brier"]["value"] == pytest.approx(np.mean((labels - probabilities) ** 2))
    assert entry["observed_expected"]["value"] == pytest.approx(
        labels.sum() / probabilities.sum(), rel=1e-12
    )


def test_certain_and_right_predictions():
    labels = np.repeat([0, 1], 20)
    entry = calibration_entry(labels, labels.astype(float))
    assert entry["clipped"] == 40
    assert entry["brier"]["value"] == 0
    assert entry["brier"]["low"] is None
    assert "variance is zero" in entry["brier"]["reason"]
    assert entry["scaled_brier"]["value"] == 1
    assert entry["observed_expected"]["value"] == 1
    assert entry["observed_expected"]["reason"] == (
        "every prediction is right, so the variance is zero"
    )
    assert entry["slope"]["value"] is None
    assert entry["intercept"]["value"] is None
    assert "any intercept fits" in entry["intercept"]["reason"]
    assert entry["ici"]["value"] is None


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_neither_intercept_nor_slope(label):
    labels, probabilities = np.full(30, label), np.linspace(0.1, 0.9, 30)
    figures = calibration(labels, probabilities)
    said = f"all 30 patients are {'positive' if label else 'negative'}"
    for name in ("intercept", "slope", "scaled_brier"):
        assert math.isnan(getattr(figures, name).value)
        assert getattr(figures, name).reason == said
    assert figures.observed_expected.value == pytest.approx(2 * label)
    assert math.isnan(figures.observed_expected.low) == (label == 0)
    assert not math.isnan(figures.brier.low)


def test_too_few_patients():
    labels = np.array([1, 0, 0, 0, 1])
    figures = calibration(labels, [0.9, 0.2, 0.4, 0.3, 0.25])
    reason = "only 2 patients are positive, and the fit asks for 10 of each class"
    assert figures.intercept.reason == figures.slope.reason == reason
    assert figures.observed_expected.value == pytest.approx(2 / 2.05)
    for name in ("observed_expected", "brier", "scaled_brier"):
        figure = getattr(figures, name)
        assert not math.isnan(figure.value)
        assert math.isnan(figure.low)
        assert math.isnan(figure.high)
        assert "asks for 10" in figure.reason
    alone = calibration([0, 1, 1], [0.1, 0.2, 0.3])
    assert alone.slope.reason.startswith("only 1 patient is negative")


def test_equal_predictions_have_an_intercept_only():
    labels = np.repeat([0, 1], [60, 40])
    figures = calibration(labels, np.full(100, 0.2))
    assert figures.slope.reason.startswith("all predictions are equal")
    # Odds 2/3 observed, 1/4 predicted.
    assert figures.intercept.value == pytest.approx(math.log(8 / 3), rel=1e-9)
    assert figures.observed_expected.value == pytest.approx(2)
    halves = calibration(labels, np.full(100, 0.5))
    assert halves.brier.value == 0.25
    assert math.isnan(halves.brier.low)
    assert "equally far off" in halves.brier.reason


def test_nobody_is_expected():
    figures = calibration(np.repeat([0, 1], 20), np.zeros(40))
    assert math.isnan(figures.observed_expected.value)
    assert "every prediction is 0" in figures.observed_expected.reason
    assert figures.slope.reason.startswith("all predictions are equal")


def test_the_entry_is_json_with_every_figure():
    labels, probabilities = make_cohort(250, intercept=0.5)
    entry = calibration_entry(labels, probabilities, groups=5)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert list(entry) == ["n", "positives", "clipped", *FIGURES, "ici", "curve"]
    assert (entry["n"], entry["positives"], entry["clipped"]) == (250, int(labels.sum()), 0)
    figures = calibration(labels, probabilities)
    for name in FIGURES:
        figure = getattr(figures, name)
        assert entry[name] == {"value": figure.value, "low": figure.low, "high": figure.high}
    assert len(entry["curve"]["groups"]) == 5
    assert entry["ici"]["value"] > 0.05
    assert entry["ici"]["low"] is None
    chance = entry["ici"]["by_chance"]
    assert chance == index_by_chance(probabilities).as_json()
    assert 0 < chance["mean"] < chance["upper"]


def test_scores_that_are_no_probabilities_are_refused():
    with pytest.raises(StatisticsError, match="not a probability"):
        calibration_entry([0, 1], [0.2, 1.2])
