"""Training of the nuclear network on outlined images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from axilla.core.ahead import ahead
from axilla.nuclei.augmentation import OutlinedImage, draw_sample
from axilla.nuclei.network import NucleusNet, as_input


@dataclass(frozen=True, slots=True)
class NucleusTraining:
    """How the network is trained."""

    steps: int = 2600
    batch: int = 12
    side_px: int = 160
    rate: float = 2e-3
    """Highest learning rate: reached after a twentieth of the steps, then down along a cosine."""
    decay: float = 1e-4
    average: float = 0.995
    """The network that is kept is a running mean of the trained one: the share of the past."""
    seed: int = 2021


Told = Callable[[int, float], None]


def train_network(
    sources: Sequence[OutlinedImage],
    *,
    config: NucleusTraining,
    start: NucleusNet | None = None,
    told: Told | None = None,
) -> NucleusNet:
    """Train a network; on one machine the same seed gives the same weights.

    Parameters
    ----------
    sources
        Outlined images, drawn by their weights.
    config
    start
        A network to train further; None begins with random weights.
    told
        Called after every step with its number and its loss.
    """
    torch.manual_seed(config.seed)
    network = NucleusNet() if start is None else copy.deepcopy(start)
    network = network.to(memory_format=torch.channels_last)
    kept = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.rate, total_steps=config.steps,
        # A twentieth of 20 steps is one, on whose way torch divides by zero.
        pct_start=0.05 if config.steps > 20 else 0.3,
    )  # fmt: skip
    network.train()
    for step, (pixels, *truth) in enumerate(ahead(_batches(sources, config)), start=1):
        x = as_input(pixels).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            out = network(x)
        loss = _loss(out.float(), *truth)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        _average(kept, network, share=min(config.average, step / (step + 10)))
        if told is not None:
            told(step, float(loss.detach()))
    return kept


def _loss(out: Tensor, nuclear: Tensor, distance: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy and Dice of nuclear pixels, and the squared error of the distance."""
    logit, count = out[:, 0], known.sum().clamp(min=1)
    entropy = nn.functional.binary_cross_entropy_with_logits(logit, nuclear, reduction="none")
    p = logit.sigmoid() * known
    dice = 1 - (2 * (p * nuclear).sum() + 1) / (p.sum() + nuclear.sum() + 1)
    # Background tells nothing of depth that the logit does not: nuclear pixels count more.
    share = (nuclear * 3 + 0.5) * known
    square = (share * (out[:, 1] - distance) ** 2).sum() / count
    return (entropy * known).sum() / count + dice + square


def _average(kept: nn.Module, network: nn.Module, *, share: float) -> None:
    with torch.no_grad():
        for own, new in zip(kept.state_dict().values(), network.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.mul_(share).add_(new, alpha=1 - share)
            else:
                own.copy_(new)


def _batches(
    sources: Sequence[OutlinedImage], config: NucleusTraining
) -> Iterator[tuple[Tensor, ...]]:
    """Every batch as `draw_sample` gives it, drawn from a generator of its own."""
    weights = np.array([source.weight for source in sources], dtype=np.float64)
    weights /= weights.sum()

    for seed in np.random.SeedSequence(config.seed).spawn(config.steps):
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(sources), config.batch, p=weights)
        drawn = [draw_sample(sources[i], side=config.side_px, rng=rng) for i in chosen]
        yield tuple(torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
