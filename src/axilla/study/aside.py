"""Models of a split or of folds that the study no longer has: out of the way, and back again."""

from __future__ import annotations

import shutil
from pathlib import Path

from axilla.core import store
from axilla.mil.history import HISTORY, SCALARS
from axilla.mil.resuming import CHECKPOINT
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.model_card import CARD

SPLIT = "split"
ENSEMBLE = "ensemble"
RECORD = "model.json"
_PARTS = (
    CARD, "history.csv", HISTORY, CHECKPOINT, "members", SCALARS, "model.safetensors", RECORD,
)  # fmt: skip
"""What a model's folder holds; the record last, so that a killed move is taken up again."""


def set_aside(fitting: Fitting) -> list[str]:
    """Move models of partitions that the study no longer has to `set-aside/`, and tell of each.

    Beside the study's own models anybody would take them for such; in `set-aside/` they wait until
    the study has their partition again. Asked once the study's own models are whole.

    Returns
    -------
    list of str
        A sentence a method.
    """
    layout = Layout(fitting.config.out)
    told = []
    for method in fitting.config.methods:
        inside = sorted(path.name for path in layout.models(method).iterdir() if path.is_dir())
        gone = [name for name in (SPLIT, *inside) if name not in _partitions(fitting)]
        gone = [name for name in gone if (layout.model(method, name) / RECORD).is_file()]
        for name in gone:
            _move(layout.model(method, name), layout.aside(method, name))
        if gone:
            folder = layout.models(method).relative_to(layout.out).as_posix()
            target = layout.aside(method, "").relative_to(layout.out).as_posix()
            one = len(gone) == 1
            told.append(
                f"{folder}: {_named(gone)} belong{'s' if one else ''} to another `split:` than the "
                f"study's; {'it was' if one else 'they were'} moved to {target} and "
                f"come{'s' if one else ''} back, without training, when that `split:` is set again."
            )
    return told


def take_back(fitting: Fitting) -> list[str]:
    """Move models of the study's partitions back from `set-aside/`, and tell of each.

    Whether one is still true is asked afterwards, by its key, as of any model.

    Returns
    -------
    list of str
        A sentence a method.
    """
    layout = Layout(fitting.config.out)
    told = []
    for method in fitting.config.methods:
        back = [
            name
            for name in _partitions(fitting)
            if (layout.aside(method, name) / RECORD).is_file()
            and not (layout.model(method, name) / RECORD).is_file()
        ]
        for name in back:
            _move(layout.aside(method, name), layout.model(method, name))
        if back:
            folder = layout.models(method).relative_to(layout.out).as_posix()
            told.append(f"{folder}: {_named(back)} came back from set-aside.")
    return told


def _partitions(fitting: Fitting) -> list[str]:
    names = [partition.name for partition in fitting.partitions]
    return [*names, ENSEMBLE] if len(names) > 1 else names


def _named(partitions: list[str]) -> str:
    if partitions == [SPLIT]:
        return "the model of the one split"
    folds = len([name for name in partitions if name not in (SPLIT, ENSEMBLE)])
    named = [
        *(["the model of the one split"] if SPLIT in partitions else []),
        *([f"the model{'s' if folds > 1 else ''} of {folds} fold{'s' if folds > 1 else ''}"]
          if folds else []),
        *(["the folds' ensemble"] if ENSEMBLE in partitions else []),
    ]  # fmt: skip
    return " and ".join(named)


def _move(source: Path, target: Path) -> None:
    """Move what is of the model; anything else in its folder is somebody's own and stays."""
    with store.writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for name in _PARTS:
            old, new = source / name, target / name
            if not old.exists():
                continue
            if new.is_dir():
                shutil.rmtree(new)
            old.replace(new)
        if not any(source.iterdir()):
            source.rmdir()
