"""Patches held in memory as they are cut, where the next step follows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from axilla.core.config import Patches
from axilla.core.types import PatchGrid, Region, Slide
from axilla.wsi.patches import cut_and_read


class Reads(Protocol):
    """Reads a slide's patches by their place in the grid."""

    def read(self, indices: Sequence[int] | NDArray[np.integer], /) -> NDArray[np.uint8]:
        """RGB uint8 [n, size, size, 3]."""
        ...


class HeldPatches:
    """Patches of slides as they were cut, so that each image is opened and decoded once.

    For a case of one patient: of a cohort they would fill the memory, and are read again instead.

    Parameters
    ----------
    most_bytes
        Of each slide; one with more is read again too.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: dict[str, NDArray[np.uint8]] = {}
        self._regions: dict[str, tuple[Region, ...]] = {}

    def cut(self, slide: Slide, regions: tuple[Region, ...], *, config: Patches) -> PatchGrid:
        """`cut_patches`, and the patches are held; safe to ask from threads."""
        grid, found = cut_and_read(slide, regions, config=config, most_bytes=self._most_bytes)
        self._regions[slide.slide_id] = regions
        if found is not None:
            self._held[slide.slide_id] = found
        return grid

    def of(self, slide_id: str) -> NDArray[np.uint8] | None:
        """A slide's patches [n, size, size, 3]; None where they are not held."""
        return self._held.get(slide_id)

    def regions_of(self, slide_id: str) -> tuple[Region, ...] | None:
        """What the slide's patches were cut from; None where it was not cut now."""
        return self._regions.get(slide_id)


class HeldReader:
    """Reads patches that are held.

    Parameters
    ----------
    patches
        [n, size, size, 3], in the grid's order.
    """

    def __init__(self, patches: NDArray[np.uint8]) -> None:
        self._patches = patches

    def read(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Some of them."""
        return self._patches[np.asarray(indices, dtype=np.int64)]
