"""Average precision against scikit-learn; its jackknife by leaving patients out one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import average_precision_score

from axilla.analysis.precision_recall import average_precision, precision_recall
from axilla.core.errors import StatisticsError


def make_cohort(seed=0, n=60, decimals=8):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    return labels, np.round(rng.normal(size=n) + 0.8 * labels, decimals)


def test_by_hand():
    # Positives are first and third: precision 1 and 2/3 at their scores.
    figure = average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    assert figure.value == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)


@pytest.mark.parametrize("decimals", [8, 1, 0])
@pytest.mark.parametrize("seed", range(4))
def test_value_and_interval_against_leaving_patients_out(seed, decimals):
    labels, scores = make_cohort(seed, decimals=decimals)
    everybody = np.arange(60)
    without = np.array(
        [average_precision_score(labels[everybody != i], scores[everybody != i]) for i in everybody]
    )
    value = average_precision_score(labels, scores)
    logits = logit(without)
    error = math.sqrt(59 / 60 * ((logits - logits.mean()) ** 2).sum())
    half = student.ppf(0.975, labels.sum() - 1) * error
    figure = average_precision(labels, scores)
    assert figure.value == pytest.approx(value, abs=1e-13)
    assert figure.low == pytest.approx(expit(logit(value) - half), abs=1e-12)
    assert figure.high == pytest.approx(expit(logit(value) + half), abs=1e-12)


def population_average(shift, prevalence):
    """Average precision of two normal scores that are `shift` apart, by integration."""

    def precision(score):
        positives = prevalence * norm.sf(score - shift)
        return positives / (positives + (1 - prevalence) * norm.sf(score))

    return quad(lambda score: precision(score) * norm.pdf(score - shift), -8, 8 + shift)[0]


@pytest.mark.parametrize(("auc", "prevalence"), [(0.82, 0.385), (0.65, 0.385), (0.6, 0.7)])
def test_the_interval_holds_the_truth_in_95_percent_of_218_patients(auc, prevalence):
    shift = math.sqrt(2) * norm.ppf(auc)
    truth = population_average(shift, prevalence)
    rng = np.random.default_rng(8888)
    draws, held = 3000, 0
    for _ in range(draws):
        labels = rng.random(218) < prevalence
        figure = average_precision(labels, rng.normal(size=218) + shift * labels)
        held += figure.low <= truth <= figure.high
    assert held / draws == pytest.approx(0.95, abs=0.01)


def test_curve_and_baseline():
    labels, scores = make_cohort(decimals=1)
    found = precision_recall(labels, scores)
    assert found.recall[[0, -1]].tolist() == [1, 0]
    assert found.precision[0] == pytest.approx(1 / 3)
    assert len(found.thresholds) == len(found.precision) - 1
    for precision, recall, threshold in zip(
        found.precision, found.recall, found.thresholds, strict=False
    ):
        called = scores >= threshold
        assert precision == pytest.approx(labels[called].mean())
        assert recall == pytest.approx(labels[called].sum() / labels.sum())
    assert found.prevalence.value == pytest.approx(1 / 3)
    assert found.as_json() == {
        "average_precision": {
            "value": found.average.value, "low": found.average.low, "high": found.average.high,
        },
        "prevalence": {
            "value": 1 / 3, "low": found.prevalence.low, "high": found.prevalence.high,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "scores", "value", "reason"),
    [
        ([0, 0, 1, 1], [1, 2, 3, 4], 1.0, "separated perfectly"),
        ([0, 1, 0, 1, 1], [1, 2, 3, 4, 5], (1 + 1 + 3 / 4) / 3, "without one patient"),
        ([0, 0, 1], [1, 2, 0], 1 / 3, "a single patient is positive"),
        ([0, 0, 1, 1], [2, 2, 2, 2], 0.5, "all scores are equal"),
    ],
)
def test_where_there_is_no_interval_the_reason_is_said(labels, scores, value, reason):
    figure = average_precision(labels, scores)
    assert figure.value == pytest.approx(value)
    assert math.isnan(figure.low)
    assert math.isnan(figure.high)
    assert reason in figure.reason


def test_one_class_has_no_curve():
    with pytest.raises(StatisticsError, match="all 2 patients are negative, so there is no prec"):
        precision_recall([0, 0], [0.1, 0.2])
