from __future__ import annotations

import math

import numpy as np
import pytest

from axilla.analysis.operating_points import (
    RULES,
    LockedRule,
    lock_rules,
    operating_points,
    operating_points_json,
)
from axilla.core.config import NpvThreshold, SensitivityThreshold
from axilla.core.errors import StatisticsError

LABELS = [0, 0, 0, 1, 0, 1, 1, 0, 1, 1]
SCORES = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.8, 0.9]


def make_cohort(seed, n=210):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.38).astype(int)
    return labels, 1 / (1 + np.exp(-(rng.normal(size=n) + 1.3 * labels - 1)))


def test_thresholds_by_hand():
    # All five positives are at 0.3 or above; below 0.3 nobody is positive, below 0.5 one of five.
    # The line runs in the middle of the gap: between 0.4 and 0.5, between 0.2 and 0.3.
    thresholds = [rule.threshold for rule in lock_rules(LABELS, SCORES)]
    assert thresholds == pytest.approx([0.45, 0.25, 0.25, 0.25, 0.25, 0.25, 0.5])


def test_a_rule_keeps_its_word_where_it_was_chosen():
    labels, scores = make_cohort(0)
    points = operating_points(lock_rules(labels, scores), labels, scores)
    for point, least in zip(points[1:4], (0.9, 0.95, 0.99), strict=True):
        assert point.sensitivity.value >= least
    for point, least in zip(points[4:6], (0.9, 0.95), strict=True):
        # 54 of 60 reach 0.9, whatever the last bit of the logit and back is.
        assert point.npv.value >= least - 1e-12


def test_the_threshold_is_the_same_on_another_cohort_and_its_figures_are_not():
    locked = lock_rules(*make_cohort(0))
    labels, scores = make_cohort(1, n=218)
    for rule, point in zip(locked, operating_points(locked, labels, scores), strict=True):
        assert point.locked is rule
        below = scores < rule.threshold
        assert point.n_below == below.sum()
        assert point.n_at_or_above == 218 - below.sum()
        assert point.spared.avoided_per_100.value == pytest.approx(100 * below.mean())
        assert point.spared.missed_per_100.value == pytest.approx(
            100 * (below & labels).sum() / 218
        )
        assert point.sensitivity.value == pytest.approx(1 - below[labels == 1].mean())
        assert point.specificity.value == pytest.approx(below[labels == 0].mean())
        assert point.npv.value == pytest.approx(1 - labels[below].mean())
        assert point.ppv.value == pytest.approx(labels[~below].mean())


def test_a_rule_that_cannot_be_met_has_its_reason():
    labels, scores = [1, 0, 0, 1], [0.1, 0.2, 0.3, 0.9]
    rules = [NpvThreshold(npv=0.9), 0.5]
    unmet, fixed = operating_points(lock_rules(labels, scores, rules=rules), labels, scores)
    assert isinstance(unmet, LockedRule)
    assert unmet.threshold is None
    assert "the highest is 0.667" in unmet.reason
    entry = operating_points_json([unmet, fixed])
    assert entry[0] == {"rule": {"npv": 0.9}, "threshold": None, "reason": unmet.reason}
    assert list(entry[1]) == [
        "rule", "threshold", "n_at_or_above", "n_below", "confusion", "sensitivity", "specificity",
        "ppv", "npv", "avoided_per_100", "missed_per_100", "missed_per_100_spared",
    ]  # fmt: skip
    assert entry[1]["confusion"] == {"tp": 1, "fn": 1, "tn": 2, "fp": 0}


def test_with_nobody_to_choose_on_only_a_fixed_threshold_is_left():
    locked = lock_rules([], [])
    assert [rule.threshold for rule in locked] == [None] * (len(RULES) - 1) + [0.5]
    assert "patients of one class" in locked[0].reason


def test_a_cohort_of_one_class_has_the_figures_that_it_has():
    (point,) = operating_points(lock_rules(LABELS, SCORES, rules=[0.5]), [0, 0], [0.2, 0.7])
    assert point.specificity.value == 0.5
    assert math.isnan(point.sensitivity.value)
    assert point.sensitivity.reason == "no patient is positive"


def test_what_is_chosen_anew_cannot_be_locked():
    with pytest.raises(StatisticsError, match="cannot be locked"):
        lock_rules(LABELS, SCORES, rules=["youden-per-cohort"])


def test_the_rules_json_is_that_of_the_study():
    points = operating_points(lock_rules(LABELS, SCORES), LABELS, SCORES)
    assert [entry["rule"] for entry in operating_points_json(points)] == [
        "youden-validation",
        *({"sensitivity": share} for share in (0.9, 0.95, 0.99)),
        *({"npv": share} for share in (0.9, 0.95)),
        0.5,
    ]
    assert SensitivityThreshold(sensitivity=0.9) in RULES
