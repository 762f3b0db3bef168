"""A finished study whose table or settings change: what is true stays, the rest is made anew."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.core.methods import method_title
from axilla.core.progress import Silent
from axilla.mil import training as loop
from axilla.study.chain import run

PATIENTS = 30
Rows = list[dict[str, Any]]
Make = Callable[..., StudyConfig]


class Heard(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """A slide a patient, each with a file of features."""
    rng = np.random.default_rng(0)
    (tmp_path / "f").mkdir()
    found = []
    for i in range(PATIENTS):
        features = rng.normal(i % 2, 1, (12, 8)).astype(np.float32)
        torch.save(torch.from_numpy(features), tmp_path / "f" / f"s{i:02}.pt")
        cohort = "test" if i < 8 else "val" if i < 16 else "train"
        found.append(
            {"patient_id": f"p{i:02}", "slide_id": f"s{i:02}", "nodes": i % 2, "given": cohort}
        )
    return found


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A study of these rows, with other settings."""

    def of(rows: Rows, **changes: Any) -> StudyConfig:
        table = tmp_path / "c.csv"
        pd.DataFrame(rows).to_csv(table, index=False)
        settings: dict[str, Any] = {
            "cohort": table, "features": {"folder": tmp_path / "f"}, "endpoint": "n0-vs-npos",
            "methods": ["dl-cnb"], "out": tmp_path / "out",
        }  # fmt: skip
        settings["training"] = {"epochs": 3, "lr": 0.01} | changes.pop("training", {})
        return StudyConfig.model_validate(settings | changes)

    return of


def scores(config: StudyConfig) -> pd.Series[float]:
    frame: pd.DataFrame = store.read_predictions(config.out / "predictions.csv")
    return frame.set_index("patient_id")["score"]


def stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


GIVEN = {"column": "given"}


def test_a_slide_that_the_table_gives_to_another_is_scored_there(rows: Rows, make: Make) -> None:
    config = make(rows, split=GIVEN)
    run(config, until="predict")
    old = scores(config)
    rows[0]["slide_id"], rows[1]["slide_id"] = "s01", "s00"  # both tested, of two classes
    run(make(rows, split=GIVEN), until="predict")
    new = scores(config)
    shutil.rmtree(config.out)
    run(config, until="predict")
    pd.testing.assert_series_equal(new, scores(config))
    assert sorted(new.index[new != old]) == ["p00", "p01"]


def test_a_training_slide_that_is_another_s_trains_anew(
    rows: Rows, make: Make, work: Counter[str]
) -> None:
    # In the order of the patients the slides stay as they were: only whose one is changes.
    torch.save(torch.zeros(12, 8), make(rows).imported.folder / "more.pt")  # type: ignore[union-attr]
    more = rows[20] | {"slide_id": "more"}
    run(make([*rows[:21], more, *rows[21:]], split=GIVEN), until="predict")
    moved = more | {"patient_id": "p21", "nodes": 1}
    run(make([*rows[:21], moved, *rows[21:]], split=GIVEN), until="predict")
    assert work["train"] == 2


def test_another_order_of_the_methods_is_followed_and_trains_nothing(
    rows: Rows, make: Make, work: Counter[str]
) -> None:
    names = ["dl-cnb", "dl-cnb-mean", "dl-cnb-max"]
    for order in (names, [names[2], names[0], names[1]]):
        config = make(rows, split=GIVEN, methods=order, threshold=0.5)
        metrics = run(config, until="evaluate").metrics
        assert metrics is not None
        assert list(metrics["methods"]) == order
        compared = [(c["a"], c["b"]) for c in metrics["comparisons"] if c["cohort"] == "test"]
        assert compared == [
            (order[0], order[1]), (order[0], order[2]), (order[1], order[2]),
        ]  # fmt: skip
        found = store.read_predictions(config.out / "predictions.csv")["method"]
        assert list(dict.fromkeys(found)) == order
        table2 = pd.read_csv(config.out / "tables" / "table2.csv", dtype=str)
        titles = [method_title(name) for name in order]
        assert list(dict.fromkeys(table2["Method"].dropna())) == titles
    assert (work["train"], work["evaluate_predictions"]) == (3, 2)
    run(config, until="evaluate")
    assert work["evaluate_predictions"] == 2


