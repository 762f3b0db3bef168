"""p-values where many are tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false one stays below the level (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; none becomes smaller than one before it.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjust p-values so that the share of false ones among those below the level stays below it.

    The i-th smallest of m is multiplied by m / i; none becomes larger than one after it. Holds for
    independent tests and for positively dependent ones (doi:10.1111/j.2517-6161.1995.tb02031.x).

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, dtype=np.float64)
    falling = np.argsort(-values, kind="stable")
    steps = values[falling] * len(values) / np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[falling] = np.minimum(np.minimum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
