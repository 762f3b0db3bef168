"""`axilla evaluate` as its users meet it: anybody's predictions, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from axilla.analysis.roc import compare_paired

Axilla = Callable[..., Any]


def predictions(**columns: Any) -> pd.DataFrame:
    """Two methods on three cohorts of 20."""
    rng = np.random.default_rng(0)
    rows = [
        {"patient_id": f"{cohort}-{n}", "method": method, "cohort": cohort, "label": n % 2,
         "score": round(float(np.clip(0.3 * (n % 2) + 0.7 * rng.random(), 0, 1)), 3)}
        for method in ("a", "b") for cohort in ("train", "val", "test") for n in range(20)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


def test_evaluate_predictions(axilla: Axilla, tmp_path: Path) -> None:
    predictions().to_csv(tmp_path / "mine.csv", index=False)
    out = tmp_path / "out"
    answer = axilla("evaluate", "--predictions", tmp_path / "mine.csv", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    assert (
        answer.out == f"{len([p for p in out.rglob('*') if p.is_file()])} files written to {out}\n"
    )
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["endpoint"] == "mine"
    assert set(metrics["methods"]) == {"a", "b"}
    assert (out / "tables" / "table2.csv").is_file()
    assert (out / "figures" / "roc_test.png").is_file()


def test_evaluate_several_files(axilla: Axilla, tmp_path: Path) -> None:
    """Supplementary Table 1: the studies of several encoders in one table, by paired DeLong."""
    frame = predictions()
    for method in ("a", "b"):
        own = frame[frame["method"] == method].assign(method="dl-cnb")
        # One patient that the other study lost.
        own[own["patient_id"] != f"test-{int(method == 'b')}"].to_csv(
            tmp_path / f"{method}.csv", index=False
        )
    files = [f"--predictions={name}={tmp_path / file}" for name, file in
             (("vgg16_bn", "a.csv"), ("resnet50", "b.csv"))]  # fmt: skip
    out = tmp_path / "encoders"
    answer = axilla("evaluate", *files, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["endpoint"] == "encoders"
    assert list(metrics["methods"]) == ["vgg16_bn", "resnet50"]
    (test,) = (one for one in metrics["comparisons"] if one["cohort"] == "test")
    wide = frame[frame["cohort"] == "test"].pivot_table(
        index=["patient_id", "label"], columns="method", values="score"
    )
    common = wide.drop(["test-0", "test-1"], level="patient_id").reset_index()
    expected = compare_paired(common["label"], common["a"], common["b"])
    assert (test["n"], test["p"]) == (18, pytest.approx(expected.p, rel=1e-12))
    table = pd.read_csv(out / "tables" / "comparison.csv", dtype=str)
    assert table["Method"].unique().tolist() == ["vgg16_bn", "resnet50"]
    table = pd.read_csv(out / "tables" / "table2.csv", dtype=str)
    assert table["Method"].tolist() == ["vgg16_bn"] * 3 + ["resnet50"] * 3

    answer = axilla(
        "evaluate", "--predictions", tmp_path / "a.csv", "--predictions", tmp_path / "b.csv",
        "--out", tmp_path / "never",
    )  # fmt: skip
    assert answer.code == 2
    assert "a.csv and b.csv both have a method called dl-cnb" in answer.err
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [("0.5", 0.5), ("5e-1", 0.5), ("{sensitivity: 1.0}", None), ("youden-per-cohort", None)],
)
def test_evaluate_with_a_threshold(
    rule: str, threshold: float | None, axilla: Axilla, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("axilla.study.evaluating.draw_evaluation", lambda *args, **options: [])
    frame = predictions()
    frame.to_csv(tmp_path / "mine.csv", index=False)
    args = ("--predictions", tmp_path / "mine.csv", "--out", tmp_path / "out", "--threshold", rule)
    assert axilla("evaluate", *args).code == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    entry = metrics["methods"]["a"]
    if threshold is not None:
        assert entry["test"]["threshold"] == threshold
    elif rule.startswith("{"):
        assert metrics["threshold_rule"] == {"sensitivity": 1.0}
        val = frame[(frame["method"] == "a") & (frame["cohort"] == "val")]
        lowest = val.loc[val["label"] == 1, "score"].min()
        below = val.loc[val["score"] < lowest, "score"].max()
        # No positive validation patient is missed, and the line runs half way to the next below.
        assert entry["test"]["threshold"] == pytest.approx((lowest + below) / 2)
    else:
        assert entry["test"]["threshold"] != entry["train"]["threshold"]


def test_evaluate_three_classes(axilla: Axilla, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet([1, 1, 1], 30)
    frame = pd.DataFrame(shares, columns=["score_N0", "score_N1", "score_N2"])
    frame.insert(0, "patient_id", [f"P{n}" for n in range(30)])
    frame = frame.assign(method="mine", cohort="test", label=[f"N{n % 3}" for n in range(30)])
    frame.to_csv(tmp_path / "three.csv", index=False)
    out = tmp_path / "out"
    answer = axilla("evaluate", "--predictions", tmp_path / "three.csv", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    entry = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["methods"]["mine"]
    assert np.sum(entry["test"]["confusion_matrix"], axis=1).tolist() == [10, 10, 10]
    assert (out / "figures" / "confusion_mine_test.svg").is_file()


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (predictions().drop(columns="label"), "no column `label`"),
        (predictions().drop(columns="score"), "no column `score`"),
        (predictions(score=1.5), "the score 1.5 is not a probability"),
        (predictions(score="high"), "is not a probability"),
        (predictions(label=2), "the label 2 is none of 0, 1"),
        (predictions(cohort="test"), "more than one row"),
        (predictions()[lambda f: f["cohort"] == "test"], "chosen on the cohort `val`"),
        (predictions().head(0), "hold no rows"),
    ],
)  # fmt: skip
def test_evaluate_bad_predictions(
    frame: pd.DataFrame, sentence: str, axilla: Axilla, tmp_path: Path
) -> None:
    if sentence == "more than one row":
        frame = frame.assign(patient_id=frame["patient_id"].str.split("-").str[1])
    frame.to_csv(tmp_path / "bad.csv", index=False)
    answer = axilla("evaluate", "--predictions", tmp_path / "bad.csv", "--out", tmp_path / "out")
    assert answer.code == 2
    assert sentence in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "out").exists()


def test_evaluate_bad_files_and_options(axilla: Axilla, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    predictions().to_csv(tmp_path / "good.csv", index=False)
    out = ("--out", tmp_path / "out")
    for name in ("empty.csv", "image.csv", "nowhere.csv", "."):
        answer = axilla("evaluate", "--predictions", tmp_path / name, *out)
        assert answer.code == 2, name
        assert "problem in the inputs" in answer.err
    for args in (
        (), ("--predictions", tmp_path / "good.csv"),
        ("study.yaml", "--predictions", tmp_path / "good.csv", *out),
        ("--predictions", tmp_path / "good.csv", *out, "--threshold", "half"),
        ("--predictions", tmp_path / "good.csv", *out, "--threshold", "{npv: 2}"),
    ):  # fmt: skip
        answer = axilla("evaluate", *args)
        assert answer.code == 2, args
        assert "Traceback" not in answer.err


def test_predictions_of_german_excel_are_told_in_a_sentence(axilla: Axilla, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    predictions().to_csv(file, index=False, sep=";", decimal=",")
    answer = axilla("evaluate", "--predictions", file, "--out", tmp_path / "out")
    assert answer.code != 0
    assert "its columns are separated by semicolons." in " ".join(answer.err.split())
    assert "ParserWarning" not in answer.err
