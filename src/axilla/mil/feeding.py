"""What a training is fed: the batches of each epoch, their bags and order decided by a seed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

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
from axilla.mil.seeds import process_seed
from axilla.mil.weighting import balance_classes, draw_balanced

if TYPE_CHECKING:
    from axilla.core.config import Bags, Training

FROZEN_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Training and validation patients with the instances of their slides, and nothing else."""

    train: Sequence[PatientInstances]
    val: Sequence[PatientInstances]
    slides: Mapping[str, Instances]
    draw: BagDrawer
    classes: int


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the processes this one is."""

    rank: int = 0
    of: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Portion:
    """A batch of this process, and what it is of its step."""

    batch: Batch
    bags: int
    """Bags of the whole step: of all its batches, over all processes."""
    ends: bool
    """Whether the step is whole with it."""


class Feed:
    """The portions of each epoch.

    All processes draw the same bags in the same order, and each takes its share of every batch:
    each bag is used once.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        config: Training,
        bags: Bags,
        seed: int,
        learns: bool,
        share: Share = Share(),
    ) -> None:
        self.data = data
        self.config = config
        self.bags = bags
        self.seed = seed
        self.share = share
        self.size = batch_size(config, learns=learns, processes=share.of)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(process_seed(seed, share.rank))
        self.augments = config.augment and learns
        self.drawn: list[list[BagOfSlide]] | None = None
        # Features come in the numbers they are multiplied in; patches are bytes.
        self.dtype = torch.bfloat16 if config.precision == "bfloat16" and not learns else None

    def epoch(self) -> Generator[Portion]:
        """Portions of the next epoch; its bags are drawn anew where the study says so."""
        bags, size, of = self._choose(), self.size, self.share.of
        step = size * self.config.accumulate
        own = _own_share(bags, size=size, share=self.share)
        stream = batches(own, slides=self.data.slides, size=size // of, dtype=self.dtype)
        for number, batch in enumerate(stream):
            begin = number * size // step * step
            end = min((number + 1) * size, len(bags))
            if self.augments:
                instances = augment(batch.instances, generator=self.generator)
                if self.config.precision == "bfloat16":
                    # As numbers Fabric would make them bfloat16, which nothing can resize.
                    instances = instances.round().to(torch.uint8)
                batch = replace(batch, instances=instances)  # noqa: PLW2901 - the same, varied
            yield Portion(
                batch=batch,
                bags=min(step, len(bags) - begin),
                ends=end % step == 0 or end == len(bags),
            )

    def _choose(self) -> list[BagOfSlide]:
        """Bags of the epoch with their weights, of mean 1, in the order of the epoch."""
        if self.drawn is None or self.bags.redraw:
            self.drawn = self._draw(self.rng)
        patients: Sequence[Sequence[BagOfSlide]] = self.drawn
        if self.config.sampling == "balanced":
            patients = draw_balanced(self.drawn, rng=self.rng)
        chosen = choose_bags(
            patients,
            rng=self.rng,
            per_patient=self.bags.per_epoch,
            weight_by=self.config.weight_by,
        )
        if self.config.class_weights == "balanced":
            chosen = balance_classes(chosen)
        return [chosen[i] for i in self.rng.permutation(len(chosen))]

    def _draw(self, rng: np.random.Generator) -> list[list[BagOfSlide]]:
        return draw_bags_of(self.data.train, slides=self.data.slides, draw=self.data.draw, rng=rng)

    def go_on_from(self, state: Mapping[str, object]) -> None:
        """Go on where a generator of this state stood, at the end of an epoch."""
        if not self.bags.redraw:
            # Drawn once, in the first epoch, by a generator that nobody had used yet.
            self.drawn = self._draw(np.random.default_rng(self.seed))
        self.rng.bit_generator.state = state


def batch_size(config: Training, *, learns: bool, processes: int) -> int:
    """Bags a batch over all processes.

    Raises
    ------
    ConfigError
        The processes cannot share a batch evenly.
    """
    if config.batch_size is None:
        return processes if learns else -(-FROZEN_BATCH // processes) * processes
    if config.batch_size % processes:
        raise ConfigError(
            f"training.batch_size is {config.batch_size}, which {processes} devices cannot share.",
            f"Set a multiple of {processes}.",
        )
    return config.batch_size


def _own_share(bags: Sequence[BagOfSlide], *, size: int, share: Share) -> list[BagOfSlide]:
    """Every `of`-th bag of each batch of `size`.

    Where the last batch has fewer bags than there are processes, some take one of weight 0: all
    have to take part in every step.
    """
    own: list[BagOfSlide] = []
    for start in range(0, len(bags), size):
        batch = bags[start : start + size]
        own.extend(batch[share.rank :: share.of] or [replace(batch[0], weight=0.0)])
    return own
