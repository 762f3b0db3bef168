"""How much each class counts: by weights in the loss, or by who is drawn in an epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from axilla.mil.batches import BagOfSlide


def balance_classes(bags: Sequence[BagOfSlide]) -> list[BagOfSlide]:
    """The same bags, weighted so that the classes sum to the same.

    A class's weights are multiplied by W / (K W_c): W is the sum of all weights, W_c the class's,
    K the number of classes that occur; the sum stays W. Where every patient weighs the same these
    are scikit-learn's `balanced` weights of the patients' labels, else those of the bags'.
    """
    sums: dict[int, float] = {}
    for bag in bags:
        sums[bag.patient.label] = sums.get(bag.patient.label, 0.0) + bag.weight
    share = sum(sums.values()) / len(sums) if sums else 1.0
    return [replace(bag, weight=bag.weight * share / sums[bag.patient.label]) for bag in bags]


def draw_balanced(
    drawn: Sequence[Sequence[BagOfSlide]], *, rng: np.random.Generator
) -> list[Sequence[BagOfSlide]]:
    """Patients of an epoch in which the classes come equally often.

    As many patients as there are, rounded up to the same number of each class. A class is gone
    through in random order, and again in another where it has too few: nobody comes a third time
    before everybody of the class came twice.

    Parameters
    ----------
    drawn
        The bags of each patient.
    """
    labels = np.array([bags[0].patient.label for bags in drawn])
    classes = np.unique(labels)
    each = -(-len(drawn) // len(classes))
    chosen: list[Sequence[BagOfSlide]] = []
    for label in classes:
        own = np.flatnonzero(labels == label)
        rounds = -(-each // len(own))
        order = np.concatenate([rng.permutation(own) for _ in range(rounds)])[:each]
        chosen.extend(drawn[i] for i in order)
    return chosen
