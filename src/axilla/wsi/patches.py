"""Regions to patches: coordinates and a reader, never files (DESIGN, Patches)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from axilla.core.types import PatchGrid, SlidePixels
from axilla.wsi.flat_readers import Closing
from axilla.wsi.masks import patch_mask
from axilla.wsi.slide_images import OpenImage, SlideImages
from axilla.wsi.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from axilla.core.config import Patches
    from axilla.core.types import Region, Slide

_MAX_OPEN = 16
"""Most images of one slide held open at once."""


def cut_patches(
    slide: Slide,
    regions: Iterable[Region],
    *,
    config: Patches,
    open_image: OpenImage = open_slide,
) -> PatchGrid:
    """Cut regions into patches, and keep those with tissue enough.

    A region's grid starts at the top left of its bounding box (whole pixels) and goes on in steps
    of a patch; the last column and row are padded with white, or moved inwards (`edge: shift`).
    Pixels whose centre is outside the polygon are white; a patch whose share of white pixels is
    `max_blank` or more is dropped and counted (paper, section 2.2). Ready patches are all kept.

    Parameters
    ----------
    slide
        Whose regions they are.
    regions
        Of `find_regions`; their indices are the grid's `region`.
    config
        `patches` of the study. With `mpp` set, a patch spans round(size * mpp / slide's mpp)
        level-0 pixels and is judged as it is read, at its own size.

    Raises
    ------
    SlideError
        An image cannot be read, or `mpp` is set and the slide does not say its µm/px.
    AnnotationError
        More than 1 % of a region lies outside the slide.
    """
    return _cut(slide, regions, config=config, open_image=open_image, taken=None)


def cut_and_read(
    slide: Slide,
    regions: Iterable[Region],
    *,
    config: Patches,
    most_bytes: int | None = None,
    open_image: OpenImage = open_slide,
) -> tuple[PatchGrid, NDArray[np.uint8] | None]:
    """`cut_patches`, then `PatchReader.read_all`, with every image opened and decoded once.

    Returns
    -------
    The grid, and its patches in the grid's order, RGB uint8 [n, size, size, 3]; None where they
    are more than `most_bytes`.

    Raises
    ------
    SlideError, AnnotationError
        As `cut_patches`.
    """
    taken = _Taken(config.size, most_bytes)
    grid = _cut(slide, regions, config=config, open_image=open_image, taken=taken)
    return grid, taken.all()


class _Taken:
    """Patches as they are cut, as far as there is room; none of them where there is not."""

    def __init__(self, size: int, most_bytes: int | None) -> None:
        self._each = 3 * size**2
        self._left = most_bytes
        self._parts: list[NDArray[np.uint8]] | None = [np.empty((0, size, size, 3), np.uint8)]

    def room(self, patches: int) -> bool:
        """Whether so many more may be taken; where not, all that were taken are let go."""
        if self._parts is not None and self._left is not None:
            self._left -= patches * self._each
            if self._left < 0:
                self._parts = None
        return self._parts is not None

    def take(self, patches: NDArray[np.uint8]) -> None:
        if self._parts is not None:
            self._parts.append(patches)

    def all(self) -> NDArray[np.uint8] | None:
        if self._parts is None:
            return None
        return self._parts[1] if len(self._parts) == 2 else np.concatenate(self._parts)


def _cut(
    slide: Slide,
    regions: Iterable[Region],
    *,
    config: Patches,
    open_image: OpenImage,
    taken: _Taken | None,
) -> PatchGrid:
    """The grid; each region's kept patches are taken while its image is open."""
    kept: list[tuple[int, int, int, float]] = []
    dropped = repaired = 0
    with SlideImages(slide, config=config, open_image=open_image, max_open=1) as images:
        for region in regions:
            repaired += region.repaired
            window = images.window(region)
            judged = list(window.judge())
            found = (
                judged
                if region.files is not None
                else [patch for patch in judged if patch[2] < config.max_blank]
            )
            kept.extend((region.index, *patch) for patch in found)
            dropped += len(judged) - len(found)
            if taken is not None and taken.room(len(found)):
                taken.take(window.patches([(x, y) for x, y, _ in found]))
        mpp, size_level0 = images.scale()
    table = np.array(kept, dtype=np.float64).reshape(-1, 4)
    return PatchGrid(
        slide_id=slide.slide_id,
        region=table[:, 0].astype(np.int32),
        xy=table[:, 1:3].astype(np.int32),
        white_share=table[:, 3].astype(np.float32),
        size_level0=SlidePixels(size_level0),
        dropped=dropped,
        mpp=mpp,
        repaired=repaired,
    )


class PatchReader(Closing):
    """Pixels of a grid's patches, the same that `cut_patches` judged.

    Parameters
    ----------
    slide, grid, regions, config
        What `cut_patches` took and gave.

    Notes
    -----
    A context manager; it keeps its images open (at most 16) between calls.
    """

    def __init__(
        self,
        slide: Slide,
        grid: PatchGrid,
        regions: Iterable[Region],
        config: Patches,
        *,
        open_image: OpenImage = open_slide,
    ) -> None:
        self._grid = grid
        self._regions = {region.index: region for region in regions}
        self._size = config.size
        self._images = SlideImages(slide, config=config, open_image=open_image, max_open=_MAX_OPEN)

    def __len__(self) -> int:
        return len(self._grid)

    def close(self) -> None:
        """Let go of the images."""
        self._images.close()

    def read(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Read patches by their place in the grid, as RGB uint8 [n, size, size, 3]."""
        wanted = np.asarray(indices, dtype=np.int64)
        out = np.empty((len(wanted), self._size, self._size, 3), np.uint8)
        # Region by region, so that a bag does not open the same image again and again, and each
        # from top to bottom, as a large flat image is decoded.
        lefts, tops = self._grid.xy[wanted].T
        for place in np.lexsort((lefts, tops, self._grid.region[wanted])):
            index = wanted[place]
            window = self._images.window(self._regions[int(self._grid.region[index])])
            x, y = self._grid.xy[index].tolist()
            out[place] = window.patch(x, y)
        return out

    def read_all(self) -> NDArray[np.uint8]:
        """Read all patches in the grid's order, as RGB uint8 [n, size, size, 3]."""
        return self.read(np.arange(len(self._grid)))

    def inside(self, index: int) -> NDArray[np.uint8]:
        """Which pixels of a patch show the slide within the outline, uint8 [size, size], 1 or 0.

        All of them where patches come as files: nobody knows what they were cut from.
        """
        region = self._regions[int(self._grid.region[index])]
        if region.files is not None:
            return np.ones((self._size, self._size), np.uint8)
        x, y = self._grid.xy[index].tolist()
        return patch_mask(
            self._images.edges(region), x=x, y=y,
            side=int(self._grid.size_level0), size=self._size,
            image_size=self._images.size(region.image),
        )  # fmt: skip
