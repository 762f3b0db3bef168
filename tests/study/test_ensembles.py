"""Ensembles of seeds and of folds, through the chain; their cards, and their graphs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from axilla.analysis.thresholds import choose_threshold
from axilla.cohorts.synthetic import SyntheticCohort
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import WeightsError
from axilla.study import training
from axilla.study.chain import StudyResult, run
from axilla.study.exporting import export_bundle
from axilla.study.model_card import CARD

Study = tuple[StudyConfig, StudyResult]
Again = Callable[..., StudyConfig]


def seeds(config: StudyConfig, count: int) -> dict[str, Any]:
    return {"training": config.training.model_dump() | {"seeds": count}, "methods": ["dl-cnb+c"]}


@pytest.fixture(scope="module")
def three(
    frozen: Study, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyConfig, dict[str, Any]]:
    """The frozen study with three members, from nothing."""
    out = tmp_path_factory.mktemp("three") / "out"
    settings = frozen[0].model_dump() | seeds(frozen[0], 3) | {"out": out}
    config = StudyConfig.model_validate(settings)
    metrics = run(config, until="evaluate").metrics
    assert metrics is not None
    return config, metrics


def test_adding_members_trains_only_the_new_ones(
    three: tuple[StudyConfig, dict[str, Any]], frozen: Study, again: Again, work: Counter[str]
) -> None:
    config = again(frozen[0], **seeds(frozen[0], 3))
    single = store.read_model(config.out / "models" / "dl-cnb+c")
    run(config, until="train")
    # Two trainings; then the threshold is chosen on the scores of all three.
    assert (work["train"], work["predict_patients"]) == (2, 3)
    folder = config.out / "models" / "dl-cnb+c"
    stored = store.read_model(folder)
    for name, tensor in single.tensors.items():
        np.testing.assert_array_equal(stored.tensors[f"member0.{name}"], tensor)
    assert not (folder / "members").exists()
    at_once = three[0].out / "models" / "dl-cnb+c"
    for name in ("model.safetensors", "model.json", "history.csv", CARD):
        assert (folder / name).read_bytes() == (at_once / name).read_bytes()


def test_the_first_members_are_taken_from_a_larger_ensemble(
    three: tuple[StudyConfig, dict[str, Any]], frozen: Study, again: Again, work: Counter[str]
) -> None:
    config = again(three[0], **seeds(three[0], 1))
    run(config, until="train")
    assert work["train"] == 0
    one, was = (c.out / "models" / "dl-cnb+c" for c in (config, frozen[0]))
    assert (one / "model.safetensors").read_bytes() == (was / "model.safetensors").read_bytes()
    assert (one / "history.csv").read_bytes() == (was / "history.csv").read_bytes()


def test_a_killed_training_goes_on_with_the_next_member(
    three: tuple[StudyConfig, dict[str, Any]],
    frozen: Study,
    again: Again,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = again(frozen[0], **seeds(frozen[0], 3))
    real, calls = training.train, 0

    def die_at_the_second(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(training, "train", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(config, until="train")
    folder = config.out / "models" / "dl-cnb+c"
    assert [path.name for path in (folder / "members").iterdir()] == ["1"]
    run(config, until="train")
    assert calls == 3, "the first was there, the second was kept, the third is trained"
    weights = three[0].out / "models" / "dl-cnb+c" / "model.safetensors"
    assert (folder / "model.safetensors").read_bytes() == weights.read_bytes()
    assert not (folder / "members").exists()


def test_scores_are_the_members_mean_and_come_with_their_spread(
    three: tuple[StudyConfig, dict[str, Any]],
) -> None:
    config, metrics = three
    frame = store.read_predictions(config.out / "predictions.csv")
    columns = ["patient_id", "method", "cohort", "label", "score", "spread", "imputed"]
    assert list(frame.columns) == columns
    assert (frame["spread"] > 0).all()
    for cohort, rows in frame.groupby("cohort"):
        told = metrics["methods"]["dl-cnb+c"][cohort]["spread"]
        assert told["n"] == len(rows)
        assert told["mean"] == pytest.approx(rows["spread"].mean())
        assert told["max"] == rows["spread"].max()
    record = store.read_model_record(config.out / "models" / "dl-cnb+c")
    val = frame[frame["cohort"] == "val"]
    chosen = choose_threshold(val["label"], val["score"], rule="youden-validation")
    assert record["threshold"]["value"] == chosen
    assert record["validation"]["auc"] == metrics["methods"]["dl-cnb+c"]["val"]["auc"]
    assert record["validation"]["confusion"] == (metrics["methods"]["dl-cnb+c"]["val"]["confusion"])


def test_the_report_tells_of_the_spread(
    three: tuple[StudyConfig, dict[str, Any]], again: Again, coarse_pictures: None
) -> None:
    config = again(three[0])
    report = run(config).report
    assert report is not None
    page = report.read_text(encoding="utf-8")
    mean = three[1]["methods"]["dl-cnb+c"]["test"]["spread"]["mean"]
    assert f"are {mean:.3f} apart in the mean over 6 test patients" in page
    assert "is an ensemble of 3, trained alike from 3 seeds" in page
    assert page.count("over the ensemble&#39;s members") >= 4


def test_the_model_tells_nobody_s_row(
    three: tuple[StudyConfig, dict[str, Any]], tiny: SyntheticCohort
) -> None:
    folder = three[0].out / "models" / "dl-cnb+c"
    text = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    table = pd.read_csv(tiny.table, dtype=str)
    for patient in table["patient_id"]:
        assert patient.encode() not in text
    record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    train = table[table["patient_id"].isin(three_train(three[0]))]
    summary = record["training_cohort"]
    assert summary["patients"] == len(train) == 18
    ages = train["age"].astype(float)
    assert summary["numbers"]["age"]["mean"] == pytest.approx(ages.mean())
    assert summary["numbers"]["age"]["sd"] == pytest.approx(ages.std())
    # 18 patients in two groups: one is under 10, and the other would give it away.
    assert set(summary["categories"]["er"]["shares"].values()) == {None}


def three_train(config: StudyConfig) -> list[str]:
    split = pd.read_csv(config.out / "split.csv", dtype=str)
    return split.loc[split["split"] == "train", "patient_id"].tolist()


def test_folds_give_an_ensemble_for_patients_of_elsewhere(
    frozen: Study, again: Again, work: Counter[str]
) -> None:
    config = again(
        frozen[0], split={"folds": 3, "validation": 0.25}, methods=["clinical", "dl-cnb+c"]
    )
    run(config, until="predict")
    for method in config.methods:
        folder = config.out / "models" / method
        whole = store.read_model(folder / "ensemble")
        folds = [store.read_model(folder / f"repeat0-fold{k}") for k in range(3)]
        for k, fold in enumerate(folds):
            for name, tensor in fold.tensors.items():
                np.testing.assert_array_equal(whole.tensors[f"member{k}.{name}"], tensor)
        record = whole.record
        values = [fold.record["threshold"]["value"] for fold in folds]
        assert record["threshold"]["value"] == pytest.approx(np.mean(values))
        assert record["threshold"]["mean_of"] == 3
        assert record["validation"] is None
        assert record["training_cohort"]["patients"] == 30
        assert record["members"][1]["clinical"] == folds[1].record["clinical"]
        card = (folder / "ensemble" / CARD).read_text(encoding="utf-8")
        assert "the mean of those of 3 folds" in card
    frame = store.read_predictions(config.out / "predictions.csv")
    assert "spread" not in frame.columns, "within the study each patient is scored out of fold"
    work.clear()
    before = {p: p.stat().st_mtime_ns for p in (config.out / "models").rglob("*")}
    run(config, until="predict")
    assert work == Counter()
    assert {p: p.stat().st_mtime_ns for p in (config.out / "models").rglob("*")} == before


def test_export_with_the_encoder_where_its_weights_are_given(
    three: tuple[StudyConfig, dict[str, Any]], weights: Path, tmp_path: Path
) -> None:
    folder = three[0].out / "models" / "dl-cnb+c"
    head = export_bundle(folder, tmp_path / "head.onnx")
    assert head.exported.inputs["features"] == ("patches_in_bag", 512)
    assert head.without_encoder is not None
    assert f"came from the file {weights.name}" in head.without_encoder
    whole = export_bundle(folder, tmp_path / "whole.onnx", encoder_weights=weights)
    assert whole.without_encoder is None
    assert whole.exported.inputs["patches"] == ("patches_in_bag", 3, 32, 32)
    assert whole.exported.outputs == ("probabilities", "attention", "spread")
    assert whole.exported.largest_difference <= 1e-5


def test_other_weights_than_the_model_s_are_refused(
    three: tuple[StudyConfig, dict[str, Any]], weights: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(weights)
    name = next(iter(state))
    save_file(state | {name: state[name] + 1}, tmp_path / "other.safetensors")
    folder = three[0].out / "models" / "dl-cnb+c"
    with pytest.raises(WeightsError, match="not those that the model was trained with"):
        export_bundle(folder, tmp_path / "m.onnx", encoder_weights=tmp_path / "other.safetensors")
    assert not (tmp_path / "m.onnx").exists()
