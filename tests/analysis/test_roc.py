import math

import numpy as np
import pytest
from scipy.stats import chi2, norm
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from axilla.analysis.roc import (
    auc,
    auc_estimate,
    compare_groups,
    compare_paired,
    compare_unpaired,
    delong_interval,
    delong_variance,
    macro_interval,
    roc_curve,
)
from axilla.core.errors import StatisticsError


def make_scores(seed, *, n=60, levels=None):
    """Labels and two correlated scores; `levels` rounds them so that there are ties."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    shared = rng.normal(size=n)
    scores = [shared + rng.normal(size=n) + shift * labels for shift in (0.5, 1.2)]
    if levels:
        scores = [np.round(values * levels) / levels for values in scores]
    return labels, *scores


def psi_matrix(labels, scores):
    """The O(mn) oracle: 1, one half or 0 for each pair of a positive and a negative."""
    positives = [s for s, label in zip(scores, labels, strict=True) if label]
    negatives = [s for s, label in zip(scores, labels, strict=True) if not label]
    return np.array([[(x > y) + 0.5 * (x == y) for y in negatives] for x in positives])


def oracle_covariance(labels, *scores):
    """DeLong's covariance matrix from placement values, written out as in the paper of 1988."""
    matrices = [psi_matrix(labels, values) for values in scores]
    m, n = matrices[0].shape
    areas = [matrix.sum() / (m * n) for matrix in matrices]
    covariance = np.zeros((len(scores), len(scores)))
    for r, first in enumerate(matrices):
        for s, second in enumerate(matrices):
            s10 = sum(
                (first[i].mean() - areas[r]) * (second[i].mean() - areas[s]) for i in range(m)
            ) / (m - 1)
            s01 = sum(
                (first[:, j].mean() - areas[r]) * (second[:, j].mean() - areas[s]) for j in range(n)
            ) / (n - 1)
            covariance[r, s] = s10 / m + s01 / n
    return np.array(areas), covariance


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(5))
def test_everything_agrees_with_the_brute_force_oracle(seed, levels):
    labels, a, b = make_scores(seed, levels=levels)
    areas, covariance = oracle_covariance(labels, a, b)
    assert auc(labels, a) == pytest.approx(areas[0], abs=1e-12)
    assert auc(labels, a) == pytest.approx(roc_auc_score(labels, a), abs=1e-12)
    assert delong_variance(labels, a) == pytest.approx(covariance[0, 0], abs=1e-12)
    test = compare_paired(labels, a, b)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    z = (areas[0] - areas[1]) / math.sqrt(variance)
    assert test.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)
    assert test.z == pytest.approx(z, abs=1e-12)
    assert test.p == pytest.approx(2 * norm.sf(abs(z)), abs=1e-12)
    half = norm.ppf(0.975) * math.sqrt(variance)
    assert (test.low, test.high) == pytest.approx(
        (test.difference - half, test.difference + half), abs=1e-12
    )


def test_unpaired_comparison_agrees_with_the_oracle():
    labels_a, a, _ = make_scores(1, n=90)
    labels_b, _, b = make_scores(2, n=40)
    (area_a,), variance_a = oracle_covariance(labels_a, a)
    (area_b,), variance_b = oracle_covariance(labels_b, b)
    test = compare_unpaired(labels_a, a, labels_b, b)
    z = (area_a - area_b) / math.sqrt(variance_a[0, 0] + variance_b[0, 0])
    half = norm.ppf(0.975) * math.sqrt(variance_a[0, 0] + variance_b[0, 0])
    difference = area_a - area_b
    np.testing.assert_allclose(
        test, [difference, z, 2 * norm.sf(abs(z)), difference - half, difference + half], atol=1e-12
    )


