"""The figures of trainings come from the histories beside the models."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from axilla.core import store
from axilla.study.training_figures import draw_trainings, write_trainings

HISTORY = "epoch,lr,train_loss,val_loss,val_auc\n0,0.1,0.9,0.8,0.5\n1,0.1,0.6,0.7,0.7\n"
TWO = (
    "member,epoch,lr,train_loss,val_loss,val_auc\n"
    "0,0,0.1,0.9,,\n0,1,0.1,0.6,,\n1,0,0.1,0.8,,\n1,1,0.1,0.5,,\n"
)


def fitting(out: Path, *, partitions: tuple[str, ...]) -> Any:
    config = SimpleNamespace(out=out, methods=("clinical", "dl-cnb"))
    return SimpleNamespace(
        config=config, partitions=[SimpleNamespace(name=name) for name in partitions]
    )


def put_history(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text(text, encoding="utf-8")


def test_epochs_are_counted_from_one_and_the_one_kept_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_history(tmp_path / "models" / "dl-cnb", HISTORY)
    record = {"members": [{"best_epoch": 1}]}
    monkeypatch.setattr(store, "read_model_record", lambda _: record)
    files = write_trainings(fitting(tmp_path, partitions=("split",)))
    names = [path.relative_to(tmp_path).as_posix() for path in files]
    stem = "figures/training_dl-cnb"
    assert names == [f"{stem}.svg", f"{stem}.png", f"{stem}.csv"]
    numbers = pd.read_csv(tmp_path / f"{stem}.csv")
    assert numbers["epoch"].tolist() == [1, 2]
    assert numbers["kept"].tolist() == [False, True]
    assert numbers["val_auc"].tolist() == [0.5, 0.7]


def test_folds_and_members_are_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fold-1", "fold-2"):
        put_history(tmp_path / "models" / "dl-cnb" / name, TWO)
    record = {"members": [{"best_epoch": 1}, {"best_epoch": 0}]}
    monkeypatch.setattr(store, "read_model_record", lambda _: record)
    (drawn,) = draw_trainings(fitting(tmp_path, partitions=("fold-1", "fold-2")))
    losses, areas = drawn.figure.axes
    assert [len(line.get_xdata()) for line in losses.get_lines()] == [2, 2, 2, 2]
    assert not areas.get_lines(), "nobody validated"
    assert drawn.numbers is not None
    assert drawn.numbers.loc[drawn.numbers["kept"], "epoch"].tolist() == [2, 1, 2, 1]


def test_methods_without_epochs_have_no_figure(tmp_path: Path) -> None:
    assert write_trainings(fitting(tmp_path, partitions=("split",))) == []
