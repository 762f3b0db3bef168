"""Nuclei numbered so that tables by number stay small, whatever numbers a file gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST_PX = 16
"""Numbers beyond the pixels over this leave most places of a table empty."""


def numbered(instances: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """The map with small numbers, and what each one was.

    Parameters
    ----------
    instances
        Integers [h, w], 0 is background, below it nobody knows.

    Returns
    -------
    tuple
        The map itself where its numbers are small, else one whose nuclei are 1, 2, ... in the order
        of their numbers; no number is beyond a sixteenth of the pixels, or there are as many
        nuclei. And int64 [numbers + 1]: what the file calls each, 0 the background.
    """
    largest = int(instances.max(initial=0))
    if largest <= instances.size // _SMALLEST_PX:
        return instances, np.arange(largest + 1)
    nuclear = instances > 0
    names: NDArray[Any] = np.unique(instances[nuclear])
    renumbered = np.minimum(instances, 0).astype(np.int32)
    renumbered[nuclear] = np.searchsorted(names, instances[nuclear]) + 1
    return renumbered, np.concatenate([[0], names]).astype(np.int64)
