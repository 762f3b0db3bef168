import math

import numpy as np
import pytest

from axilla.analysis.thresholds import choose_threshold, is_chosen_on_validation
from axilla.core.config import NpvThreshold, SensitivityThreshold
from axilla.core.errors import StatisticsError

LABELS = [0, 0, 0, 1, 0, 1, 1, 0, 1, 1]
SCORES = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.8, 0.9]


def figures_at(labels, scores, threshold):
    """The obvious oracle: sensitivity, specificity, NPV with score >= threshold positive."""
    cells = {(truth, called): 0 for truth in (0, 1) for called in (False, True)}
    for label, score in zip(labels, scores, strict=True):
        cells[label, score >= threshold] += 1
    tp, fn, tn, fp = cells[1, True], cells[1, False], cells[0, False], cells[0, True]
    return tp / (tp + fn), tn / (tn + fp), tn / (tn + fn) if tn + fn else math.nan


def middle_below(scores, lowest_called):
    below = [score for score in scores if score < lowest_called]
    return (lowest_called + max(below)) / 2 if below else lowest_called


def test_youden_by_hand():
    # From 0.5 on: 4 of 5 positives called, 4 of 5 negatives spared, J = 0.6; from 0.3: 1 + 0.6 - 1.
    # The tie goes to the higher gap, from 0.4 to 0.5, whose middle is the threshold.
    assert choose_threshold(LABELS, SCORES, rule="youden-validation") == pytest.approx(0.45)
    assert choose_threshold(LABELS, SCORES, rule="youden-per-cohort") == pytest.approx(0.45)


def test_the_threshold_stands_in_the_middle_of_the_gap():
    assert choose_threshold([0, 1], [0.25, 0.75], rule="youden-validation") == 0.5


def test_a_score_at_the_threshold_is_positive_and_nobody_below_moves_it():
    # All are called positive, and no lower score says where the gap would end.
    rule = SensitivityThreshold(sensitivity=1.0)
    assert choose_threshold([1, 0], [0.25, 0.75], rule=rule) == 0.25


def test_neighbouring_numbers_have_no_middle():
    low = 0.7
    high = float(np.nextafter(low, 1.0))
    assert choose_threshold([0, 1], [low, high], rule="youden-validation") == high


@pytest.mark.parametrize("seed", range(8))
def test_rules_agree_with_trying_every_score(seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(50) % 3 == 0).astype(int)
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 2)
    tried = {t: figures_at(labels, scores, t) for t in sorted(set(scores))}

    def check(rule, serves):
        threshold = choose_threshold(labels, scores, rule=rule)
        highest = max(t for t, figures in tried.items() if serves(*figures))
        assert threshold == pytest.approx(middle_below(scores, highest), abs=1e-12)
        assert figures_at(labels, scores, threshold) == tried[highest]

    best = max(round(se + sp - 1, 12) for se, sp, _ in tried.values())
    check("youden-validation", lambda se, sp, _: round(se + sp - 1, 12) == best)
    for target in (0.5, 0.9, 1.0):
        check(SensitivityThreshold(sensitivity=target), lambda se, _, __, to=target: se >= to)
    check(NpvThreshold(npv=0.8), lambda _, __, npv: npv >= 0.8)


def test_nineteen_of_twenty_reach_095():
    # The line runs below the 19th positive from above, and above the other two.
    labels, scores = [1] * 20 + [0], [*(i / 20 for i in range(20)), 0.01]
    rule = SensitivityThreshold(sensitivity=0.95)
    assert choose_threshold(labels, scores, rule=rule) == pytest.approx((1 / 20 + 0.01) / 2)


def test_a_number_is_taken_as_it_is():
    assert choose_threshold([], [], rule=0.35) == 0.35


def test_unreachable_npv_says_how_far_it_goes():
    labels, scores = [1, 0, 0, 1], [0.1, 0.2, 0.3, 0.9]
    with pytest.raises(StatisticsError, match=r"highest is 0\.667.*npv: 0\.66"):
        choose_threshold(labels, scores, rule=NpvThreshold(npv=0.9))


def test_one_class_has_nothing_to_choose_on():
    with pytest.raises(StatisticsError, match="one class"):
        choose_threshold([1, 1], [0.1, 0.2], rule="youden-validation")


def test_which_rules_need_validation():
    assert is_chosen_on_validation("youden-validation")
    assert is_chosen_on_validation(NpvThreshold(npv=0.9))
    assert is_chosen_on_validation(SensitivityThreshold(sensitivity=0.9))
    assert not is_chosen_on_validation("youden-per-cohort")
    assert not is_chosen_on_validation(0.5)
