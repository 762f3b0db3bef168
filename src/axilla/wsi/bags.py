"""Patches to bags (paper, section 2.2; DESIGN, Bags)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from axilla.core.config import Bags


def draw_bags(n_patches: int, *, config: Bags, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Draw the bags of one slide: M = floor(n / N) of N patches each, without replacement.

    The n - M N patches that are left over are in no bag (paper, section 2.2). A slide with fewer
    than N patches makes one smaller bag, one without patches none.

    Returns
    -------
    Patch indices, int64 [N] a bag; no index appears twice.
    """
    order = rng.permutation(n_patches)
    size = config.size
    if n_patches < size:
        return [order] if n_patches else []
    full = n_patches // size
    return list(order[: full * size].reshape(full, size))


def cover_bags(
    n_patches: int, *, config: Bags, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Draw bags that hold every patch at least once, for heat maps.

    The last bag is completed with other patches drawn at random, so that all have N; with fewer
    than N patches there is one smaller bag, without patches none.

    Returns
    -------
    Patch indices, int64 [N] a bag; none appears twice in a bag, none in more than two bags.
    """
    order = rng.permutation(n_patches)
    size = config.size
    if n_patches <= size:
        return [order] if n_patches else []
    rest = n_patches % size
    if rest:
        others = rng.choice(order[: n_patches - rest], size - rest, replace=False)
        order = np.concatenate([order, others])
    return list(order.reshape(-1, size))
