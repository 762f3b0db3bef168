"""Where one patient's value lies among others: quantiles of groups, never a single value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

SMALLEST_GROUP = 10
"""Of fewer patients nothing is told."""
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
EVERYBODY = "All"
"""Name of the one group where a class is too small."""


@dataclass(frozen=True, slots=True)
class ReferenceRange:
    """Quantiles of one group of patients."""

    group: str
    n: int
    """Patients with a value."""
    quantiles: tuple[float, ...]
    """At `SHARES`, rising."""

    @property
    def median(self) -> float:
        """Half of the group have less."""
        return self.quantiles[2]

    @property
    def middle(self) -> tuple[float, float]:
        """The middle half of the group."""
        return self.quantiles[1], self.quantiles[3]

    @property
    def wide(self) -> tuple[float, float]:
        """The middle four fifths of the group."""
        return self.quantiles[0], self.quantiles[4]


def reference_ranges(
    values: ArrayLike, labels: ArrayLike, *, classes: Sequence[str], minimum: int = SMALLEST_GROUP
) -> tuple[ReferenceRange, ...]:
    """Quantiles of a value by class; of all together where any class is too small; else none.

    A class that is withheld could be worked out from all and the others, so that either every class
    is told or none.

    Parameters
    ----------
    values
        [n]; NaN where a patient has none.
    labels
        [n], index into `classes`.
    classes
        Names of the groups.
    minimum
        Fewest patients that are told.

    Returns
    -------
    tuple
        Empty where there are fewer than `minimum` patients.
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = np.isfinite(numbers)
    numbers, groups = numbers[known], np.asarray(labels)[known]
    parts = {name: numbers[groups == index] for index, name in enumerate(classes)}
    if any(len(part) < minimum for part in parts.values()):
        parts = {EVERYBODY: numbers} if len(numbers) >= minimum else {}
    return tuple(
        ReferenceRange(name, len(part), tuple(np.quantile(part, SHARES).tolist()))
        for name, part in parts.items()
    )
