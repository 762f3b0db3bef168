"""Taking a killed training up again: its whole state, written now and then, read at the start."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from axilla.core.errors import StoreError
from axilla.core.store import TrainingState, read_training_state, write_training_state
from axilla.mil.devices import gather
from axilla.mil.history import HISTORY, Epoch, History

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from axilla.mil.feeding import Feed

    Schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts | None

CHECKPOINT = "training.safetensors"
TIME_SHARE = 0.05
"""So much of the time may go into writing checkpoints."""


def _tell_nobody(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where a training keeps its state and its history, and what they are of."""

    folder: Path
    key: str
    """Of the patients, slides and settings: a state of another key is not taken up."""
    say: Callable[[str], None] = _tell_nobody
    """Is told where a training goes on, or why it begins anew."""
    scalars: Path | None = None
    """Folder of TensorBoard's scalars; None is `tensorboard` in the folder of the state."""

    @property
    def checkpoint(self) -> Path:
        """The file of the state."""
        return self.folder / CHECKPOINT


def forget_training(folder: Path) -> None:
    """Take a training's state and its growing history away, once its model is stored."""
    for name in (CHECKPOINT, HISTORY):
        (folder / name).unlink(missing_ok=True)


@dataclass(slots=True, eq=False)
class Progress:
    """The epochs so far, and the best one with its weights."""

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def add(self, epoch: Epoch, module: torch.nn.Module) -> None:
        """Another epoch ended; its weights are remembered if it is the best."""
        self.epochs.append(epoch)
        if self.best is None or epoch.rank > self.best.rank:
            self.best, self.best_state = epoch, copy.deepcopy(module.state_dict())

    def is_stale(self, patience: int | None) -> bool:
        """Whether validation has not improved for so many epochs."""
        if patience is None or self.best is None:
            return False
        return self.epochs[-1].epoch - self.best.epoch >= patience

    def history(self, planned: int) -> History:
        """What it came to, of so many planned epochs."""
        best = 0 if self.best is None else self.best.epoch
        return History(tuple(self.epochs), best, stopped=len(self.epochs) < planned)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Everything of a training that changes as it goes on, besides its progress."""

    fabric: Fabric
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    feed: Feed


class Keeper:
    """Writes a training's state down and takes it up again.

    The first process writes; every process takes part, as each has its own random streams.
    """

    def __init__(self, keeping: Keeping | None, parts: Parts) -> None:
        self.keeping = keeping
        self.parts = parts
        self.cost_s = 0.0
        self.written_at = -float("inf")

    def restore(self) -> Progress:
        """The progress of an interrupted training, all parts as they were; else none."""
        if self.keeping is None:
            return Progress()
        say = self.keeping.say if self.parts.fabric.is_global_zero else _tell_nobody
        try:
            state = read_training_state(self.keeping.checkpoint, key=self.keeping.key)
            if state is None:
                return Progress()
            progress = restore_state(state, self.parts)
        except StoreError as error:
            say(str(error))
            return Progress()
        say(f"The training goes on after epoch {len(progress.epochs)}.")
        return progress

    def keep(self, progress: Progress) -> None:
        """Write the state, unless that was done so lately that it would slow the training."""
        if self.keeping is None:
            return
        streams = _streams(self.parts)  # by all processes
        begin = time.monotonic()
        if not self.parts.fabric.is_global_zero:
            return
        if begin - self.written_at < self.cost_s / TIME_SHARE:
            return
        state = capture_state(progress, self.parts, streams)
        write_training_state(self.keeping.checkpoint, state, key=self.keeping.key)
        self.written_at = time.monotonic()
        self.cost_s = self.written_at - begin


def capture_state(progress: Progress, parts: Parts, streams: dict[str, Tensor]) -> TrainingState:
    """The state at the end of an epoch."""
    found = {f"model.{name}": t for name, t in parts.module.state_dict().items()}
    if progress.best is not None and progress.best is not progress.epochs[-1]:
        found |= {f"best.{name}": t for name, t in progress.best_state.items()}
    for index, moments in parts.optimizer.state_dict()["state"].items():
        found |= {f"adam.{index}.{name}": t for name, t in moments.items()}
    found |= streams
    return TrainingState(
        tensors={name: tensor.detach().cpu().numpy() for name, tensor in found.items()},
        record={
            "epochs": [asdict(epoch) for epoch in progress.epochs],
            "best": None if progress.best is None else progress.best.epoch,
            "lr": [group["lr"] for group in parts.optimizer.param_groups],
            "schedule": None if parts.schedule is None else parts.schedule.state_dict(),
            "bags": parts.feed.rng.bit_generator.state,
        },
    )


def restore_state(state: TrainingState, parts: Parts) -> Progress:
    """Put all parts back to where they were.

    Raises
    ------
    StoreError
        The state is of another network, as another version of axilla may have built it.
    """
    tensors, record = state.tensors, state.record
    module, optimizer = parts.module, parts.optimizer
    now = module.state_dict()
    weights = _part(tensors, "model.")
    if {n: tuple(t.shape) for n, t in now.items()} != {n: t.shape for n, t in weights.items()}:
        raise StoreError(
            "the interrupted training's state is of another network.", "It begins anew."
        )
    module.load_state_dict({n: torch.from_numpy(t) for n, t in weights.items()})
    _restore_moments(optimizer, _part(tensors, "adam."))
    for group, lr in zip(optimizer.param_groups, record["lr"], strict=True):
        group["lr"] = lr
    if parts.schedule is not None:
        parts.schedule.load_state_dict(dict(record["schedule"]))
    parts.feed.go_on_from(record["bags"])
    _restore_streams(parts, tensors)
    epochs = [Epoch(**epoch) for epoch in record["epochs"]]
    best = epochs[record["best"]]
    kept = _part(tensors, "best.") or weights
    best_state = {n: torch.from_numpy(t).to(now[n].device) for n, t in kept.items()}
    return Progress(epochs, best, best_state)


def _part(tensors: Any, prefix: str) -> dict[str, NDArray[np.generic]]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _restore_moments(
    optimizer: torch.optim.Optimizer, moments: dict[str, NDArray[np.generic]]
) -> None:
    """Moments in the layout of their parameter: sums in another order would differ."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        index, _, what = name.partition(".")
        tensor = torch.from_numpy(value)
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        state.setdefault(int(index), {})[what] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _streams(parts: Parts) -> dict[str, Tensor]:
    """The random streams of each process, [processes, n] bytes."""
    found = {"dropout": torch.get_rng_state(), "augmentation": parts.feed.generator.get_state()}
    if parts.fabric.device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(parts.fabric.device)
    return {f"random.{name}": gather(parts.fabric, state) for name, state in found.items()}


def _restore_streams(parts: Parts, tensors: Any) -> None:
    """Each process its own; one that was not there keeps the stream it began with."""
    rank = parts.fabric.global_rank
    own = {
        n: torch.from_numpy(t[rank]) for n, t in _part(tensors, "random.").items() if rank < len(t)
    }
    if "dropout" in own:
        torch.set_rng_state(own["dropout"])
        parts.feed.generator.set_state(own["augmentation"])
    if "cuda" in own and parts.fabric.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda"], parts.fabric.device)
