from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import f1_score

from axilla.analysis.bootstrap import bootstrap, bootstrap_difference
from axilla.analysis.roc import auc, compare_paired, delong_interval
from axilla.core.errors import StatisticsError


def _mean(labels, scores):
    return float(np.mean(scores))


def _macro_f1(labels, scores):
    return f1_score(labels, scores.argmax(axis=1), average="macro", labels=[0, 1, 2])


def _cohort(n=120, seed=0, gap=1.0):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) < 0.4 * n).astype(int)
    shared = rng.normal(size=n) + gap * labels
    return labels, shared + 0.5 * rng.normal(size=n), shared + 0.8 * rng.normal(size=n)


def _gap(labels, scores):
    return scores[labels == 1].mean() - scores[labels == 0].mean()


@pytest.mark.parametrize(("method", "name"), [("bca", "BCa"), ("percentile", "percentile")])
@pytest.mark.parametrize(("stratified", "tolerance"), [(False, 1e-12), (True, 0.03)])
def test_the_interval_is_scipys(method, name, stratified, tolerance):
    labels, scores, _ = _cohort()
    found = bootstrap(_gap, labels, scores, seed=3, method=method, stratified=stratified)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]

    def of(*drawn):
        rows = np.concatenate(drawn)
        return _gap(labels[rows], scores[rows])

    expected = scipy_bootstrap(
        classes if stratified else [np.arange(len(labels))],
        of,
        n_resamples=2000,
        vectorized=False,
        method=name,
        rng=np.random.default_rng(3),
    ).confidence_interval
    # Without strata even the redraws are the same; with strata their order differs, so the bounds
    # differ by chance: their standard error is 0.01 here.
    assert found.estimate.low == pytest.approx(expected.low, abs=tolerance)
    assert found.estimate.high == pytest.approx(expected.high, abs=tolerance)
    assert found.estimate.value == _gap(labels, scores)
    assert (found.draws, found.undefined, found.patients, found.seed) == (2000, 0, 120, 3)


def test_the_interval_of_an_auc_and_of_a_difference_is_close_to_delongs():
    labels, a, b = _cohort(n=400)
    found = bootstrap(auc, labels, a, seed=1, draws=1000).estimate
    closed = delong_interval(labels, a)
    np.testing.assert_allclose([found.low, found.high], [closed.low, closed.high], atol=0.01)
    between = bootstrap_difference(auc, labels, a, b, seed=1, draws=1000).estimate
    test = compare_paired(labels, a, b)
    assert between.value == pytest.approx(test.difference, abs=1e-12)
    np.testing.assert_allclose([between.low, between.high], [test.low, test.high], atol=0.01)


def test_a_patients_rows_stay_together():
    # Ten copies of each row say nothing new: as patients they give the interval of the single rows.
    labels, scores, _ = _cohort(n=60)
    rng = np.random.default_rng(5)
    order = rng.permutation(600)
    many = np.tile(np.arange(60), 10)[order]
    kwargs = {"seed": 2, "draws": 1000, "method": "percentile"}
    alone = bootstrap(_mean, labels, scores, **kwargs)
    together = bootstrap(_mean, labels[many], scores[many], patients=many, **kwargs)
    apart = bootstrap(_mean, labels[many], scores[many], **kwargs)
    width = [f.estimate.high - f.estimate.low for f in (alone, together, apart)]
    assert width[1] == pytest.approx(width[0], rel=0.1)
    assert width[2] == pytest.approx(width[0] / math.sqrt(10), rel=0.1)
    assert (together.patients, apart.patients) == (60, 600)


def test_the_same_seed_gives_the_same_interval():
    labels, scores, _ = _cohort()
    first, same, other = (bootstrap(_mean, labels, scores, seed=s, draws=200) for s in (1, 1, 2))
    assert first == same
    assert first.estimate != other.estimate


