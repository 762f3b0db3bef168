"""Patches held in memory as they are cut, where the next step follows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from axilla.core.config import Patches
from axilla.core.types import MicronsPerPixel, PatchGrid, Region, Slide
from axilla.wsi.patches import cut_and_read
from axilla.wsi.slides import SlideReader, open_slide


class Reads(Protocol):
    """Reads a slide's patches by their place in the grid."""

    def read(self, indices: Sequence[int] | NDArray[np.integer], /) -> NDArray[np.uint8]:
        """RGB uint8 [n, size, size, 3]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """An image made small, and what it says of itself."""

    thumbnail: NDArray[np.uint8]
    level0_per_px: float
    mpp: MicronsPerPixel | None
    """As its file says."""
    size: tuple[int, int]
    """Width and height of level 0."""


class HeldPatches:
    """Patches of slides as they were cut, so that each image is opened and decoded once.

    For a case of one patient: of a cohort they would fill the memory, and are read again instead.

    Parameters
    ----------
    most_bytes
        Of each slide; one with more is read again too.
    overview_px
        Longer side of the images made small.
    """

    def __init__(self, most_bytes: int, *, overview_px: int) -> None:
        self._most_bytes = most_bytes
        self._overview_px = overview_px
        self._overviews: dict[Path, Overview] = {}
        self._held: dict[str, NDArray[np.uint8]] = {}
        self._regions: dict[str, tuple[Region, ...]] = {}

    def cut(self, slide: Slide, regions: tuple[Region, ...], *, config: Patches) -> PatchGrid:
        """`cut_patches`, and the patches are held; safe to ask from threads."""
        grid, found = cut_and_read(
            slide, regions, config=config, most_bytes=self._most_bytes, open_image=self._open
        )
        self._regions[slide.slide_id] = regions
        if found is not None:
            self._held[slide.slide_id] = found
        return grid

    def of(self, slide_id: str) -> NDArray[np.uint8] | None:
        """A slide's patches [n, size, size, 3]; None where they are not held."""
        return self._held.get(slide_id)

    def _open(self, path: Path, *, slide_id: str, patient_id: str, max_px: int) -> SlideReader:
        reader = open_slide(path, slide_id=slide_id, patient_id=patient_id, max_px=max_px)
        self._overviews[path] = _seen(reader, self._overview_px)
        return reader

    def overview(self, image: Path) -> Overview | None:
        """An image as it was seen when its patches were cut; None where none were."""
        return self._overviews.get(image)

    def regions_of(self, slide_id: str) -> tuple[Region, ...] | None:
        """What the slide's patches were cut from; None where it was not cut now."""
        return self._regions.get(slide_id)


def overview_of(slide: Slide, image: Path, *, max_side: int) -> Overview:
    """Open an image of a slide for its overview.

    Raises
    ------
    SlideError
        It cannot be read.
    """
    with open_slide(
        image, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
    ) as reader:
        return _seen(reader, max_side)


def _seen(reader: SlideReader, max_side: int) -> Overview:
    thumbnail, level0_per_px = reader.thumbnail(max_side)
    return Overview(thumbnail, level0_per_px, reader.mpp, reader.size)


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