def hanley_mcneil():
    ratings = np.tile(np.arange(1, 6), 2)
    scores = np.repeat(ratings, [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    return np.repeat([0, 1], [58, 51]), scores


def test_published_hanley_mcneil_ratings():
    # 109 CT images rated 1 to 5 (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747);
    # Stata's manual, [R] roctab, prints area 0.8932, DeLong's SE 0.0307 and 0.83295 to 0.95339.
    labels, scores = hanley_mcneil()
    figure = delong_interval(labels, scores)
    assert round(figure.value, 4) == 0.8932
    assert round(math.sqrt(delong_variance(labels, scores)), 4) == 0.0307
    assert (round(figure.low, 5), round(figure.high, 5)) == (0.83295, 0.95339)


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_heterogeneity_is_the_contrast_test_of_brute_force_areas(count, levels):
    """DeLong 1988, equation 5: (L a)' (L S L')^-1 (L a), whatever contrasts L says `all equal`."""
    parts = [make_scores(seed, n=40 + 9 * seed, levels=levels)[:2] for seed in range(count)]
    areas = np.array([oracle_covariance(*part)[0][0] for part in parts])
    variances = np.diag([oracle_covariance(*part)[1][0, 0] for part in parts])
    contrasts = np.column_stack([np.ones(count - 1), -np.eye(count - 1)])
    differences = contrasts @ areas
    expected = differences @ np.linalg.solve(contrasts @ variances @ contrasts.T, differences)
    test = compare_groups(parts)
    assert test.chi_square == pytest.approx(expected, abs=1e-10)
    assert test.df == count - 1
    assert test.p == pytest.approx(chi2.sf(expected, count - 1), abs=1e-10)
    if count == 2:
        pair = compare_unpaired(*parts[0], *parts[1])
        assert (test.chi_square, test.p) == pytest.approx((pair.z**2, pair.p), abs=1e-12)


def test_unpaired_z_from_the_published_area_and_error():
    # Against the same readings with the classes exchanged, of area 1 - 0.8932 and the same error,
    # z is (0.8932 - 0.1068) / (0.0307 * sqrt 2) = 18.11, within the printed error's rounding.
    labels, scores = hanley_mcneil()
    test = compare_unpaired(labels, scores, 1 - labels, scores)
    assert test.difference == pytest.approx(0.7864, abs=1e-4)
    assert test.z == pytest.approx(18.11, abs=0.04)


def test_unpaired_tests_raise_false_alarms_one_time_in_twenty():
    # Equal areas of three groups that differ in size, prevalence and scale of the score.
    rng = np.random.default_rng(8)
    pairs, all_three = [], []
    for _ in range(1500):
        groups = []
        for negatives, positives, scale in ((60, 40, 1.0), (90, 30, 5.0), (45, 45, 0.1)):
            labels = np.repeat([0, 1], [negatives, positives])
            groups.append((labels, scale * (rng.normal(size=len(labels)) + labels)))
        pairs.append(compare_unpaired(*groups[0], *groups[1]).p < 0.05)
        all_three.append(compare_groups(groups).p < 0.05)
    assert np.mean(pairs) == pytest.approx(0.05, abs=0.015)
    assert np.mean(all_three) == pytest.approx(0.05, abs=0.015)


def test_a_group_without_variance_has_no_weight():
    labels, scores, _ = make_scores(0)
    with pytest.raises(StatisticsError, match="no variance"):
        compare_groups([(labels, scores), ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])])
    with pytest.raises(StatisticsError, match="single patient"):
        compare_groups([(labels, scores), ([0, 0, 1], [0.1, 0.8, 0.5])])


def test_scores_that_rank_alike_do_not_differ():
    labels, a, _ = make_scores(0)
    assert compare_paired(labels, a, a) == (0.0, 0.0, 1.0, 0.0, 0.0)
    assert compare_paired(labels, a, np.exp(a)) == (0.0, 0.0, 1.0, 0.0, 0.0)


