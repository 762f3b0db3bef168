"""A toy multiple-instance problem: a bag is positive where some instance is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from axilla.core.types import Patient
from axilla.mil.batches import PatientInstances

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

WIDTH = 12


class Toy(NamedTuple):
    """Patients, of one or two slides, and their slides' instances."""

    patients: list[PatientInstances]
    slides: dict[str, NDArray[np.float32]]


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For every test here."""


def draw_fives(n: int, rng: np.random.Generator) -> Sequence[NDArray[np.int64]]:
    """Bags of five, without replacement; a smaller one where there are fewer."""
    order = rng.permutation(n)
    return [order] if 0 < n < 5 else list(order[: n // 5 * 5].reshape(-1, 5))


@pytest.fixture(scope="session")
def draw() -> Callable[..., Sequence[NDArray[np.int64]]]:
    return draw_fives


@pytest.fixture(scope="session")
def toy() -> Callable[..., Toy]:
    def make(n: int, *, seed: int, name: str = "p", clinical: int = 0) -> Toy:
        rng = np.random.default_rng(seed)
        patients, slides = [], {}
        for i in range(n):
            label = i % 2
            ids = tuple(f"{name}{i}-{k}" for k in range(1 + i % 3 // 2))
            for slide in ids:
                x = rng.normal(size=(int(rng.integers(3, 23)), WIDTH)).astype(np.float32)
                if label:
                    x[rng.random(len(x)) < 0.4, 0] += 4
                slides[slide] = x
            vector = rng.normal(size=clinical) if clinical else None
            patients.append(PatientInstances(f"{name}{i}", label, ids, vector))
        return Toy(patients, slides)

    return make


@pytest.fixture
def patient() -> Callable[..., Patient]:
    def make(patient_id: str = "1", label: int = 0, **clinical: float | str | None) -> Patient:
        values = {"age": 50.0, "size": 2.0, "er": "positive", **clinical}
        return Patient(patient_id=patient_id, label=label, slides=(), clinical=values)

    return make