@pytest.mark.parametrize("place", ["write_bytes", "write_json"])
def test_killed_at_a_new_threshold_no_model_is_trained_again(
    rows: Rows, make: Make, work: Counter[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run(make(rows, split=GIVEN), until="train")
    changed = make(rows, split=GIVEN, threshold=0.4)
    with monkeypatch.context() as patch:
        patch.setattr(f"axilla.core.store.models.{place}", stop)
        try:
            run(changed, until="train")
        except KeyboardInterrupt:
            assert place == "write_json"
    run(changed, until="train")
    assert work["train"] == 1
    record = store.read_model_record(changed.out / "models" / "dl-cnb")
    assert record["threshold"]["value"] == 0.4


def test_another_scale_of_the_heat_maps_is_told_and_trains_nothing(
    rows: Rows, make: Make, work: Counter[str]
) -> None:
    folds = {"folds": 2, "validation": 0.25}
    run(make(rows, split=folds), until="train")
    models = make(rows).out / "models" / "dl-cnb"
    names = ("repeat0-fold0", "repeat0-fold1", "ensemble")
    before = [(models / name / "model.json").read_bytes() for name in names]
    assert not any(b"heatmaps" in record for record in before)
    run(make(rows, split=folds, heatmaps={"scale": "rank"}), until="train")
    for name in names:
        assert store.read_model_record(models / name)["heatmaps"] == {"scale": "rank"}
    run(make(rows, split=folds), until="train")
    for name in names:
        assert store.read_model_record(models / name).get("heatmaps") is None
    assert work["train"] == 2


def test_other_settings_that_are_given_up_leave_the_finished_model(
    rows: Rows, make: Make, work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(rows, split=GIVEN)
    run(config, until="train")
    folder = config.out / "models" / "dl-cnb"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_validate", stop)
        with pytest.raises(KeyboardInterrupt):
            run(make(rows, split=GIVEN, training={"lr": 0.02}), until="train")
    work.clear()
    run(config, until="train")
    assert work["train"] == 0
    assert {name: (folder / name).read_bytes() for name in before} == before
    # What goes on to its end leaves nothing but its model.
    run(make(rows, split=GIVEN, training={"lr": 0.02}), until="train")
    assert {path.name for path in folder.iterdir()} == set(before)


def test_tensorboard_keeps_the_scalars_of_every_member(rows: Rows, make: Make) -> None:
    config = make(rows, split=GIVEN, training={"seeds": 2, "tensorboard": True})
    run(config, until="train")
    folder = config.out / "models" / "dl-cnb"
    logs = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("*tfevents*")}
    assert logs == {"tensorboard/0", "tensorboard/1"}
    assert not (folder / "members").exists()


def models(config: StudyConfig, *, under: str = "models") -> set[str]:
    folder = config.out / under
    return {path.parent.relative_to(folder).as_posix() for path in folder.rglob("model.json")}


FOLDS = {"folds": 2, "validation": 0.25}


def test_models_of_another_split_lie_aside_and_come_back(
    rows: Rows, make: Make, work: Counter[str]
) -> None:
    heard = Heard()
    single, folds = make(rows), make(rows, split=FOLDS)
    run(single, until="predict")
    whole = {p.name: p.read_bytes() for p in (single.out / "models" / "dl-cnb").iterdir()}
    run(folds, until="predict", reporter=heard)
    in_folds = {"dl-cnb/repeat0-fold0", "dl-cnb/repeat0-fold1", "dl-cnb/ensemble"}
    assert models(folds) == in_folds
    assert models(folds, under="set-aside/models") == {"dl-cnb/split"}
    (told,) = heard.said
    assert told == (
        "note      models/dl-cnb: the model of the one split belongs to another `split:` than the "
        "study's; it was moved to set-aside/models/dl-cnb and comes back, without training, when "
        "that `split:` is set again."
    )
    assert work["train"] == 3
    heard.said.clear()
    run(single, until="predict", reporter=heard)
    assert models(single) == {"dl-cnb"}
    found = {p.name: p.read_bytes() for p in (single.out / "models" / "dl-cnb").iterdir()}
    assert found == whole
    assert models(single, under="set-aside/models") == in_folds
    assert "the models of 2 folds and the folds' ensemble belong to another" in heard.said[1]
    run(folds, until="predict")
    assert models(folds) == in_folds
    assert work["train"] == 3


def test_fewer_folds_leave_none_of_the_more(rows: Rows, make: Make) -> None:
    run(make(rows, split=FOLDS | {"folds": 3}), until="train")
    mine = make(rows, split=FOLDS)
    (mine.out / "models" / "dl-cnb" / "mine").mkdir()
    run(mine, until="train")
    assert models(mine) == {"dl-cnb/repeat0-fold0", "dl-cnb/repeat0-fold1", "dl-cnb/ensemble"}
    assert models(mine, under="set-aside/models") == {"dl-cnb/repeat0-fold2"}
    assert (mine.out / "models" / "dl-cnb" / "mine").is_dir()


@pytest.mark.parametrize("times", [1, 2])
def test_folds_in_between_do_not_free_the_saved_split(rows: Rows, make: Make, times: int) -> None:
    run(make(rows), until="train")
    for _ in range(times):
        run(make(rows, split=FOLDS), until="train")
    with pytest.raises(InputProblems) as caught:
        run(make(rows, split={"seed": 1}), until="train")
    (problem,) = caught.value.problems
    assert problem.code == "split-changed"
    assert problem.file is not None
    assert problem.file.parts[-2:] == ("set-aside", "split.csv")
    run(make(rows), until="train")