def test_a_difference_without_variance_is_no_test():
    labels, perfect = [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]
    with pytest.raises(StatisticsError, match="zero variance"):
        compare_paired(labels, perfect, [0.9, 0.8, 0.2, 0.1])
    with pytest.raises(StatisticsError, match="zero variance"):
        compare_unpaired(labels, perfect, labels, [0.5] * 4)
    assert compare_unpaired(labels, perfect, labels, perfect) == (0.0, 0.0, 1.0, 0.0, 0.0)


def test_perfect_separation_has_an_exact_interval_but_none_of_delong():
    figure = auc_estimate([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.9])
    assert figure.value == 1
    assert figure.exact.low == pytest.approx(0.025 ** (1 / 5))
    entry = figure.as_json()
    assert entry["delong_low"] is None
    assert "variance is zero" in entry["reason"]


def test_a_single_patient_of_a_class():
    labels, scores = [0, 0, 0, 1], [0.1, 0.5, 0.3, 0.4]
    assert auc_estimate(labels, scores).value == pytest.approx(2 / 3)
    assert "single patient" in delong_interval(labels, scores).reason
    with pytest.raises(StatisticsError, match="single patient"):
        delong_variance(labels, scores)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1], [0.1, 0.2], "all 2 patients are positive"),
        ([0], [0.1], "the only patient is negative"),
        ([], [], "nobody is there"),
        ([0, 2], [0.1, 0.2], "neither 0 nor 1"),
        ([0, 1], [0.1, math.nan], "not finite"),
        ([0, 1], [0.1], "do not match"),
    ],
)
def test_what_has_no_curve_says_why(labels, scores, message):
    with pytest.raises(StatisticsError, match=message):
        roc_curve(labels, scores)


@pytest.mark.parametrize("levels", [None, 2])
def test_curve_is_scikit_learns(levels):
    labels, scores, _ = make_scores(3, levels=levels)
    curve = roc_curve(labels, scores)
    fpr, tpr, thresholds = sklearn_roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-15)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-15)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auc(labels, scores), abs=1e-12)


def test_delong_interval_covers():
    # Binormal scores of separation 1: area = Phi(1 / sqrt 2).
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], [60, 40])
    truth = norm.cdf(1 / math.sqrt(2))
    figures = [delong_interval(labels, rng.normal(size=100) + labels) for _ in range(1000)]
    covered = np.mean([figure.low <= truth <= figure.high for figure in figures])
    assert 0.93 <= covered <= 0.97


def test_large_cohort_is_quick():
    labels, a, b = make_scores(5, n=200_000)
    assert compare_paired(labels, a, b).p < 1e-12


def test_the_mean_area_of_two_classes_has_delongs_interval():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 60)
    score = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    mean = macro_interval(labels, np.column_stack([1 - score, score]))
    alone = delong_interval(labels, score)
    assert (mean.value, mean.low, mean.high) == pytest.approx((alone.value, alone.low, alone.high))


def test_the_mean_area_of_three_classes_against_the_bootstrap():
    """Resampled within classes, as the variance is stratified by them."""
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], [70, 50, 30])
    scores = rng.dirichlet([1, 1, 1], 150) * 0.7 + 0.3 * np.eye(3)[labels]
    found = macro_interval(labels, scores)
    assert found.value == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    members = [np.flatnonzero(labels == index) for index in range(3)]
    draws = []
    for _ in range(300):
        rows = np.concatenate([rng.choice(own, len(own)) for own in members])
        draws.append(roc_auc_score(labels[rows], scores[rows], multi_class="ovr"))
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(np.std(draws), rel=0.12)


def test_the_mean_area_without_variance_has_no_interval():
    labels = np.array([0, 0, 1, 1, 2, 2])
    found = macro_interval(labels, np.eye(3)[labels])
    assert found.value == 1
    assert np.isnan(found.low)
    assert found.reason == "the variance is zero (perfect separation or equal scores)"
    single = macro_interval(labels[:-1], np.eye(3)[labels[:-1]])
    assert single.reason == "a class has a single patient, so DeLong has no variance"
