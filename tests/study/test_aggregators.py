"""A study that compares aggregators, ours and one of the zoo."""

from __future__ import annotations

import importlib.util
from itertools import combinations
from typing import Any

import pandas as pd
import pytest

from axilla.analysis.roc import compare_paired
from axilla.analysis.tables.comparison_table import comparison_table
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.study.chain import check, run
from axilla.study.evaluating import evaluate_predictions

METHODS = ("dl-cnb", "dl-cnb-gated", "dl-cnb-mean", "dl-cnb-max", "dl-cnb-transmil")


@pytest.mark.usefixtures("coarse_pictures")
def test_five_aggregators_meet_in_one_table(frozen_settings: dict[str, Any], tmp_path: Any) -> None:
    settings = frozen_settings | {
        "methods": METHODS,
        "aggregator": {"width": 16, "attention": 8},
        "training": {"epochs": 1, "lr": 5.0e-4},
        "out": tmp_path / "out",
    }
    config = StudyConfig.model_validate(settings)
    result = run(config)
    record = store.read_model(config.out / "models" / "dl-cnb-transmil").record
    assert record["aggregator"]["kind"] == "transmil"
    assert result.metrics is not None
    tests = result.metrics["comparisons"]
    assert {(t["cohort"], t["a"], t["b"]) for t in tests} == {
        (cohort, a, b) for a, b in combinations(METHODS, 2) for cohort in ("train", "val", "test")
    }
    scores = store.read_predictions(config.out / "predictions.csv")
    train = scores[scores["cohort"] == "train"].pivot_table(
        index=["patient_id", "label"], columns="method", values="score"
    )
    (found,) = [
        t for t in tests
        if (t["cohort"], t["a"], t["b"]) == ("train", "dl-cnb", "dl-cnb-transmil")
    ]  # fmt: skip
    expected = compare_paired(
        train.index.get_level_values("label"), train["dl-cnb"], train["dl-cnb-transmil"]
    )
    assert found["z"] == pytest.approx(expected.z, abs=1e-9)
    printed = comparison_table(result.metrics)
    assert printed is not None
    table = pd.read_csv(config.out / "tables" / "comparison.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(table, printed.frame)
    assert len(table) == 15
    for suffix in (".tex", ".html"):
        text = (config.out / "tables" / f"comparison{suffix}").read_text(encoding="utf-8")
        assert text.count("DL-CNB, TransMIL") == 3 + sum(
            note.count("TransMIL") for note in printed.notes
        )
    report = (config.out / "report.html").read_text(encoding="utf-8")
    assert "Methods compared by paired DeLong" in report
    assert "attention, or as the name of a method says (gated, mean, max, TransMIL)" in report


@pytest.mark.usefixtures("coarse_pictures")
def test_a_table_of_two_methods_does_not_outlive_the_second(tmp_path: Any) -> None:
    frame = pd.DataFrame(
        {"patient_id": list("abcdef") * 2, "method": ["one"] * 6 + ["two"] * 6, "cohort": "test",
         "label": [0, 0, 0, 1, 1, 1] * 2,
         "score": [0.1, 0.6, 0.3, 0.2, 0.7, 0.9, 0.5, 0.2, 0.3, 0.4, 0.8, 0.6]}
    )  # fmt: skip
    path = tmp_path / "tables" / "comparison.csv"
    for rows, there in ((frame, True), (frame[:6], False)):
        _, files = evaluate_predictions(
            rows, endpoint="e", classes=None, rule=0.5, thresholds={}, out=tmp_path
        )
        assert (path in files, path.exists()) == (there, there)


def test_a_missing_library_is_told_before_any_computing(
    frozen_settings: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torchmil" else real(name)
    )
    settings = frozen_settings | {"out": tmp_path / "out"}
    named = ("dl-cnb", "dl-cnb-clam", "dl-cnb+c-dsmil")
    (problem,) = check(StudyConfig.model_validate(settings | {"methods": named}))
    assert problem.cause == (
        "each of dl-cnb-clam, dl-cnb+c-dsmil needs the library torchmil, which is not installed."
    )
    assert problem.remedy.startswith("Run: pip install 'axilla[zoo]'")
    assert problem.fatal
    assert check(StudyConfig.model_validate(settings | {"methods": ("dl-cnb",)})) == ()


def test_a_package_that_training_needs_is_missing_already_in_the_check(
    frozen_settings: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else real(name)
    )
    training = frozen_settings["training"] | {"tensorboard": True}
    settings = frozen_settings | {"out": tmp_path / "out", "training": training}
    (problem,) = check(StudyConfig.model_validate(settings))
    assert problem.cause == "training.tensorboard: the package tensorboard is not installed."
    assert problem.fatal
    assert check(StudyConfig.model_validate(settings | {"methods": ("clinical",)})) == ()