def test_a_multiclass_figure_that_has_no_closed_form():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    scores = rng.normal(size=(100, 3)) + 1.5 * np.eye(3)[labels]
    found = bootstrap(_macro_f1, labels, scores, seed=0, draws=300, stratified=True)
    assert found.estimate.value == pytest.approx(
        f1_score(labels, scores.argmax(axis=1), average="macro")
    )
    assert found.estimate.low < found.estimate.value < found.estimate.high
    assert found.as_json() == {
        "value": found.estimate.value,
        "low": found.estimate.low,
        "high": found.estimate.high,
        "bootstrap": {
            "method": "bca", "draws": 300, "undefined": 0, "patients": 100, "seed": 0,
            "stratified": True,
        },
    }  # fmt: skip


def test_redraws_of_one_class_are_counted_and_left_out():
    # 4 of 30 are positive: (26/30)^30 = 1.4% of the redraws have none.
    labels = np.arange(30) < 4
    scores = np.random.default_rng(1).normal(size=30) + labels
    found = bootstrap(auc, labels, scores, seed=4)
    assert 0.005 < found.undefined / found.draws < 0.025
    assert math.isfinite(found.estimate.low)
    assert bootstrap(auc, labels, scores, seed=4, stratified=True).undefined == 0


def test_too_many_undefined_redraws_give_a_reason_and_no_bounds():
    # 2 of 30: (28/30)^30 = 12.6% have none.
    labels = np.arange(30) < 2
    found = bootstrap(auc, labels, np.random.default_rng(1).normal(size=30), seed=4)
    assert math.isnan(found.estimate.low)
    assert f"not defined in {found.undefined} of 2000 redraws" in found.estimate.reason
    assert math.isfinite(found.estimate.value)


@pytest.mark.parametrize(
    ("labels", "scores", "stratified", "reason"),
    [
        ([0, 0, 0], [1.0, 2.0, 3.0], False, "not defined on these patients"),
        ([0, 0, 0, 1], [1.0, 2.0, 3.0, 2.0], True, "single patient cannot be redrawn within"),
        ([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0], True, "every redraw gives the same figure"),
    ],
)
def test_what_cannot_be_redrawn_says_why(labels, scores, stratified, reason):
    found = bootstrap(auc, labels, scores, seed=0, draws=50, stratified=stratified)
    assert math.isnan(found.estimate.low)
    assert reason in found.estimate.reason
    assert found.as_json()["low"] is None


def test_a_jackknife_without_the_figure_leaves_bca_without_correction():
    labels = np.arange(40) < 20
    scores = np.random.default_rng(0).normal(size=40)

    def whole(truth, values):
        if len(truth) < 40:
            raise StatisticsError("too few.", "More.")
        return float(np.mean(values))

    found = bootstrap(whole, labels, scores, seed=0, draws=100).estimate
    assert "use the percentile interval" in found.reason
    fine = bootstrap(whole, labels, scores, seed=0, draws=100, method="percentile").estimate
    assert fine.low < fine.value < fine.high


def test_bad_rows_are_sentences():
    with pytest.raises(StatisticsError, match="do not match scores"):
        bootstrap(auc, [0, 1], [1.0], seed=0)
    with pytest.raises(StatisticsError, match="nobody is there"):
        bootstrap(auc, [], [], seed=0)
    with pytest.raises(StatisticsError, match="2 labels do not match patients"):
        bootstrap(auc, [0, 1], [1.0, 2.0], seed=0, patients=["a"])
    with pytest.raises(StatisticsError, match="more than one class"):
        bootstrap(auc, [0, 1], [1.0, 2.0], seed=0, patients=["a", "a"], stratified=True)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_interval_of_a_mean_covers_95(method):
    """95% +- 2% with 100 patients: 400 cohorts have a standard error of 1%."""
    rng = np.random.default_rng(11)
    labels = np.zeros(100)
    covered = 0
    for seed in range(400):
        found = bootstrap(
            lambda _, scores: scores.sum() / 100, labels, rng.normal(size=100), seed=seed,
            draws=300, method=method,
        ).estimate  # fmt: skip
        covered += found.low <= 0 <= found.high
    assert covered / 400 == pytest.approx(0.95, abs=0.02)
