"""What each epoch of a training came to, and where that is written while it goes on."""

from __future__ import annotations

import csv
import importlib.util
import io
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

from axilla.core.errors import ConfigError
from axilla.core.store import write_text, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

HISTORY = "history.part.csv"
"""While the training goes on; beside a finished model lies its own `history.csv`."""
SCALARS = "tensorboard"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to."""

    epoch: int
    lr: float
    train_loss: float
    val_loss: float | None
    val_auc: float | None
    """Over validation patients; None where there are none."""

    @property
    def rank(self) -> tuple[float, float]:
        """What the best epoch is highest in; without validation the last one is."""
        if self.val_loss is None:
            return (float(self.epoch), 0.0)
        return (-1.0 if self.val_auc is None else self.val_auc, -self.val_loss)


@dataclass(frozen=True, slots=True)
class History:
    """All epochs, and the one whose weights were kept."""

    epochs: tuple[Epoch, ...]
    best: int
    stopped: bool = False
    """Whether it ended before its last epoch, as validation had not improved for so long."""


def history_csv(epochs: Iterable[Epoch]) -> str:
    """The table of a history, a row an epoch; numbers to their last digit, empty for none."""
    return _rows([[field.name for field in fields(Epoch)]]) + _rows(map(astuple, epochs))


def _rows(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


class TrainingLog:
    """`history.part.csv`, which grows by a row an epoch, and TensorBoard's scalars where wanted.

    A killed run so shows how far it came, and a model that was finished before keeps its history.

    Parameters
    ----------
    folder
        Of the history.
    epochs
        Those of an interrupted training that this one goes on from.
    scalars
        Folder of TensorBoard's scalars; None for none.
    """

    def __init__(self, folder: Path, *, epochs: Sequence[Epoch], scalars: Path | None) -> None:
        self.path = folder / HISTORY
        self.board = None if scalars is None else _board(scalars, begin=len(epochs))
        write_text(self.path, history_csv(epochs))

    def add(self, epoch: Epoch) -> None:
        """Write down an epoch."""
        with writing(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_rows([astuple(epoch)]))
        if self.board is None:
            return
        scalars = {
            "loss/training": epoch.train_loss,
            "loss/validation": epoch.val_loss,
            "AUC/validation": epoch.val_auc,
            "learning rate": epoch.lr,
        }
        for name, value in scalars.items():
            if value is not None:
                self.board.add_scalar(name, value, epoch.epoch)
        self.board.flush()

    def close(self) -> None:
        """Nothing more comes."""
        if self.board is not None:
            self.board.close()


def check_tensorboard() -> None:
    """Raise where TensorBoard's package is not installed.

    Raises
    ------
    ConfigError
        It is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "training.tensorboard: the package tensorboard is not installed.",
            "Install it: `pip install 'axilla[tensorboard]'`, or take the key out; history.csv "
            "holds the same figures.",
        )


def _board(folder: Path, *, begin: int) -> Any:
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    # Epochs that a killed run wrote after its last checkpoint are hidden, not shown twice.
    return SummaryWriter(folder, purge_step=begin)
