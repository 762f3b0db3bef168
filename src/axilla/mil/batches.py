"""Bags of patients as batches: which instances, of which slide, with which weight."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axilla.core.ahead import ahead
from axilla.core.errors import CohortError


class Instances(Protocol):
    """Instances of one slide, [n, D] features or [n, h, w, 3] patches: an array, or in a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: NDArray[np.int64], /) -> NDArray[Any]: ...


BagDrawer = Callable[[int, np.random.Generator], Sequence[NDArray[np.int64]]]
"""From a slide's number of patches and a generator to the indices of each bag."""


@dataclass(frozen=True, slots=True, eq=False)
class PatientInstances:
    """One patient as the model sees it."""

    patient_id: str
    label: int
    slides: tuple[str, ...]
    clinical: NDArray[np.float64] | None
    """[C], None for DL-CNB."""
    bags: Mapping[str, Sequence[NDArray[np.int64]]] | None = None
    """Given bags by slide id, indices of instances; None where bags are drawn."""

    def bags_of(
        self, slide_id: str, instances: int, *, draw: BagDrawer, rng: np.random.Generator
    ) -> Sequence[NDArray[np.int64]]:
        """The bags given of a slide, else bags drawn."""
        return draw(instances, rng) if self.bags is None else self.bags[slide_id]


@dataclass(frozen=True, slots=True, eq=False)
class BagOfSlide:
    """One bag: instances of one slide of one patient."""

    patient: PatientInstances
    slide_id: str
    indices: NDArray[np.int64]
    weight: float
    """Weight of the bag in the loss."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Bags side by side; see `DLCNB.forward` for the shapes."""

    instances: Tensor
    lengths: list[int]
    clinical: Tensor | None
    labels: Tensor
    weights: Tensor


def make_bags(
    patients: Sequence[PatientInstances],
    *,
    slides: Mapping[str, Instances],
    draw: BagDrawer,
    rng: np.random.Generator,
    per_patient: int | None = None,
    weight_by: str = "bag",
) -> list[BagOfSlide]:
    """Bags of all patients, in their order.

    Parameters
    ----------
    slides
        Instances by slide id: features [n, D] or patches [n, h, w, 3].
    per_patient
        At most so many bags of a patient, chosen at random.
    weight_by
        patient: a patient's bags share the weight 1, scaled so that the mean weight of a bag is 1.

    Raises
    ------
    CohortError
        A patient has no bag: nobody vanishes silently.
    """
    drawn = draw_bags_of(patients, slides=slides, draw=draw, rng=rng)
    return choose_bags(drawn, rng=rng, per_patient=per_patient, weight_by=weight_by)


def draw_bags_of(
    patients: Sequence[PatientInstances],
    *,
    slides: Mapping[str, Instances],
    draw: BagDrawer,
    rng: np.random.Generator,
) -> list[list[BagOfSlide]]:
    """All bags of each patient; see `make_bags`."""
    drawn = [
        [
            BagOfSlide(patient=patient, slide_id=slide, indices=indices, weight=1.0)
            for slide in patient.slides
            for indices in patient.bags_of(slide, len(slides[slide]), draw=draw, rng=rng)
        ]
        for patient in patients
    ]
    for patient, bags in zip(patients, drawn, strict=True):
        if not bags:
            raise CohortError(
                "no patch of the slides was kept, so there is nothing to look at.",
                "Check slide and annotation, or run with --exclude-failed.",
                patient=patient.patient_id,
            )
    return drawn


def choose_bags(
    drawn: Sequence[Sequence[BagOfSlide]],
    *,
    rng: np.random.Generator,
    per_patient: int | None = None,
    weight_by: str = "bag",
) -> list[BagOfSlide]:
    """At most `per_patient` of each patient's bags, and their weights; see `make_bags`."""
    chosen: list[tuple[BagOfSlide, float]] = []
    for bags in drawn:
        kept = bags
        if per_patient is not None and len(bags) > per_patient:
            keep = sorted(rng.choice(len(bags), per_patient, replace=False))
            kept = [bags[i] for i in keep]
        weight = 1.0 / len(kept) if weight_by == "patient" else 1.0
        chosen.extend((bag, weight) for bag in kept)
    mean = sum(weight for _, weight in chosen) / len(chosen) if chosen else 1.0
    return [replace(bag, weight=weight / mean) for bag, weight in chosen]


