import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from axilla.analysis.metrics import evaluate
from axilla.analysis.tables.fold_table import fold_table
from axilla.analysis.thresholds import choose_threshold
from axilla.core.errors import StatisticsError


def make_folds(*, repeats=3, folds=4, n=48, seed=0):
    """Cross-validated predictions: each patient in test once a repeat, in val of the next fold."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 % 2
    rows = []
    for repeat in range(repeats):
        fold_of = rng.permutation(n) % folds
        for fold in range(folds):
            for cohort, part in (("test", fold), ("val", (fold + 1) % folds)):
                rows += [
                    {
                        "patient_id": f"p{i}",
                        "method": "dl-cnb",
                        "cohort": cohort,
                        "label": labels[i],
                        "repeat": repeat,
                        "fold": fold,
                        "score": 1 / (1 + np.exp(-rng.normal(2 * labels[i] - 1, 1.5))),
                    }
                    for i in np.flatnonzero(fold_of == part)
                ]
    return pd.DataFrame(rows)


def run(frame, rule="youden-validation", **more):
    result = evaluate(frame, endpoint="benign-vs-malignant", threshold_rule=rule, **more)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def test_one_value_a_fold_with_mean_and_standard_error():
    frame = make_folds()
    summary = run(frame)["folds"]["dl-cnb"]
    values, accuracies = [], []
    for _, part in frame.groupby(["repeat", "fold"]):
        test, val = part[part["cohort"] == "test"], part[part["cohort"] == "val"]
        values.append(roc_auc_score(test["label"], test["score"]))
        threshold = choose_threshold(val["label"], val["score"], rule="youden-validation")
        accuracies.append(((test["score"] >= threshold) == test["label"]).mean())
    assert summary["auc"]["values"] == pytest.approx(values, abs=1e-12)
    assert summary["auc"]["n"] == 12
    assert summary["auc"]["at"][5] == {"repeat": 1, "fold": 1}
    assert summary["auc"]["mean"] == pytest.approx(np.mean(values))
    assert summary["auc"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert summary["auc"]["se"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(12))
    assert summary["auc"]["undefined"] == []
    assert summary["accuracy"]["values"] == pytest.approx(accuracies)
    by_repeat = summary["by_repeat"]
    assert [entry["repeat"] for entry in by_repeat] == [0, 1, 2]
    assert by_repeat[2]["auc"] == pytest.approx(np.mean(values[8:]))
    assert by_repeat[2]["accuracy"] == pytest.approx(np.mean(accuracies[8:]))


def test_pooled_area_of_each_repeat():
    frame = make_folds()
    pooled = run(frame)["folds"]["dl-cnb"]["pooled_auc_by_repeat"]
    test = frame[frame["cohort"] == "test"]
    expected = [roc_auc_score(p["label"], p["score"]) for _, p in test.groupby("repeat")]
    assert pooled["values"] == pytest.approx(expected, abs=1e-12)
    assert pooled["at"] == [{"repeat": 0}, {"repeat": 1}, {"repeat": 2}]
    assert pooled["mean"] == pytest.approx(np.mean(expected))
    assert pooled["sd"] == pytest.approx(np.std(expected, ddof=1))


def test_the_test_entry_averages_a_patients_scores_and_says_so():
    frame = make_folds()
    entry = run(frame)["methods"]["dl-cnb"]["test"]
    means = frame[frame["cohort"] == "test"].groupby("patient_id")[["label", "score"]].mean()
    assert entry["n"] == 48
    assert entry["auc"]["value"] == pytest.approx(roc_auc_score(means["label"], means["score"]))
    chosen = [
        choose_threshold(val["label"], val["score"], rule="youden-validation")
        for _, val in frame[frame["cohort"] == "val"].groupby(["repeat", "fold"])
    ]
    assert entry["threshold"] == pytest.approx(np.mean(chosen))
    assert "mean of the patient's scores over the repeats" in entry["note"]
    assert "mean of the thresholds" in entry["note"]
    assert "chose none" not in entry["note"]


def test_nobody_is_called_by_a_threshold_that_was_chosen_on_her():
    frame = make_folds()
    chosen = {
        key: choose_threshold(val["label"], val["score"], rule="youden-validation")
        for key, val in frame[frame["cohort"] == "val"].groupby(["repeat", "fold"])
    }
    test = frame[frame["cohort"] == "test"].copy()
    test["at"] = [chosen[key] for key in zip(test["repeat"], test["fold"], strict=True)]
    means = test.groupby("patient_id")[["label", "score", "at"]].mean()
    called = means["score"] >= means["at"]
    result = run(frame, groups={"Side": pd.Series("left", index=means.index)})
    entry = result["methods"]["dl-cnb"]["test"]
    assert entry["sensitivity"]["value"] == called[means["label"] == 1].mean()
    assert entry["specificity"]["value"] == 1 - called[means["label"] == 0].mean()
    (group,) = result["subgroups"]
    assert group["overall"]["confusion"] == entry["confusion"]
    assert group["characteristics"][0]["levels"][0]["confusion"] == entry["confusion"]
    told = [fold["threshold"] for fold in result["folds"]["dl-cnb"]["by_fold"]]
    assert told == list(chosen.values())


def test_scores_of_noise_are_called_no_better_than_by_chance():
    """At the mean of all folds' thresholds Youden's index would be 0.02 above that of noise."""
    rng = np.random.default_rng(5)
    found = []
    for seed in range(60):
        frame = make_folds(repeats=1, folds=3, n=60, seed=seed)
        scores = dict(zip(frame["patient_id"], rng.random(len(frame)), strict=False))
        entry = run(frame.assign(score=frame["patient_id"].map(scores)))["methods"]["dl-cnb"]
        found.append(
            entry["test"]["sensitivity"]["value"] + entry["test"]["specificity"]["value"] - 1
        )
    assert np.mean(found) < 2 * np.std(found) / np.sqrt(len(found))


def test_a_fold_without_a_threshold_takes_the_mean_of_the_others_and_counts_its_patients():
    frame = make_folds(repeats=1)
    gone = (frame["cohort"] == "val") & (frame["fold"] == 1)
    result = run(frame[~gone])
    entry = result["methods"]["dl-cnb"]["test"]
    count = int(((frame["cohort"] == "test") & (frame["fold"] == 1)).sum())
    assert f"{count} of them at the mean of all folds, as theirs chose none" in entry["note"]
    assert result["folds"]["dl-cnb"]["by_fold"][1]["threshold"] is None


def test_fixed_and_locked_thresholds_are_used_in_every_fold():
    frame = make_folds()
    test = frame[frame["cohort"] == "test"]
    parts = [part for _, part in test.groupby(["repeat", "fold"])]
    for result, threshold in (
        (run(frame, 0.4), 0.4),
        (run(test, thresholds={"dl-cnb": 0.7}), 0.7),
    ):
        expected = [((part["score"] >= threshold) == part["label"]).mean() for part in parts]
        assert result["folds"]["dl-cnb"]["accuracy"]["values"] == pytest.approx(expected)
        entry = result["methods"]["dl-cnb"]["test"]
        assert entry["threshold"] == threshold
        assert "thresholds" not in entry["note"]


def test_a_fold_of_one_class_is_listed_not_counted():
    frame = make_folds()
    first = (frame["cohort"] == "test") & (frame["repeat"] == 0) & (frame["fold"] == 0)
    summary = run(frame[~first | (frame["label"] == 0)])["folds"]["dl-cnb"]
    (missing,) = summary["auc"]["undefined"]
    assert (missing["repeat"], missing["fold"]) == (0, 0)
    assert "patients are negative" in missing["reason"]
    assert summary["auc"]["n"] == 11
    assert summary["accuracy"]["n"] == 12


def test_a_fold_whose_validation_has_one_class_has_no_accuracy():
    frame = make_folds()
    first = (frame["cohort"] == "val") & (frame["repeat"] == 0) & (frame["fold"] == 0)
    for changed, reason in (
        (frame[~first | (frame["label"] == 0)], "one class"),
        (frame[~first], "no val patients"),
    ):
        summary = run(changed)["folds"]["dl-cnb"]
        (missing,) = summary["accuracy"]["undefined"]
        assert reason in missing["reason"]
        assert summary["auc"]["n"] == 12


def test_no_validation_anywhere_stops():
    frame = make_folds()
    with pytest.raises(StatisticsError, match=r"method dl-cnb: no fold can choose.*no val"):
        run(frame[frame["cohort"] == "test"])


def test_a_fold_without_test_patients_is_listed():
    frame = make_folds(repeats=1)
    gone = (frame["cohort"] == "test") & (frame["fold"] == 2)
    summary = run(frame[~gone])["folds"]["dl-cnb"]
    for name in ("auc", "accuracy"):
        (missing,) = summary[name]["undefined"]
        assert missing == {"repeat": 0, "fold": 2, "reason": "the fold has no test patients"}
    assert summary["pooled_auc_by_repeat"]["sd"] is None
    assert summary["pooled_auc_by_repeat"]["reason"] == "a single value has no spread"


def test_three_classes_by_fold():
    frame = make_folds(repeats=1).drop(columns="score")
    rng = np.random.default_rng(1)
    number = frame["patient_id"].str[1:].astype(int)
    frame["label"] = number % 3
    scores = rng.dirichlet([1, 1, 1], size=len(frame)) * 0.6 + 0.4 * np.eye(3)[frame["label"]]
    frame = frame.assign(**{f"score_{i}": scores[:, i] for i in range(3)})
    summary = run(frame)["folds"]["dl-cnb"]
    expected = []
    for _, part in frame[frame["cohort"] == "test"].groupby("fold"):
        columns = part[["score_0", "score_1", "score_2"]]
        expected.append(roc_auc_score(part["label"], columns, multi_class="ovr"))
    assert summary["auc"]["values"] == pytest.approx(expected, abs=1e-12)
    assert summary["accuracy"]["n"] == 4


def test_every_fold_is_listed_with_its_group_and_its_patients():
    frame = make_folds(repeats=1)
    one_class = (frame["cohort"] == "test") & (frame["fold"] == 1) & (frame["label"] == 1)
    frame = frame[~one_class]
    names = {0: "Aachen", 1: "Bonn", 2: "Celle", 3: "Dachau"}
    metrics = run(frame, fold_names=names)
    summary = metrics["folds"]["dl-cnb"]
    entries = summary["by_fold"]
    assert [entry["held_out"] for entry in entries] == list(names.values())
    for fold, entry in enumerate(entries):
        test = frame[(frame["cohort"] == "test") & (frame["fold"] == fold)]
        assert (entry["n"], entry["positives"]) == (len(test), test["label"].sum())
    assert [entry["auc"] for entry in entries if entry["auc"] is not None] == summary["auc"][
        "values"
    ]
    assert entries[1]["auc"] is None
    assert entries[1]["reasons"] == {"auc": summary["auc"]["undefined"][0]["reason"]}
    table = fold_table(metrics, held_out="site", positive="N(+)")
    assert list(table.frame.columns) == ["Method", "site", "n", "N(+)", "AUC", "ACC (%)"]
    assert table.frame["site"].tolist() == [*names.values(), "all folds, mean ± SD"]
    auc = summary["auc"]
    assert table.frame["AUC"].tolist() == [
        f"{entries[0]['auc']:.3f}", "–", f"{entries[2]['auc']:.3f}", f"{entries[3]['auc']:.3f}",
        f"{auc['mean']:.3f} ± {auc['sd']:.3f}",
    ]  # fmt: skip
    assert table.notes == (f"DL-CNB model, Bonn, AUC: {entries[1]['reasons']['auc']}.",)


def test_folds_without_a_group_are_numbered():
    metrics = run(make_folds(repeats=2, folds=2))
    assert "held_out" not in metrics["folds"]["dl-cnb"]["by_fold"][0]
    assert fold_table(metrics).frame["Fold"].tolist() == [
        "repeat 1, fold 1", "repeat 1, fold 2", "repeat 2, fold 1", "repeat 2, fold 2",
        "all folds, mean ± SD",
    ]  # fmt: skip
