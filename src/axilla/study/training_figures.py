"""The course of every training as a figure, with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from axilla.analysis.plots.look import PAGE_IN, in_print
from axilla.analysis.plots.training import TrainingRun, draw_training
from axilla.core import store
from axilla.core.methods import method_title
from axilla.study.evaluating import write_drawn
from axilla.study.evaluation_figures import Drawn
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout

_FIGURES = ("train_loss", "val_loss", "val_auc")


def histories(fitting: Fitting) -> dict[tuple[str, str], Path]:
    """The file of each model's epochs by method and partition; of methods that have epochs."""
    layout = Layout(fitting.config.out)
    found = {
        (method, partition.name): layout.model(method, partition.name) / "history.csv"
        for method in fitting.config.methods
        for partition in fitting.partitions
    }
    return {key: path for key, path in found.items() if path.is_file()}


def write_trainings(fitting: Fitting) -> list[Path]:
    """Write the figures of all trainings with their numbers; return the files."""
    folder = Layout(fitting.config.out).figures
    with in_print():
        return [path for drawn in draw_trainings(fitting) for path in write_drawn(folder, drawn)]


def draw_trainings(fitting: Fitting) -> Iterator[Drawn]:
    """Yield `training_<method>` of every method that was trained by epochs.

    Each model of a fold, and each member of an ensemble, is a line.
    """
    paths = histories(fitting)
    for method in fitting.config.methods:
        frames = [
            _epochs(path, partition) for (name, partition), path in paths.items() if name == method
        ]
        if not frames:
            continue
        numbers = pd.concat(frames, ignore_index=True)
        runs = [_run(rows) for _, rows in numbers.groupby(["model", "member"], sort=False)]
        figure = Figure(figsize=(PAGE_IN, 0.42 * PAGE_IN), layout="constrained")
        losses, areas = figure.subplots(1, 2)
        draw_training(losses, areas, runs)
        count = f", {len(runs)} trainings" if len(runs) > 1 else ""
        figure.suptitle(f"{method_title(method)}{count}")
        yield Drawn(f"training_{method}", figure, numbers)


def _epochs(path: Path, partition: str) -> pd.DataFrame:
    """A model's epochs, counted from 1, and which of them was kept."""
    frame = pd.read_csv(path)
    if "member" not in frame.columns:
        frame.insert(0, "member", 0)
    frame.insert(0, "model", partition)
    members = store.read_model_record(path.parent)["members"]
    best = frame["member"].map({i: told["best_epoch"] for i, told in enumerate(members)})
    frame["kept"] = frame["epoch"] == best
    frame["epoch"] += 1
    return frame[["model", "member", "epoch", "lr", *_FIGURES, "kept"]]


def _run(rows: pd.DataFrame) -> TrainingRun:
    kept = rows.loc[rows["kept"], "epoch"]
    train_loss, val_loss, val_auc = (rows[name].to_numpy(np.float64) for name in _FIGURES)
    return TrainingRun(
        epochs=rows["epoch"].to_numpy(np.int64),
        train_loss=train_loss,
        val_loss=val_loss,
        val_auc=val_auc,
        kept=int(kept.iloc[0]) if len(kept) else None,
    )
