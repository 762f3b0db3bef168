"""Training: one readable loop, on Lightning Fabric; it never sees the test cohort."""

from __future__ import annotations

import copy
import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from sklearn.metrics import roc_auc_score
from torch import Tensor

from axilla.core.errors import ConfigError
from axilla.mil.batches import (
    BagDrawer,
    BagOfSlide,
    Batch,
    Instances,
    PatientInstances,
    augment,
    batches,
    choose_bags,
    draw_bags_of,
)
from axilla.mil.prediction import predict_patients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from axilla.core.config import Bags, Training
    from axilla.mil.model import DLCNB, BagOutput


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to."""

    epoch: int
    lr: float
    train_loss: float
    val_loss: float | None
    val_auc: float | None
    """Over validation patients; None where there are none."""


@dataclass(frozen=True, slots=True)
class History:
    """All epochs, and the one whose weights were kept."""

    epochs: tuple[Epoch, ...]
    best: int


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Training and validation patients with the instances of their slides, and nothing else."""

    train: Sequence[PatientInstances]
    val: Sequence[PatientInstances]
    slides: Mapping[str, Instances]
    draw: BagDrawer
    classes: int


def make_fabric(config: Training) -> Fabric:
    """Device and precision; one device for now."""
    # Fabric says its precision at every call; what went wrong is still heard.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if config.precision == "bfloat16" else "32-true",
    )


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Treat numbers below 1e-38 as zero within the block; an x86 trains 3 times as fast for it.

    Adam's moments of units that fell silent shrink until they are such numbers and never reach
    zero; then every step costs a multiple. Torch's threads inherit the mode when they are made: a
    study enters before anything is computed.
    """
    before = bool(np.float32(1e-30) * np.float32(1e-10) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _tell_nobody(_: Epoch) -> None:
    pass


def train(
    make_model: Callable[[], DLCNB],
    data: TrainingData,
    *,
    config: Training,
    bags: Bags,
    seed: int,
    on_epoch: Callable[[Epoch], None] = _tell_nobody,
) -> tuple[DLCNB, History]:
    """Train a model and return it with the weights of its best epoch, in evaluation mode.

    Adam, weight decay, cosine annealing with warm restarts, cross-entropy over bags; the best
    epoch is the one with the highest AUC over validation patients (the lower loss where equal),
    the last epoch where there is no validation cohort (paper, section 2.2; DESIGN, Training).

    Raises
    ------
    ConfigError
        The training diverged.
    CohortError
        A patient has no patches.
    """
    fabric = make_fabric(config)
    with denormals_flushed(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make_model()
        optimizer = torch.optim.Adam(
            module.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        model, optimizer = fabric.setup(module, optimizer)
        schedule = _schedule(optimizer, config)
        feed = _Feed(data, config=config, bags=bags, seed=seed, learns=module.encoder is not None)
        epochs: list[Epoch] = []
        best: Epoch | None = None
        best_state: dict[str, Tensor] = {}
        for number in range(config.epochs):
            lr = float(optimizer.param_groups[0]["lr"])
            loss = _train_epoch(fabric, model, optimizer, feed.epoch())
            if not math.isfinite(loss):
                raise ConfigError(
                    f"the training diverged in epoch {number + 1}: its loss is no number.",
                    "Set a lower training.lr.",
                )
            if schedule is not None:
                schedule.step()
            val_loss, val_auc = _validate(module, data, seed=seed, device=str(fabric.device))
            epoch = Epoch(number, lr, loss, val_loss, val_auc)
            epochs.append(epoch)
            on_epoch(epoch)
            if best is None or _rank(epoch) > _rank(best):
                best, best_state = epoch, copy.deepcopy(module.state_dict())
        module.load_state_dict(best_state)
    return module.cpu().eval(), History(epochs=tuple(epochs), best=best.epoch if best else 0)


class _Feed:
    """The batches of each epoch, in an order and of bags that one seed decides."""

    def __init__(
        self, data: TrainingData, *, config: Training, bags: Bags, seed: int, learns: bool
    ) -> None:
        self.data = data
        self.config = config
        self.bags = bags
        self.size = config.batch_size or (1 if learns else 32)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.augments = config.augment and learns
        self.drawn: list[list[BagOfSlide]] | None = None
        self.dtype = torch.bfloat16 if config.precision == "bfloat16" and not learns else None

    def epoch(self) -> Iterator[Batch]:
        """Batches of the next epoch; drawn anew where the study says so."""
        data = self.data
        if self.drawn is None or self.bags.redraw:
            self.drawn = draw_bags_of(data.train, slides=data.slides, draw=data.draw, rng=self.rng)
        bags = choose_bags(
            self.drawn,
            rng=self.rng,
            per_patient=self.bags.per_epoch,
            weight_by=self.config.weight_by,
        )
        order = self.rng.permutation(len(bags))
        ordered = [bags[i] for i in order]
        for batch in batches(ordered, slides=data.slides, size=self.size, dtype=self.dtype):
            if self.augments:
                instances = augment(batch.instances, generator=self.generator)
                yield replace(batch, instances=instances)
            else:
                yield batch


def _schedule(
    optimizer: torch.optim.Optimizer, config: Training
) -> torch.optim.lr_scheduler.CosineAnnealingWarmRestarts | None:
    if config.restarts is None:
        return None
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=config.restarts.t0, T_mult=config.restarts.mult
    )


def _rank(epoch: Epoch) -> tuple[float, float]:
    """What the best epoch is highest in; without validation the last one is."""
    if epoch.val_loss is None:
        return (float(epoch.epoch), 0.0)
    auc = -1.0 if epoch.val_auc is None else epoch.val_auc
    return (auc, -epoch.val_loss)


def _train_epoch(
    fabric: Fabric,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    stream: Iterable[Batch],
) -> float:
    """One pass over the bags; the mean loss, weighted as the loss is."""
    model.train()
    total, count = 0.0, 0
    for batch in stream:
        clinical = None if batch.clinical is None else fabric.to_device(batch.clinical)
        output = model(fabric.to_device(batch.instances), batch.lengths, clinical)
        labels, weights = fabric.to_device(batch.labels), fabric.to_device(batch.weights)
        loss = _weighted_loss(output, labels, weights)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        total += float(loss.detach()) * len(batch.lengths)
        count += len(batch.lengths)
    return total / count


def _weighted_loss(output: BagOutput, labels: Tensor, weights: Tensor) -> Tensor:
    losses = F.cross_entropy(output.logits.float(), labels, reduction="none")  # [B]
    if output.auxiliary is not None:
        losses = losses + output.auxiliary.gather(1, labels[:, None])[:, 0]
    return (losses * weights).mean()


def _validate(
    model: DLCNB, data: TrainingData, *, seed: int, device: str
) -> tuple[float | None, float | None]:
    """Mean cross-entropy and AUC over validation patients (one-versus-rest macro mean)."""
    if not data.val:
        return None, None
    scores = predict_patients(
        model, data.val, slides=data.slides, draw=data.draw, seed=seed, device=device
    )
    p = np.stack([scores[patient.patient_id] for patient in data.val])  # [n, K]
    y = np.array([patient.label for patient in data.val])
    loss = float(-np.log(np.clip(p[np.arange(len(y)), y], 1e-12, 1)).mean())
    if len(set(y.tolist())) < data.classes:
        return loss, None
    auc = roc_auc_score(y, p[:, 1]) if data.classes == 2 else roc_auc_score(y, p, multi_class="ovr")
    return loss, float(auc)
