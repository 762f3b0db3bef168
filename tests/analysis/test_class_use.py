import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from axilla.analysis.calibration import calibration_entry
from axilla.analysis.class_use import OF_ANY_NODES, any_nodes, class_use_entry, summed_brier
from axilla.analysis.decision import decision_curve
from axilla.analysis.score_table import Scores
from axilla.core.endpoint import are_node_classes

STAGES = ("N0", "N+(1-2)", "N+(>=3)")


def make_scores(n=200, *, seed=0, labels=None):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet([3, 2, 1], size=n)
    if labels is None:
        labels = np.array([rng.choice(3, p=row) for row in scores])
    return Scores(tuple(map(str, range(n))), np.asarray(labels), scores)


def test_each_class_is_measured_against_the_rest():
    part = make_scores()
    entry = class_use_entry(part, classes=STAGES)
    for index, name in enumerate(STAGES):
        own = part.labels == index
        assert entry["calibration_by_class"][name] == calibration_entry(own, part.scores[:, index])
        assert entry["calibration_by_class"][name]["positives"] == own.sum()


def test_the_summed_brier_score_by_hand():
    # 0.7^2 of a right call short of certain is (0.3^2 + 0.2^2 + 0.1^2); the other is all wrong.
    labels, scores = np.array([0, 2]), np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    value = (0.09 + 0.04 + 0.01 + 1 + 0 + 1) / 2
    assert summed_brier(labels, scores).estimate.value == pytest.approx(value, rel=1e-12)


def test_the_summed_brier_score_is_the_sum_of_scikit_learns():
    part = make_scores()
    found = summed_brier(part.labels, part.scores)
    each = [brier_score_loss(part.labels == k, part.scores[:, k]) for k in range(3)]
    assert found.estimate.value == pytest.approx(sum(each), rel=1e-12)
    # Redrawn patients of a mean: near to its normal interval, and the same each time.
    distances = ((part.scores - np.eye(3)[part.labels]) ** 2).sum(axis=1)
    half = 1.959964 * distances.std(ddof=1) / math.sqrt(200)
    assert found.estimate.low == pytest.approx(found.estimate.value - half, abs=0.15 * half)
    assert found.estimate.high == pytest.approx(found.estimate.value + half, abs=0.15 * half)
    assert found.as_json() == summed_brier(part.labels, part.scores).as_json()


def test_of_two_classes_it_is_twice_the_usual_one():
    part = make_scores()
    scores = np.column_stack([1 - part.scores[:, 2], part.scores[:, 2]])
    labels = (part.labels == 2).astype(int)
    usual = brier_score_loss(labels, scores[:, 1])
    assert summed_brier(labels, scores).estimate.value == pytest.approx(2 * usual, rel=1e-12)


def test_the_decision_is_on_any_positive_node():
    part = make_scores()
    found = class_use_entry(part, classes=STAGES)["decision_curve"]
    positive = np.isin(part.labels, (1, 2))
    expected = decision_curve(positive, part.scores[:, 1:].sum(axis=1)).as_json()
    assert found.pop("note") == OF_ANY_NODES
    assert (found["n"], found["positives"]) == (200, positive.sum())
    for point, other in zip(found["points"], expected["points"], strict=True):
        assert point["avoided_per_100"] == other["avoided_per_100"]
        assert point["missed_per_100"] == other["missed_per_100"]
    # By hand at 20%: patients below it are spared, the positives of them missed.
    spared = part.scores[:, 0] > 0.8
    at = next(p for p in found["points"] if p["threshold"] == 0.2)
    assert at["avoided_per_100"]["value"] == pytest.approx(100 * spared.mean())
    assert at["missed_per_100"]["value"] == pytest.approx(100 * (spared & positive).mean())


@pytest.mark.parametrize("classes", [("G1", "G2", "G3"), ("N+(1-2)", "N0", "N+(>=3)")])
def test_other_classes_have_no_decision_curve_but_a_reason(classes):
    found = class_use_entry(make_scores(), classes=classes)["decision_curve"]
    assert list(found) == ["reason"]
    assert "no single risk says whom a biopsy could be spared" in found["reason"]


def test_which_classes_are_node_stages():
    assert are_node_classes(STAGES)
    assert are_node_classes(["N0", "N(+)"])
    assert not are_node_classes(("N+(1-2)", "N+(>=3)"))
    assert not are_node_classes(("N0", "N1", "N2"))


def test_a_rare_class_says_why_it_has_no_slope():
    labels = np.where(np.arange(200) < 3, 2, np.arange(200) % 2)
    entry = class_use_entry(make_scores(labels=labels), classes=STAGES)
    rare = entry["calibration_by_class"]["N+(>=3)"]
    assert (rare["slope"]["value"], rare["positives"]) == (None, 3)
    assert rare["slope"]["reason"].startswith("only 3 patients are positive")
    assert entry["calibration_by_class"]["N0"]["slope"]["value"] is not None


def test_a_class_nobody_has_is_told_apart():
    labels = np.arange(200) % 2
    entry = class_use_entry(make_scores(labels=labels), classes=STAGES)
    absent = entry["calibration_by_class"]["N+(>=3)"]
    assert absent["intercept"]["reason"] == "all 200 patients are negative"
    assert entry["decision_curve"]["positives"] == 100


def test_any_nodes_takes_all_but_the_first_class_together():
    part = make_scores(20)
    positive, risks = any_nodes(part.labels, part.scores)
    np.testing.assert_array_equal(positive, part.labels != 0)
    np.testing.assert_allclose(risks, part.scores[:, 1:].sum(axis=1), atol=1e-12)
