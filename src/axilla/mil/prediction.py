"""Scores of patients: the mean over all of a patient's bags, in evaluation mode."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from axilla.mil.batches import (
    BagDrawer,
    BagOfSlide,
    Instances,
    PatientInstances,
    batches,
    make_bags,
)
from axilla.mil.encoding import Encode, encode_rows, encodes_alone, head_of, own_encoding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from axilla.mil.model import DLCNB

BAGS_AT_ONCE = 16
"""At least: so many bags of ten patches of VGG16_BN are 16 MB."""
NUMBERS_AT_ONCE = 2**22
"""More bags where they are small, up to so many numbers."""


def predict_patients(
    model: DLCNB,
    patients: Sequence[PatientInstances],
    *,
    slides: Mapping[str, Instances],
    draw: BagDrawer,
    seed: int,
    device: str = "cpu",
    encode: Encode | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Probability of each class a patient, float64 [K] (paper, section 2.2, step 4).

    Bags are drawn from a generator of `seed` and the patient's id alone, so that a patient's score
    does not depend on who else is predicted.

    Parameters
    ----------
    encode
        What computes the model's encoder, where it has one; see `score_bags`.

    Raises
    ------
    CohortError
        A patient has no patches.
    """
    sums: dict[str, list[NDArray[np.float64]]] = {p.patient_id: [] for p in patients}
    bags = fixed_bags(patients, slides=slides, draw=draw, seed=seed)
    found = score_bags(model, bags, slides=slides, device=device, encode=encode)
    for bag, (scores, _) in zip(bags, found, strict=True):
        sums[bag.patient.patient_id].append(scores)
    return {patient: np.mean(scores, axis=0) for patient, scores in sums.items()}


def fixed_bags(
    patients: Sequence[PatientInstances],
    *,
    slides: Mapping[str, Instances],
    draw: BagDrawer,
    seed: int,
) -> list[BagOfSlide]:
    """Each patient's bags, from a generator of the patient's own."""
    found: list[BagOfSlide] = []
    for patient in patients:
        own = int.from_bytes(patient.patient_id.encode("utf-8")[-16:], "little")
        rng = np.random.default_rng([seed, own])
        found.extend(make_bags([patient], slides=slides, draw=draw, rng=rng))
    return found


def score_bags(
    model: DLCNB,
    bags: Sequence[BagOfSlide],
    *,
    slides: Mapping[str, Instances],
    device: str = "cpu",
    encode: Encode | None = None,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of each bag the probabilities [K] and the attention [N], evaluation mode.

    Where the model has an encoder, each patch is encoded once, however many bags it is in; the
    features of one slide are held at a time, so the bags of a slide come one after the other.

    Parameters
    ----------
    encode
        What computes the encoder; None is the encoder itself in float32. Not asked where a patch's
        feature depends on its bag.
    """
    model.eval()
    if model.encoder is None or not encodes_alone(model):
        return _scored(model, bags, slides=slides, device=device)
    encode = encode or own_encoding(model.encoder, device=device)
    head = head_of(model)
    results: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for slide_id, group in itertools.groupby(bags, key=lambda bag: bag.slide_id):
        own = list(group)
        rows = np.unique(np.concatenate([bag.indices for bag in own]))
        features = encode_rows(slides[slide_id], rows, encode=encode)
        results.extend(_scored(head, own, slides={slide_id: features}, device=device))
    return results


def _scored(
    model: DLCNB,
    bags: Sequence[BagOfSlide],
    *,
    slides: Mapping[str, Instances],
    device: str,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    results: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    with torch.inference_mode():
        for batch in batches(bags, slides=slides, size=_at_once(bags, slides)):
            clinical = None if batch.clinical is None else batch.clinical.to(device)
            output = model(batch.instances.to(device), batch.lengths, clinical)
            scores = output.logits.double().softmax(dim=1).cpu().numpy()  # [B, K]
            attention = output.attention.double().cpu().numpy()  # [B, N]
            results.extend(
                (scores[i], attention[i, :length]) for i, length in enumerate(batch.lengths)
            )
    return results


def _at_once(bags: Sequence[BagOfSlide], slides: Mapping[str, Instances]) -> int:
    """How many bags a step takes: more of what is small and in memory."""
    largest = max(bags, key=lambda bag: len(bag.indices), default=None)
    held = slides[largest.slide_id] if largest is not None and isinstance(slides, dict) else None
    if largest is None or not isinstance(held, np.ndarray):
        return BAGS_AT_ONCE
    numbers = held[:1].size * len(largest.indices)
    return max(BAGS_AT_ONCE, NUMBERS_AT_ONCE // max(1, numbers))


def covering_bags(
    patient: PatientInstances,
    slide_id: str,
    *,
    patches: int,
    cover: BagDrawer,
    seed: int,
    draws: int,
) -> list[BagOfSlide]:
    """Bags of several covers of a slide, or the bags given of it."""
    rng = np.random.default_rng(seed)
    return [
        BagOfSlide(patient=patient, slide_id=slide_id, indices=indices, weight=1.0)
        for _ in range(draws if patient.bags is None else 1)
        for indices in patient.bags_of(slide_id, patches, draw=cover, rng=rng)
    ]


def patch_attention(
    model: DLCNB,
    patient: PatientInstances,
    slide_id: str,
    *,
    slides: Mapping[str, Instances],
    cover: BagDrawer,
    seed: int,
    draws: int = 16,
    device: str = "cpu",
    encode: Encode | None = None,
) -> NDArray[np.float64]:
    """Attention of every patch of a slide, averaged over bags that cover it, times the bag's size.

    Parameters
    ----------
    cover
        Draws bags in which every patch of the slide occurs at least once. Not asked where the
        patient's bags are given.
    encode
        What computes the model's encoder, where it has one; see `score_bags`.

    Returns
    -------
    ndarray
        float64 [n]; 1 is what every patch would have if all weighed the same, NaN where a patch is
        in none of the given bags.
    """
    total = len(slides[slide_id])
    sums, counts = np.zeros(total), np.zeros(total)
    bags = covering_bags(patient, slide_id, patches=total, cover=cover, seed=seed, draws=draws)
    found = score_bags(model, bags, slides=slides, device=device, encode=encode)
    for bag, (_, attention) in zip(bags, found, strict=True):
        sums[bag.indices] += attention * len(bag.indices)
        counts[bag.indices] += 1
    mean = np.full(total, np.nan)
    np.divide(sums, counts, out=mean, where=counts > 0)
    return mean
