"""Training: one readable loop, on Lightning Fabric; it never sees the test cohort."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from axilla.core.errors import ConfigError
from axilla.mil.devices import denormals_flushed, make_fabric, repeatable, share_buffers, sum_over
from axilla.mil.encoding import own_encoding
from axilla.mil.feeding import Feed, Share, TrainingData
from axilla.mil.history import SCALARS, Epoch, History, TrainingLog
from axilla.mil.prediction import predict_patients
from axilla.mil.resuming import Keeper, Keeping, Parts
from axilla.mil.seeds import process_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule

    from axilla.core.config import Bags, Training
    from axilla.mil.feeding import Portion
    from axilla.mil.model import DLCNB, BagOutput

__all__ = ["Epoch", "History", "Keeping", "TrainingData", "denormals_flushed", "train"]


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
    keeping: Keeping | None = None,
) -> tuple[DLCNB, History]:
    """Train a model and return it with the weights of its best epoch, in evaluation mode.

    Adam, weight decay, cosine annealing with warm restarts, cross-entropy over bags; the best
    epoch is the one with the highest AUC over validation patients (the lower loss where equal),
    the last epoch where there is no validation cohort (paper, section 2.2; DESIGN, Training).
    Every process that was started trains its share of each batch; all return the same.

    Parameters
    ----------
    on_epoch
        Is told every epoch that ends, and first the last one of an interrupted training.
    keeping
        Where the training writes its state and history as it goes on. Killed and started again it
        goes on from there, and ends with the same weights; on CPUs to the last bit.

    Raises
    ------
    ConfigError
        The training diverged, or cannot be done as the settings say.
    CohortError
        A patient has no patches.
    """
    if config.patience is not None and not data.val:
        raise ConfigError(
            "training.patience stops by validation, but nobody is in the validation cohort.",
            "Take the key out, or set a share in split.validation.",
        )
    fabric = make_fabric(config)
    share = Share(fabric.global_rank, fabric.world_size)
    with denormals_flushed(), repeatable(config), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make_model()
        adam = torch.optim.Adam(
            module.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        model, optimizer = fabric.setup(module, adam)
        schedule = _schedule(adam, config)
        if share.rank:
            torch.manual_seed(process_seed(seed, share.rank))
        learns = module.encoder is not None
        feed = Feed(data, config=config, bags=bags, seed=seed, learns=learns, share=share)
        keeper = Keeper(keeping, Parts(fabric, module, adam, schedule, feed))
        progress = keeper.restore()
        if progress.epochs:
            on_epoch(progress.epochs[-1])
        log = _log(keeping, fabric, config, progress.epochs)
        for number in range(len(progress.epochs), config.epochs):
            if progress.is_stale(config.patience):
                break
            lr = float(adam.param_groups[0]["lr"])
            with closing(feed.epoch()) as stream:
                loss = _train_epoch(fabric, model, optimizer, stream)
            if not math.isfinite(loss):
                raise _diverged(number, "its loss is no number")
            if schedule is not None:
                schedule.step()
            share_buffers(fabric, module)
            val_loss, val_auc = _validate(
                module, data, config=config, seed=seed, fabric=fabric, number=number
            )
            epoch = Epoch(number, lr, loss, val_loss, val_auc)
            progress.add(epoch, module)
            keeper.keep(progress)
            if log is not None:
                log.add(epoch)
            on_epoch(epoch)
        if log is not None:
            log.close()
        module.load_state_dict(progress.best_state)
    return module.cpu().eval(), progress.history(config.epochs)


def _log(
    keeping: Keeping | None, fabric: Fabric, config: Training, epochs: list[Epoch]
) -> TrainingLog | None:
    """The log, of the first process only."""
    if keeping is None or not fabric.is_global_zero:
        return None
    scalars = keeping.scalars or keeping.folder / SCALARS
    return TrainingLog(
        keeping.folder, epochs=epochs, scalars=scalars if config.tensorboard else None
    )


def _schedule(
    optimizer: torch.optim.Optimizer, config: Training
) -> torch.optim.lr_scheduler.CosineAnnealingWarmRestarts | None:
    if config.restarts is None:
        return None
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=config.restarts.t0, T_mult=config.restarts.mult
    )


def _train_epoch(
    fabric: Fabric,
    model: _FabricModule,
    optimizer: torch.optim.Optimizer,
    stream: Iterable[Portion],
) -> float:
    """One pass over the bags of all processes; the mean loss, weighted as the loss is."""
    model.train()
    losses: list[Tensor] = []
    count = 0
    optimizer.zero_grad()
    for portion in stream:
        batch = portion.batch
        # The gradients of a step's batches add up; processes exchange them once a step.
        with fabric.no_backward_sync(model, enabled=not portion.ends):
            clinical = None if batch.clinical is None else fabric.to_device(batch.clinical)
            output = model(fabric.to_device(batch.instances), batch.lengths, clinical)
            labels, weights = fabric.to_device(batch.labels), fabric.to_device(batch.weights)
            loss = _weighted_loss(output, labels, weights)
            # Processes average their gradients: each counts its own share of the step's bags.
            fabric.backward(loss / (portion.bags / fabric.world_size))
        if portion.ends:
            optimizer.step()
            optimizer.zero_grad()
            count += portion.bags
        losses.append(loss.detach())
    return float(sum_over(fabric, torch.stack(losses).cpu().double().sum())) / count


def _weighted_loss(output: BagOutput, labels: Tensor, weights: Tensor) -> Tensor:
    """Sum of the bags' cross-entropies, and of an aggregator's own loss, each times its weight."""
    losses = F.cross_entropy(output.logits.float(), labels, reduction="none")  # [B]
    if output.auxiliary is not None:
        losses = losses + output.auxiliary.gather(1, labels[:, None])[:, 0]
    return (losses * weights).sum()


def _validate(
    model: DLCNB,
    data: TrainingData,
    *,
    config: Training,
    seed: int,
    fabric: Fabric,
    number: int,
) -> tuple[float | None, float | None]:
    """Mean cross-entropy and AUC over validation patients (one-versus-rest macro mean).

    Each process scores its share of the patients; all see all scores, and so agree.
    """
    if not data.val:
        return None, None
    from sklearn.metrics import roc_auc_score

    own = slice(fabric.global_rank, None, fabric.world_size)
    patients = data.val[own]
    device = str(fabric.device)
    encode = None
    if model.encoder is not None:
        # As precise as in training: float32 would take several times as long.
        encode = own_encoding(model.encoder, device=device, precision=config.precision)
    scores = predict_patients(
        model,
        patients,
        slides=data.slides,
        draw=data.draw,
        seed=seed,
        device=device,
        encode=encode,
    )
    shared = torch.zeros(len(data.val), data.classes, dtype=torch.float64)
    if patients:
        shared[own] = torch.from_numpy(np.stack([scores[p.patient_id] for p in patients]))
    p = sum_over(fabric, shared).numpy()  # [n, K]
    if not np.isfinite(p).all():
        raise _diverged(number, "the model's scores are no numbers")
    y = np.array([patient.label for patient in data.val])
    loss = float(-np.log(np.clip(p[np.arange(len(y)), y], 1e-12, 1)).mean())
    if len(set(y.tolist())) < data.classes:
        return loss, None
    auc = roc_auc_score(y, p[:, 1]) if data.classes == 2 else roc_auc_score(y, p, multi_class="ovr")
    return loss, float(auc)


def _diverged(number: int, how: str) -> ConfigError:
    return ConfigError(
        f"the training diverged in epoch {number + 1}: {how}.", "Set a lower training.lr."
    )
