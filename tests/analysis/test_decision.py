"""Net benefit by hand, by definition and in 218 simulated patients; its interval by exact sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial

from axilla.analysis.decision import THRESHOLDS, decision_curve, weighted_difference
from axilla.analysis.intervals import clopper_pearson
from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion


def make_cohort(seed=1, n=218, prevalence=0.385):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < prevalence).astype(int)
    # Two decimals, so that scores tie with one another and with thresholds.
    risks = np.round(1 / (1 + np.exp(-(rng.normal(size=n) + 1.4 * labels - 1))), 2)
    return labels, risks


def only_point(labels, risks, threshold):
    (point,) = decision_curve(labels, risks, thresholds=[threshold]).points
    return point


def test_net_benefit_by_hand():
    # At 20%: one of two positives and one of two negatives at or above; an unneeded biopsy
    # weighs 0.2 / 0.8 = 1/4. 1/4 - 1/4 * 1/4; biopsy for all 2/4 - 1/4 * 2/4.
    point = only_point([0, 0, 1, 1], [0.1, 0.3, 0.15, 0.8], 0.2)
    assert point.confusion == Confusion(tp=1, fn=1, tn=1, fp=1)
    assert point.net_benefit.value == pytest.approx(3 / 16, abs=1e-15)
    assert point.treat_all.value == pytest.approx(3 / 8, abs=1e-15)
    # One biopsy less, and one metastasis missed that weighs four biopsies: 100 (1/4 - 4/4).
    assert point.net_reduction_per_100.value == pytest.approx(-75, abs=1e-12)
    assert point.spared.avoided_per_100.value == 50
    assert point.spared.missed_per_100.value == 25
    assert point.spared.missed_per_100_spared.value == 50


def test_every_point_against_its_definition():
    labels, risks = make_cohort()
    curve = decision_curve(labels, risks)
    assert curve.thresholds.tolist() == list(THRESHOLDS)
    assert (curve.n, curve.positives) == (218, labels.sum())
    for point in curve.points:
        weight = point.threshold / (1 - point.threshold)
        benefit = everybody = spared = missed = 0.0
        for label, risk in zip(labels, risks, strict=True):
            everybody += label - weight * (1 - label)
            if risk >= point.threshold:
                benefit += label - weight * (1 - label)
            else:
                spared += 1
                missed += label
        assert point.net_benefit.value == pytest.approx(benefit / 218, abs=1e-13)
        assert point.treat_all.value == pytest.approx(everybody / 218, abs=1e-13)
        gain = (benefit - everybody) / 218 / weight
        assert point.net_reduction_per_100.value == pytest.approx(100 * gain, abs=1e-10)
        assert point.spared.avoided_per_100.value == pytest.approx(100 * spared / 218)
        assert point.spared.missed_per_100.value == pytest.approx(100 * missed / 218)


def test_below_all_scores_the_model_is_biopsy_for_all():
    labels, risks = make_cohort()
    point = only_point(labels, np.maximum(risks, 0.02), 0.01)
    assert point.net_benefit.value == pytest.approx(point.treat_all.value, abs=1e-15)
    assert point.net_reduction_per_100.value == 0
    assert point.spared.avoided_per_100.value == 0
    assert math.isnan(point.spared.missed_per_100_spared.value)
    assert point.spared.missed_per_100_spared.reason == "no patient would be spared"


def test_above_all_scores_the_model_is_biopsy_for_none():
    labels, risks = make_cohort()
    point = only_point(labels, np.minimum(risks, 0.4), 0.41)
    assert point.net_benefit.value == 0
    assert point.spared.avoided_per_100.value == 100
    assert point.spared.missed_per_100_spared.value == pytest.approx(100 * labels.mean())


def test_at_the_prevalence_biopsy_for_all_is_worth_nothing():
    labels, risks = make_cohort()
    assert only_point(labels, risks, labels.mean()).treat_all.value == pytest.approx(0, abs=1e-15)


def test_a_perfect_model_is_worth_the_prevalence():
    labels, _ = make_cohort()
    point = only_point(labels, labels.astype(float), 0.3)
    assert point.net_benefit.value == pytest.approx(labels.mean(), abs=1e-15)
    assert point.net_reduction_per_100.value == pytest.approx(100 * (1 - labels.mean()))


def test_biopsy_for_all_has_the_exact_interval_of_the_prevalence():
    labels, risks = make_cohort()
    point = only_point(labels, risks, 0.2)
    share = clopper_pearson(int(labels.sum()), 218)
    for bound, prevalence in (
        (point.treat_all.low, share.low),
        (point.treat_all.high, share.high),
    ):
        assert bound == pytest.approx(prevalence - 0.25 * (1 - prevalence), abs=1e-14)


def brute_bounds(gains, losses, n, weight):
    """Every mean on a fine grid whose most likely variance, searched for, does not reject it."""
    mean, kept = (gains - weight * losses) / n, []
    for mu in np.linspace(-weight + 1e-4, 1 - 1e-4, 601):

        def unlikely(q, mu=mu):
            shares = np.array([mu + weight * q, q, 1 - mu - (1 + weight) * q])
            counts = np.array([gains, losses, n - gains - losses])
            used = counts > 0
            return -np.sum(counts[used] * np.log(np.maximum(shares[used], 1e-300)))

        ends = (max(0.0, -mu / weight), (1 - mu) / (1 + weight))
        q = minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-10}).x
        variance = mu + weight * q + weight**2 * q - mu**2
        if n * (mean - mu) ** 2 <= 1.959964**2 * variance:
            kept.append(mu)
    return kept[0], kept[-1]


@pytest.mark.parametrize(
    ("gains", "losses", "n", "weight"),
    [(30, 20, 90, 0.25), (5, 0, 40, 0.5), (0, 6, 40, 2.0), (0, 0, 30, 1.0), (50, 1, 60, 9.0)],
)
def test_the_interval_against_a_search_of_every_mean(gains, losses, n, weight):
    (figure,) = weighted_difference([gains], [losses], n=n, weights=[weight])
    low, high = brute_bounds(gains, losses, n, weight)
    step = (1 + weight) / 600
    assert figure.low == pytest.approx(low, abs=1.5 * step)
    assert figure.high == pytest.approx(high, abs=1.5 * step)


def test_of_nobody_called_the_upper_bound_is_wilsons():
    # Only gains could be more: (z^2 / (n + z^2)), Wilson 1927 with no event.
    (figure,) = weighted_difference([0], [0], n=50, weights=[0.3])
    z2 = 1.959963984540054**2
    assert figure.high == pytest.approx(z2 / (50 + z2), rel=1e-10)
    assert figure.value == 0


@pytest.mark.parametrize(
    ("gains", "losses", "n", "level", "bounds"),
    [
        # Airway hyper-responsiveness of Bentur 2009 (1, 1, 7, 12), as R's ratesci has it for
        # Tango's interval.
        (1, 7, 21, 0.95, (-0.517, -0.026)),
        # R's PropCIs: scoreci.mp(25, 28, 618, conf.level = 0.90).
        (28, 25, 618, 0.90, (-0.0148, 0.0247)),
    ],
)
def test_at_a_weight_of_one_it_is_tangos_interval(gains, losses, n, level, bounds):
    (figure,) = weighted_difference([gains], [losses], n=n, weights=[1.0], level=level)
    decimals = 3 if level == 0.95 else 4
    assert (round(figure.low, decimals), round(figure.high, decimals)) == bounds


def coverage(n, shares, weight):
    """Chance, summed over every possible cohort, that the interval holds the true mean."""
    gains, losses = (part.ravel() for part in np.indices((n + 1, n + 1)))
    possible = gains + losses <= n
    gains, losses = gains[possible], losses[possible]
    counts = np.column_stack([gains, losses, n - gains - losses])
    chance = multinomial.pmf(counts, n, [*shares, 1 - sum(shares)])
    likely = chance > 1e-10
    figures = weighted_difference(
        gains[likely], losses[likely], n=n, weights=np.full(likely.sum(), weight)
    )
    truth = shares[0] - weight * shares[1]
    held = np.array([figure.low <= truth <= figure.high for figure in figures])
    return float(np.sum(chance[likely] * held))


@pytest.mark.parametrize(
    ("threshold", "sensitivity", "specificity"),
    [(0.05, 0.98, 0.3), (0.1, 0.97, 0.4), (0.2, 0.9, 0.6), (0.3, 0.85, 0.7), (0.5, 0.6, 0.9)],
)
def test_intervals_hold_the_truth_in_95_percent_of_218_patients(
    threshold, sensitivity, specificity
):
    # A cohort like the paper's test cohort, 84 of 218 positive.
    weight, prevalence = threshold / (1 - threshold), 84 / 218
    tp, fp = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    assert coverage(218, (tp, fp), weight) == pytest.approx(0.95, abs=0.01)
    # The net reduction counts true negatives and missed positives; where three positives are
    # missed in a cohort on average, its coverage is a little above.
    tn, fn = (1 - prevalence) * specificity, prevalence * (1 - sensitivity)
    assert 0.94 <= coverage(218, (tn, fn), 1 / weight) <= 0.965


def test_json_holds_every_point():
    labels, risks = make_cohort()
    curve = decision_curve(labels, risks, thresholds=[0.1, 0.3])
    entry = curve.as_json()
    assert list(entry) == ["n", "positives", "points"]
    first = entry["points"][0]
    assert list(first) == [
        "threshold", "net_benefit", "treat_all", "net_reduction_per_100", "avoided_per_100",
        "missed_per_100", "missed_per_100_spared",
    ]  # fmt: skip
    assert first["net_benefit"]["value"] == curve.points[0].net_benefit.value


@pytest.mark.parametrize(
    ("labels", "risks", "thresholds", "said"),
    [
        ([0, 1], [0.2, 1.2], [0.1], "no probability"),
        ([0, 1], [0.2, math.nan], [0.1], "no probability"),
        ([0, 2], [0.2, 0.3], [0.1], "neither 0 nor 1"),
        ([], [], [0.1], "there are none"),
        ([0, 1], [0.2, 0.3, 0.4], [0.1], "do not match"),
        ([0, 1], [0.2, 0.3], [0.1, 1.0], "threshold of 1 is not"),
    ],
)
def test_what_has_no_curve_is_refused(labels, risks, thresholds, said):
    with pytest.raises(StatisticsError, match=said):
        decision_curve(labels, risks, thresholds=thresholds)
