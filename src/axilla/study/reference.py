"""How far a patient's features lie from a model's training cohort: the part of its record."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.analysis.reference_distance import (
    ReferenceDistance,
    fit_reference,
    project,
    reference_from_json,
    refuse_few,
)
from axilla.core.errors import StatisticsError
from axilla.core.types import Patient
from axilla.mil.batches import Instances
from axilla.mil.encoding import PATCHES_AT_ONCE, Encode, own_encoding
from axilla.mil.model import DLCNB
from axilla.study.fitting import Fitting
from axilla.study.trained_encoders import encode_of

MOST_PATCHES = 200
"""Patches of a patient whose mean is taken; drawn where there are more."""
SEED = 8888
Vectors = MutableMapping[str, NDArray[np.float64]]
"""Projected mean features [k] by patient id: features computed once are the same for all models."""


def cohort_reference(
    fitting: Fitting, network: DLCNB, patients: Sequence[Patient], *, known: Vectors
) -> dict[str, Any]:
    """Part `reference` of a model's record, from the features of these patients.

    Parameters
    ----------
    network
        The first member's; its encoder makes the features where it has one.
    patients
        Those that trained the model: slides of no other are read.
    known
        Vectors of features computed once are taken from here, and put here.
    """
    if fitting.slides is None:
        raise ValueError("features are of slides")
    encode = None
    if network.encoder is not None:
        encode = encode_of(network, config=fitting.config.encoder) or own_encoding(network.encoder)
    told = {
        "patients": len(patients),
        "patches": MOST_PATCHES,
        "member": None if network.encoder is None else 0,
    }
    vectors: Vectors = {} if encode is not None else known
    try:
        refuse_few(len(patients))
        for patient in patients:
            if patient.patient_id not in vectors:
                slides = [fitting.slides[slide.slide_id] for slide in patient.slides]
                mean = patient_vector(slides, seed=SEED, encode=encode)
                vectors[patient.patient_id] = project(mean[None, :], seed=SEED)[0]
        rows = np.stack([vectors[patient.patient_id] for patient in patients])
        found = fit_reference(rows, features=network.features, seed=SEED)
    except StatisticsError as error:
        return {**told, "distance": None, "reason": error.problem.cause.rstrip(".")}
    return {**told, "distance": found.to_json(), "reason": None}


def reference_without(patients: Sequence[Patient], *, reason: str) -> dict[str, Any]:
    """The same part where no distance is defined."""
    return {
        "patients": len(patients),
        "patches": MOST_PATCHES,
        "member": None,
        "distance": None,
        "reason": reason,
    }


def patient_vector(
    slides: Sequence[Instances], *, seed: int, encode: Encode | None = None
) -> NDArray[np.float64]:
    """Mean feature vector [D] of a patient's patches, of `MOST_PATCHES` drawn where there are more.

    Parameters
    ----------
    slides
        Features [n, D] of each of the patient's slides; patches [n, h, w, 3] with `encode`. They
        are read in small parts.
    seed
        Of the draw, which depends on the number of patches and on nothing else.
    encode
        What makes features of patches; None where they are features.
    """
    ends = np.cumsum([len(slide) for slide in slides])
    total = int(ends[-1])
    rows = np.arange(total)
    if total > MOST_PATCHES:
        drawn = np.random.default_rng(seed).choice(total, MOST_PATCHES, replace=False)
        rows = np.sort(drawn)
    parts = []
    for slide, start, end in zip(
        slides, ends - [len(slide) for slide in slides], ends, strict=True
    ):
        own = rows[(rows >= start) & (rows < end)] - start
        for place in range(0, len(own), PATCHES_AT_ONCE):
            some = slide[own[place : place + PATCHES_AT_ONCE]]
            features = some if encode is None else encode(some)
            parts.append(np.asarray(features, dtype=np.float64).sum(axis=0))
    return np.asarray(np.sum(parts, axis=0) / len(rows))


def distance_of(record: Mapping[str, Any]) -> ReferenceDistance | None:
    """What a model's record holds to measure a new patient's distance by; None where it does not.

    Raises
    ------
    StoreError
        Its parts do not fit one another.
    """
    found = (record.get("reference") or {}).get("distance")
    return None if found is None else reference_from_json(found)
