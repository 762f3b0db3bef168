"""Seeds made from a study's one: each purpose has its own, and no two by accident the same."""

from __future__ import annotations

from enum import Enum

import numpy as np


class Purpose(Enum):
    """What a seed is for; its value follows seed and index, none for members as it ever was."""

    MEMBER = ()
    """One of the trainings whose probabilities are averaged."""
    PROCESS = (1,)
    """The dropout and the changed patches of one of the processes that train together."""


def seed_for(seed: int, index: int, *, purpose: Purpose) -> int:
    """Seed of the i-th of a purpose; the first has the given one.

    It does not depend on how many there are, so that adding members trains only the new ones.
    """
    if index == 0:
        return seed
    return int(np.random.SeedSequence([seed, index, *purpose.value]).generate_state(1)[0])


def member_seed(seed: int, index: int) -> int:
    """Seed of the i-th member of an ensemble; the first has the study's own."""
    return seed_for(seed, index, purpose=Purpose.MEMBER)


def process_seed(seed: int, rank: int) -> int:
    """Seed of a process in the training of `seed`; the others' dropout is not the first one's."""
    return seed_for(seed, rank, purpose=Purpose.PROCESS)
