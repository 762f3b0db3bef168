import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix, f1_score, roc_auc_score

from axilla.analysis.metrics import evaluate
from axilla.analysis.roc import auc_estimate, compare_paired
from axilla.analysis.thresholds import choose_threshold
from axilla.core.config import NpvThreshold, SensitivityThreshold
from axilla.core.errors import StatisticsError

SIZES = {"train": 60, "val": 30, "test": 40}


def make_predictions(*, methods=("clinical", "dl-cnb"), sizes=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for cohort, n in sizes.items():
        labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
        for strength, method in enumerate(methods, start=1):
            scores = 1 / (1 + np.exp(-(rng.normal(size=n) + 0.7 * strength * (labels - 0.5))))
            ids = [f"{cohort}-{i}" for i in range(n)]
            parts.append(
                pd.DataFrame(
                    {
                        "patient_id": ids,
                        "method": method,
                        "cohort": cohort,
                        "label": labels,
                        "score": scores,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def rows_of(frame, method, cohort):
    return frame[(frame["method"] == method) & (frame["cohort"] == cohort)]


def run(frame, rule="youden-validation", **more):
    result = evaluate(frame, endpoint="n0-vs-npos", threshold_rule=rule, **more)
    # allow_nan=False: NaN is not JSON and never written.
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def test_the_papers_row_through_the_front_door():
    # DL-CNB on training (Table 2): 226 / 14 / 280 / 110.
    labels = np.repeat([1, 0], [240, 390])
    scores = np.concatenate([np.repeat([0.8, 0.2], [226, 14]), np.repeat([0.2, 0.8], [280, 110])])
    ids = [f"p{i}" for i in range(630)]
    frame = pd.DataFrame(
        {"patient_id": ids, "method": "dl-cnb", "cohort": "train", "label": labels, "score": scores}
    )
    entry = run(frame, 0.5)["methods"]["dl-cnb"]["train"]
    assert entry["confusion"] == {"tp": 226, "fn": 14, "tn": 280, "fp": 110}
    assert (entry["n"], entry["positives"], entry["threshold"]) == (630, 240, 0.5)
    printed = {
        name: [round(100 * entry[name][key], 2) for key in ("value", "low", "high")]
        for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv")
    }
    assert printed == {
        "accuracy": [80.32, 76.99, 83.35],
        "sensitivity": [94.17, 90.41, 96.77],
        "specificity": [71.79, 67.05, 76.21],
        "ppv": [67.26, 63.61, 70.71],
        "npv": [95.24, 92.30, 97.09],
    }


def test_structure_and_figures_of_two_methods():
    frame = make_predictions()
    result = run(frame)
    assert set(result) == {"endpoint", "threshold_rule", "methods", "comparisons"}
    assert {m: list(c) for m, c in result["methods"].items()} == {
        "clinical": ["train", "val", "test"],
        "dl-cnb": ["train", "val", "test"],
    }
    test = rows_of(frame, "dl-cnb", "test")
    validation = rows_of(frame, "dl-cnb", "val")
    entry = result["methods"]["dl-cnb"]["test"]
    threshold = choose_threshold(validation["label"], validation["score"], rule="youden-validation")
    assert entry["threshold"] == threshold
    called = test["score"] >= threshold
    (tn, fp), (fn, tp) = confusion_matrix(test["label"], called).tolist()
    assert entry["confusion"] == {"tp": tp, "fn": fn, "tn": tn, "fp": fp}
    assert entry["f1"]["value"] == pytest.approx(f1_score(test["label"], called))
    assert entry["auc"] == auc_estimate(test["label"], test["score"]).as_json()
    assert set(entry["auc"]) == {"value", "low", "high", "delong_low", "delong_high"}


def test_comparison_pairs_patients_by_id_not_by_row():
    frame = make_predictions()
    shuffled = frame.sample(frac=1, random_state=1)
    a, b = rows_of(frame, "clinical", "test"), rows_of(frame, "dl-cnb", "test")
    expected = compare_paired(a["label"], a["score"], b["score"])
    for result in (run(frame), run(shuffled)):
        (test,) = [c for c in result["comparisons"] if c["cohort"] == "test"]
        sign = 1 if test["a"] == "clinical" else -1
        assert test["n"] == 40
        assert sign * test["z"] == pytest.approx(expected.z, abs=1e-12)
        assert sign * test["difference"] == pytest.approx(expected.difference, abs=1e-12)
        assert test["p"] == pytest.approx(expected.p, abs=1e-12)
    assert [c["cohort"] for c in run(frame)["comparisons"]] == ["train", "val", "test"]


def test_methods_meet_only_in_cohorts_that_both_scored():
    frame = make_predictions()
    lost = (frame["method"] == "dl-cnb") & (frame["cohort"] == "train")
    assert [c["cohort"] for c in run(frame[~lost])["comparisons"]] == ["val", "test"]


def test_three_methods_are_three_pairs():
    frame = make_predictions(methods=("clinical", "dl-cnb", "dl-cnb+c"))
    pairs = [(c["a"], c["b"]) for c in run(frame)["comparisons"] if c["cohort"] == "test"]
    assert pairs == [("clinical", "dl-cnb"), ("clinical", "dl-cnb+c"), ("dl-cnb", "dl-cnb+c")]


def test_patients_that_only_one_method_scored_are_left_out_of_the_test_and_said():
    frame = make_predictions()
    lost = (frame["method"] == "clinical") & (frame["patient_id"] == "test-0")
    result = run(frame[~lost])
    (test,) = [c for c in result["comparisons"] if c["cohort"] == "test"]
    assert test["n"] == 39
    assert test["note"] == "on the 39 patients that both methods scored"
    assert "note" not in result["comparisons"][0]


@pytest.mark.parametrize(
    "rule", ["youden-validation", SensitivityThreshold(sensitivity=0.9), NpvThreshold(npv=0.8)]
)
def test_without_validation_the_rule_has_nothing_to_choose_on(rule):
    frame = make_predictions(sizes={"test": 40})
    with pytest.raises(StatisticsError, match=r"method clinical.*`val`.*threshold: 0\.5"):
        run(frame, rule)


def test_validation_rules_choose_on_validation_and_are_recorded():
    frame = make_predictions()
    rule = SensitivityThreshold(sensitivity=0.9)
    result = run(frame, rule)
    validation = rows_of(frame, "clinical", "val")
    expected = choose_threshold(validation["label"], validation["score"], rule=rule)
    assert {c["threshold"] for c in result["methods"]["clinical"].values()} == {expected}
    assert result["methods"]["clinical"]["val"]["sensitivity"]["value"] >= 0.9
    assert result["threshold_rule"] == {"sensitivity": 0.9}


def test_youden_per_cohort_differs_by_cohort():
    frame = make_predictions()
    entries = run(frame, "youden-per-cohort")["methods"]["clinical"]
    for cohort in SIZES:
        rows = rows_of(frame, "clinical", cohort)
        chosen = choose_threshold(rows["label"], rows["score"], rule="youden-per-cohort")
        assert entries[cohort]["threshold"] == chosen


def test_locked_thresholds_go_before_the_rule():
    frame = make_predictions(sizes={"test": 40})
    result = run(frame, thresholds={"clinical": 0.4, "dl-cnb": 0.6})
    assert result["methods"]["clinical"]["test"]["threshold"] == 0.4
    assert result["methods"]["dl-cnb"]["test"]["threshold"] == 0.6


def test_one_class_is_null_with_a_reason():
    frame = make_predictions()
    frame = frame[(frame["cohort"] != "test") | (frame["label"] == 0)]
    result = run(frame)
    entry = result["methods"]["clinical"]["test"]
    assert entry["auc"]["value"] is None
    assert entry["auc"]["reason"] == f"all {entry['n']} patients are negative"
    assert entry["sensitivity"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "no patient is positive",
    }
    assert entry["specificity"]["value"] == entry["accuracy"]["value"] > 0
    (test,) = [c for c in result["comparisons"] if c["cohort"] == "test"]
    assert test["p"] is None
    assert "negative" in test["reason"]


def test_one_class_per_cohort_has_no_threshold():
    frame = make_predictions(sizes={"north": 12})
    entry = run(frame[frame["label"] == 1], "youden-per-cohort")["methods"]["clinical"]["north"]
    assert entry["threshold"] is None
    assert entry["confusion"] is None
    assert entry["accuracy"]["value"] is None
    assert "one class" in entry["accuracy"]["reason"]


def test_one_class_in_validation_stops_with_the_methods_name():
    frame = make_predictions()
    frame = frame[(frame["cohort"] != "val") | (frame["label"] == 0)]
    with pytest.raises(StatisticsError, match=r"method clinical, cohort val: .*one class"):
        run(frame)


def make_three_class_predictions(n=90, seed=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    raw = rng.dirichlet([1, 1, 1], size=n) + 0.4 * np.eye(3)[labels]
    scores = raw / raw.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(
        {
            "patient_id": np.arange(n),
            "method": "dl-cnb+c",
            "cohort": "test",
            "label": labels,
        }
    )
    return frame.assign(
        **{f"score_{name}": scores[:, i] for i, name in enumerate(("N0", "N1-2", "N3+"))}
    ), scores


def test_three_classes_against_scikit_learn():
    frame, scores = make_three_class_predictions()
    entry = run(frame)["methods"]["dl-cnb+c"]["test"]
    labels = frame["label"].to_numpy()
    macro = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert entry["auc"]["value"] == pytest.approx(macro, abs=1e-12)
    for index, name in enumerate(("N0", "N1-2", "N3+")):
        expected = auc_estimate(labels == index, scores[:, index]).as_json()
        assert entry["auc_by_class"][name] == expected
    matrix = confusion_matrix(labels, scores.argmax(axis=1))
    assert entry["confusion_matrix"] == matrix.tolist()
    assert entry["counts"] == {"N0": 30, "N1-2": 30, "N3+": 30}
    assert entry["accuracy"]["value"] == np.trace(matrix) / 90
    assert entry["recall"]["N3+"]["value"] == matrix[2, 2] / 30
    assert entry["precision"]["N3+"]["value"] == pytest.approx(matrix[2, 2] / matrix[:, 2].sum())
    macro_f1 = entry["macro_f1"]
    expected = f1_score(labels, scores.argmax(axis=1), average="macro")
    assert macro_f1["value"] == pytest.approx(expected, abs=1e-12)
    assert macro_f1["low"] < macro_f1["value"] < macro_f1["high"]
    assert macro_f1["bootstrap"]["patients"] == 90
    assert macro_f1 == run(frame)["methods"]["dl-cnb+c"]["test"]["macro_f1"]


def test_three_classes_are_calibrated_and_decided_upon():
    frame, scores = make_three_class_predictions()
    entry = run(frame)["methods"]["dl-cnb+c"]["test"]
    truth = np.eye(3)[frame["label"]]
    for index, name in enumerate(("N0", "N1-2", "N3+")):
        found = entry["calibration_by_class"][name]
        assert found["brier"]["value"] == brier_score_loss(truth[:, index], scores[:, index])
    assert entry["brier"]["value"] == pytest.approx(np.mean(np.sum((scores - truth) ** 2, axis=1)))
    # The names are not the paper's, and nobody else's stages are guessed at.
    assert "not node stages" in entry["decision_curve"]["reason"]
    paper = {"score_N1-2": "score_N+(1-2)", "score_N3+": "score_N+(>=3)"}
    renamed = run(frame.rename(columns=paper))["methods"]["dl-cnb+c"]["test"]["decision_curve"]
    assert renamed["positives"] == 60


def test_the_papers_three_class_matrix():
    # Section 3.4: precision and recall 0.747 and 0.947 (N0), 0.556 and 0.400 (N+(1-2)), 0.375 and
    # 0.162 (N+(>=3)). With 131, 50 and 37 test patients those fix the diagonal and the columns'
    # sums; of what is around the diagonal this is one possibility.
    matrix = np.array([[124, 4, 3], [23, 20, 7], [19, 12, 6]])
    truth, called = (np.repeat(axis, matrix.ravel()) for axis in np.indices((3, 3)).reshape(2, -1))
    scores = np.eye(3)[called] * 0.7 + 0.1
    frame = pd.DataFrame(
        {"patient_id": np.arange(len(truth)), "method": "m", "cohort": "test", "label": truth}
    ).assign(**{f"score_{i}": scores[:, i] for i in range(3)})
    entry = run(frame, 0.5)["methods"]["m"]["test"]
    assert entry["confusion_matrix"] == matrix.tolist()
    printed = {"precision": [0.747, 0.556, 0.375], "recall": [0.947, 0.400, 0.162]}
    for name, values in printed.items():
        assert [round(entry[name][str(i)]["value"], 3) for i in range(3)] == values


def test_a_class_without_patients_leaves_the_macro_mean_undefined():
    frame, _ = make_three_class_predictions()
    entry = run(frame[frame["label"] < 2])["methods"]["dl-cnb+c"]["test"]
    assert entry["auc"]["value"] is None
    assert entry["auc"]["reason"] == "class N3+: all 60 patients are negative"
    assert entry["auc_by_class"]["N0"]["value"] > 0.5


def test_a_class_nobody_has_and_nobody_is_called_leaves_the_macro_f1_undefined():
    scores = np.tile([0.6, 0.4, 0.0], (20, 1))
    frame = pd.DataFrame(
        {"patient_id": np.arange(20), "method": "m", "cohort": "test", "label": [0, 1] * 10}
    ).assign(**{f"score_{i}": scores[:, i] for i in range(3)})
    entry = run(frame, 0.5)["methods"]["m"]["test"]["macro_f1"]
    assert entry["value"] is None
    assert entry["reason"] == "the figure is not defined on these patients"


def test_methods_are_compared_class_by_class():
    frame, _ = make_three_class_predictions()
    other, _ = make_three_class_predictions(seed=4)
    result = run(pd.concat([frame, other.assign(method="clinical")]))
    assert [c["class"] for c in result["comparisons"]] == ["N0", "N1-2", "N3+"]
    first = result["comparisons"][0]
    expected = compare_paired(frame["label"] == 0, frame["score_N0"], other["score_N0"])
    assert first["z"] == pytest.approx(expected.z, abs=1e-12)
    assert not math.isnan(first["p"])


class TestSpread:
    """An ensemble's standard deviation, which predictions from elsewhere need not have."""

    @staticmethod
    def frame(spread):
        return pd.DataFrame(
            {
                "patient_id": ["1", "2", "3", "4"], "method": "dl-cnb", "cohort": "test",
                "label": [0, 0, 1, 1], "score": [0.1, 0.4, 0.35, 0.8], "spread": spread,
            }
        )  # fmt: skip

    def test_mean_and_largest_are_told(self):
        found = evaluate(self.frame([0.1, 0.2, 0.0, 0.3]), endpoint="e", threshold_rule=0.5)
        told = found["methods"]["dl-cnb"]["test"]["spread"]
        assert told == {"n": 4, "mean": pytest.approx(0.15), "max": 0.3}

    def test_where_nobody_has_one_nothing_is_told(self):
        found = evaluate(self.frame([None] * 4), endpoint="e", threshold_rule=0.5)
        assert "spread" not in found["methods"]["dl-cnb"]["test"]

    @pytest.mark.parametrize("wrong", ["wide", -0.1, 1.5])
    def test_what_is_no_spread_is_refused(self, wrong):
        with pytest.raises(StatisticsError, match="is no standard deviation of a probability"):
            evaluate(self.frame([0.1, 0.2, wrong, 0.3]), endpoint="e", threshold_rule=0.5)


@pytest.mark.parametrize(
    "rule",
    ["youden-validation", SensitivityThreshold(sensitivity=0.9), NpvThreshold(npv=0.8), 0.5],
)
def test_another_test_cohort_changes_no_threshold(rule):
    frame = make_predictions()
    other = frame.copy()
    test = other["cohort"] == "test"
    other.loc[test, "score"] = 1 - other.loc[test, "score"] ** 2
    other.loc[test, "label"] = 1 - other.loc[test, "label"]
    was, now = run(frame, rule)["methods"], run(other, rule)["methods"]
    for method, cohorts in was.items():
        for cohort, entry in cohorts.items():
            assert now[method][cohort]["threshold"] == entry["threshold"]
            same = now[method][cohort]["confusion"] == entry["confusion"]
            assert same == (cohort != "test")


def test_the_papers_way_does_look_at_the_test_cohort():
    frame = make_predictions()
    other = frame.copy()
    test = other["cohort"] == "test"
    other.loc[test, "score"] /= 2
    was, now = (run(f, "youden-per-cohort")["methods"]["dl-cnb"] for f in (frame, other))
    assert now["val"]["threshold"] == was["val"]["threshold"]
    assert now["test"]["threshold"] == was["test"]["threshold"] / 2