def batches(
    bags: Sequence[BagOfSlide],
    *,
    slides: Mapping[str, Instances],
    size: int,
    dtype: torch.dtype | None = None,
) -> Iterator[Batch]:
    """Bags in batches of `size`, as tensors on the CPU; the next are read while one is used.

    Parameters
    ----------
    dtype
        What features are converted to; None leaves them as they are. The thread that uses them
        converts them: another one would take a core from the products meanwhile.
    """
    read = _read(bags, slides=slides, size=size)
    # A plain dict is in memory: nothing to wait for.
    source = read if isinstance(slides, dict) else ahead(read)
    with closing(source):
        for group, parts in source:
            yield _batch(group, parts, dtype)


def _read(
    bags: Sequence[BagOfSlide], *, slides: Mapping[str, Instances], size: int
) -> Generator[tuple[Sequence[BagOfSlide], list[NDArray[Any]]]]:
    for start in range(0, len(bags), size):
        group = bags[start : start + size]
        yield group, [slides[bag.slide_id][bag.indices] for bag in group]


def _batch(
    group: Sequence[BagOfSlide], parts: list[NDArray[Any]], dtype: torch.dtype | None
) -> Batch:
    stacked = torch.from_numpy(np.concatenate(parts)) if dtype is None else _converted(parts, dtype)
    if stacked.ndim == 4:
        stacked = stacked.permute(0, 3, 1, 2)  # [S, h, w, 3] -> [S, 3, h, w]
    clinical = [bag.patient.clinical for bag in group if bag.patient.clinical is not None]
    return Batch(
        instances=stacked,
        lengths=[len(bag.indices) for bag in group],
        clinical=torch.from_numpy(np.stack(clinical)).float() if clinical else None,
        labels=torch.tensor([bag.patient.label for bag in group]),
        weights=torch.tensor([bag.weight for bag in group], dtype=torch.float32),
    )


def _converted(parts: list[NDArray[Any]], dtype: torch.dtype) -> Tensor:
    """Features of all bags, [S, D] of `dtype`.

    float16 goes to bfloat16 through float32, a bag at a time: torch converts either step by vector
    instructions and on all cores, and the direct way number by number.
    """
    rows = sum(len(part) for part in parts)
    stacked, filled = torch.empty(rows, parts[0].shape[1], dtype=dtype), 0
    for part in parts:
        stacked[filled : filled + len(part)] = torch.from_numpy(part).float()
        filled += len(part)
    return stacked


_RGB_FROM_HED = torch.tensor(
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=torch.float32
)
"""Optical densities of haematoxylin, eosin and a residual (Ruifrok and Johnston 2001)."""


def augment(patches: Tensor, *, generator: torch.Generator, stain_sd: float = 0.1) -> Tensor:
    """Mirror and rotate each patch, and vary haematoxylin and eosin of the batch.

    The stains are multiplied by independent normal factors of mean 1, as Ilse 2018 (section 4.3)
    did on the breast cancer images.

    Parameters
    ----------
    patches
        [n, 3, h, h] uint8.

    Returns
    -------
    Tensor
        [n, 3, h, h] float32, 0 to 255.
    """
    turns = torch.randint(8, (len(patches),), generator=generator)
    turned = torch.empty_like(patches)
    for turn in range(8):
        chosen = turns == turn
        part = torch.rot90(patches[chosen], turn % 4, dims=(2, 3))
        turned[chosen] = part.flip(3) if turn >= 4 else part
    factors = torch.ones(3)
    factors[:2] += stain_sd * torch.randn(2, generator=generator)
    matrix = torch.linalg.inv(_RGB_FROM_HED) @ torch.diag(factors) @ _RGB_FROM_HED
    density = -torch.log(turned.float().clamp(min=1) / 255)  # [n, 3, h, w]
    varied = torch.einsum("nchw,cd->ndhw", density, matrix)
    return (255 * torch.exp(-varied)).clamp(0, 255)
