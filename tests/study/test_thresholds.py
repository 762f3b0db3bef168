"""A rule that no threshold reaches: the models are kept, and the method and its fold are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from axilla.analysis.thresholds import choose_threshold
from axilla.core import store
from axilla.core.config import NpvThreshold, StudyConfig
from axilla.core.errors import StatisticsError
from axilla.core.progress import Silent
from axilla.study.chain import run
from axilla.study.model_card import CARD

pytestmark = pytest.mark.usefixtures("coarse_pictures")
UNREACHED = "no threshold reaches a negative predictive value of "


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., StudyConfig]:
    """A clinical study of 120 patients whose age says a little."""
    rng = np.random.default_rng(0)
    nodes = rng.integers(0, 2, 120)
    age = 50 + 8 * nodes * rng.random(120) + rng.normal(0, 8, 120)
    table = pd.DataFrame({"nodes": nodes, "age": age.round(2)})
    table.insert(0, "patient_id", [f"p{number:03}" for number in range(120)])
    table.to_csv(tmp_path / "cohort.csv", index=False)

    def make(**settings: Any) -> StudyConfig:
        fixed = {
            "cohort": tmp_path / "cohort.csv", "endpoint": "n0-vs-npos", "methods": ["clinical"],
            "clinical": {"numeric": ["age"], "categorical": []}, "out": tmp_path / "out",
        }  # fmt: skip
        return StudyConfig.model_validate(fixed | settings)

    return make


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_a_fold_that_reaches_no_threshold_stops_nobody(study: Callable[..., StudyConfig]) -> None:
    config = study(split={"folds": 5, "repeats": 2}, threshold={"npv": 0.8})
    told = Told()
    result = run(config, reporter=told)
    frame = store.read_predictions(config.out / "predictions.csv")
    lacking = []
    for partition in result.partitions:
        record = store.read_model_record(config.out / "models" / "clinical" / partition.name)
        rows = frame[
            (frame["repeat"] == partition.repeat) & (frame["fold"] == partition.fold)
            & (frame["cohort"] == "val")
        ]  # fmt: skip
        if record["threshold"]["value"] is None:
            lacking.append(partition.name)
            with pytest.raises(StatisticsError) as caught:
                choose_threshold(rows["label"], rows["score"], rule=NpvThreshold(npv=0.8))
            assert record["threshold"]["reason"] == caught.value.problem.cause.rstrip(".")
        else:
            value = choose_threshold(rows["label"], rows["score"], rule=NpvThreshold(npv=0.8))
            assert record["threshold"]["value"] == value
            assert "reason" not in record["threshold"]
    assert 0 < len(lacking) < len(result.partitions)
    assert result.metrics is not None
    accuracy = result.metrics["folds"]["clinical"]["accuracy"]
    assert accuracy["n"] == len(result.partitions) - len(lacking)
    notes = [line for line in told.lines if UNREACHED in line]
    assert [line.split(":")[0] for line in notes] == [f"note      clinical, {n}" for n in lacking]
    ensemble = store.read_model_record(config.out / "models" / "clinical" / "ensemble")
    assert ensemble["threshold"]["mean_of"] == accuracy["n"]
    assert result.report is not None
    assert f"over the {accuracy['n']} folds that have one" in result.report.read_text("utf-8")
    card = config.out / "models" / "clinical" / lacking[0] / CARD
    assert UNREACHED + "0.8 on these patients" in card.read_text("utf-8")


def test_one_split_keeps_its_model_and_names_the_method(
    study: Callable[..., StudyConfig], work: Counter[str]
) -> None:
    config = study(threshold={"npv": 0.999})
    for _ in range(2):
        with pytest.raises(StatisticsError) as caught:
            run(config)
        problem = caught.value.problem
        assert problem.cause.startswith(
            f"method clinical, validation patients of the split: {UNREACHED}0.999 on"
        )
        assert "set another `threshold:`" in problem.remedy
    assert store.read_model_key(config.out / "models" / "clinical") is not None
    result = run(study(threshold=0.5))
    assert result.metrics is not None
    assert result.metrics["methods"]["clinical"]["test"]["threshold"] == 0.5
    assert work["fit_logistic"] == 1
