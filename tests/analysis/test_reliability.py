import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from statsmodels.stats.proportion import proportion_confint

from axilla.analysis.reliability import reliability_curve
from axilla.core.errors import StatisticsError


def make_cohort(n, *, seed=0, risk=expit):
    rng = np.random.default_rng(seed)
    linear = rng.normal(-0.5, 1.2, size=n)
    return (rng.random(n) < risk(linear)).astype(int), expit(linear)


def test_groups_are_quantiles_with_exact_intervals():
    labels, probabilities = make_cohort(237)
    curve = reliability_curve(labels, probabilities, groups=10)
    # Oracle: ranks cut in ten.
    order = np.argsort(probabilities)
    parts = np.split(order, np.ceil(np.arange(1, 10) * 23.7).astype(int))
    assert len(curve.groups) == 10
    for group, part in zip(curve.groups, parts, strict=True):
        assert (group.n, group.positives) == (len(part), labels[part].sum())
        assert group.predicted == pytest.approx(probabilities[part].mean(), rel=1e-12)
        low, high = proportion_confint(group.positives, group.n, method="beta")
        np.testing.assert_allclose([group.observed.low, group.observed.high], [low, high])


def test_equal_predictions_stay_together():
    labels = np.tile([0, 1, 0, 1], 25)
    probabilities = np.repeat([0.1, 0.3, 0.7], [70, 10, 20])
    groups = reliability_curve(labels, probabilities, groups=5).groups
    assert [(group.n, group.predicted) for group in groups] == [
        (70, pytest.approx(0.1)), (10, pytest.approx(0.3)), (20, pytest.approx(0.7)),
    ]  # fmt: skip
    assert sum(group.positives for group in groups) == 50


def test_few_patients_make_fewer_groups():
    labels, probabilities = make_cohort(35)
    groups = reliability_curve(labels, probabilities).groups
    assert [group.n for group in groups] == [12, 12, 11]
    assert len(reliability_curve([1], [0.4]).groups) == 1


def test_the_smooth_curve_is_the_spline_fitted_by_statsmodels():
    labels, probabilities = make_cohort(500, risk=lambda x: expit(0.3 + 0.2 * x + 0.3 * x**2))
    curve = reliability_curve(labels, probabilities)
    linear = logit(probabilities)
    knots = np.quantile(linear, [0.05, 0.35, 0.65, 0.95])

    def basis(x):
        # A natural cubic spline by its definition: cubic between the knots, straight outside.
        # Any basis of the same space gives the same curve; this is Hastie's (ESL, equation 5.4).
        def d(k):
            return (np.maximum(x - knots[k], 0) ** 3 - np.maximum(x - knots[3], 0) ** 3) / (
                knots[3] - knots[k]
            )

        return np.column_stack([np.ones_like(x), x, d(0) - d(2), d(1) - d(2)])

    fit = sm.Logit(labels, basis(linear)).fit(disp=0, tol=1e-12)
    assert curve.smooth.predicted[[0, -1]] == pytest.approx(
        [probabilities.min(), probabilities.max()]
    )
    design = basis(logit(curve.smooth.predicted))
    centre = design @ fit.params
    half = 1.959964 * np.sqrt(np.einsum("ij,jk,ik->i", design, fit.cov_params(), design))
    for ours, theirs in (("observed", centre), ("low", centre - half), ("high", centre + half)):
        np.testing.assert_allclose(getattr(curve.smooth, ours), expit(theirs), rtol=1e-5)
    own = expit(basis(linear) @ fit.params)
    assert curve.index == pytest.approx(np.mean(np.abs(own - probabilities)), rel=1e-6)


def test_the_band_covers_the_true_risk():
    # At predictions of 0.2, 0.4 and 0.6, of a model whose log-odds are off by a line.
    points, runs = np.array([0.2, 0.4, 0.6]), 500
    truth = expit(0.4 + 0.7 * logit(points))
    covered = np.zeros(3)
    for seed in range(runs):
        labels, probabilities = make_cohort(400, seed=seed, risk=lambda x: expit(0.4 + 0.7 * x))
        smooth = reliability_curve(labels, probabilities).smooth
        low = np.interp(points, smooth.predicted, smooth.low)
        high = np.interp(points, smooth.predicted, smooth.high)
        covered += (low <= truth) & (truth <= high)
    # Of all 1,500; the three of one cohort depend on one another.
    assert 0.935 <= covered.sum() / (3 * runs) <= 0.965


def test_the_index_of_a_large_cohort_is_the_distance_of_risk_and_prediction():
    labels, probabilities = make_cohort(60_000, risk=lambda x: expit(0.8 + 0.6 * x))
    risks = expit(0.8 + 0.6 * logit(probabilities))
    index = reliability_curve(labels, probabilities).index
    assert index == pytest.approx(np.mean(np.abs(risks - probabilities)), abs=0.005)


@pytest.mark.parametrize(
    ("labels", "probabilities", "said"),
    [
        (np.repeat([0, 1], [81, 19]), np.linspace(0, 1, 100), "the rarer class counts 19"),
        (np.zeros(100), np.linspace(0, 1, 100), "the rarer class counts 0"),
        (np.tile([0, 1], 50), np.full(100, 0.3), "too many predictions are equal"),
        (np.repeat([0, 1], 50), np.linspace(0.1, 0.9, 100), "no maximum"),
    ],
    ids=["few", "one class", "equal", "separated"],
)
def test_without_a_smooth_curve_there_is_a_reason_and_the_groups(labels, probabilities, said):
    curve = reliability_curve(labels, probabilities)
    assert curve.smooth is None
    assert curve.index is None
    assert said in curve.reason
    assert sum(group.n for group in curve.groups) == 100
    entry = curve.as_json()
    assert entry["smooth"] is None
    assert entry["reason"] == curve.reason


def test_json_holds_groups_and_the_smooth_curve():
    labels, probabilities = make_cohort(100)
    curve = reliability_curve(labels, probabilities, groups=4)
    entry = curve.as_json()
    assert list(entry) == ["groups", "smooth"]
    first = curve.groups[0]
    assert entry["groups"][0] == {
        "n": 25,
        "positives": first.positives,
        "predicted": first.predicted,
        "observed": {
            "value": first.positives / 25,
            "low": first.observed.low,
            "high": first.observed.high,
        },
    }
    assert {name: len(values) for name, values in entry["smooth"].items()} == {
        "predicted": 101, "observed": 101, "low": 101, "high": 101,
    }  # fmt: skip


def test_no_groups_are_refused():
    with pytest.raises(StatisticsError, match="0 groups"):
        reliability_curve([0, 1], [0.2, 0.4], groups=0)
