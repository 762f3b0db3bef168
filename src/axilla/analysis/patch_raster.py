"""Patch values as an image over the slide, at several resolutions, a tile at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

TILE_PX = 512
"""Side of a tile; the last level is no larger than one."""
PATCH_PX = 16
"""A patch is at least so many pixels at full resolution, where it has as many: viewers that smooth
between pixels then blur its edge only."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchRaster:
    r"""Values of square patches as images of one slide, each half as fine as the one before.

    With :math:`D` the level-0 pixels that a pixel of a level spans, pixel :math:`(i, j)` covers
    :math:`[iD, (i + 1)D) \times [jD, (j + 1)D)` of the slide. It has the value of the patch that
    its centre lies in; of several, the one whose own centre is nearest. Where patches are no larger
    than a pixel, it has the mean of those whose centre lies in it. NaN where there is no patch.

    At every level whose pixels are no larger than a patch, the pixel at a patch's centre has the
    patch's value, unless an overlapping patch has its centre there too.
    """

    xy: NDArray[np.int64]
    """[n, 2], top left corner of each patch in level-0 pixels."""
    values: NDArray[np.float32]
    """[n], all finite."""
    side: int
    """Of a patch, in level-0 pixels."""
    width: int
    height: int
    """Of the slide, in level-0 pixels."""
    downsamples: tuple[int, ...]
    """Level-0 pixels that a pixel of each level spans; the first divides every patch's edges."""

    def shape(self, level: int) -> tuple[int, int]:
        """Rows and columns of a level."""
        step = self.downsamples[level]
        return -(-self.height // step), -(-self.width // step)

    def tiles(self, level: int) -> Iterator[NDArray[np.float32] | None]:
        """Tiles [TILE_PX, TILE_PX] row by row, None where a tile has no patch.

        Tiles of the last row and column go beyond the slide.
        """
        step = self.downsamples[level]
        rows, columns = self.shape(level)
        span = TILE_PX * step
        tops = self.xy[:, 1]
        for top in range(0, rows * step, span):
            own = (tops + self.side > top) & (tops < top + span)
            xy, values = self.xy[own], self.values[own]
            for left in range(0, columns * step, span):
                here = (xy[:, 0] + self.side > left) & (xy[:, 0] < left + span)
                if not here.any():
                    yield None
                    continue
                paint = _nearest if step < self.side else _mean
                corners = xy[here] - (left, top)
                yield paint(corners, values[here], side=self.side, step=step)


def patch_raster(
    xy: ArrayLike, *, values: ArrayLike, size_level0: int, width: int, height: int
) -> PatchRaster:
    """Choose the resolutions at which patches are shown, the first one so that no edge is cut.

    Parameters
    ----------
    xy
        [n, 2], top left corner of each patch, whole level-0 pixels.
    values
        [n]; a patch whose value is not finite is left out.
    size_level0
        Side of a patch in level-0 pixels.
    width, height
        Of the slide, in level-0 pixels.
    """
    numbers = np.asarray(values, dtype=np.float32)
    seen = np.isfinite(numbers)
    corners = np.asarray(xy, dtype=np.int64).reshape(-1, 2)[seen]
    common = int(np.gcd.reduce(np.append(corners.ravel(), size_level0)))
    fine = max(1, size_level0 // PATCH_PX)
    first = max(d for d in range(1, min(common, fine) + 1) if common % d == 0)
    downsamples = [first]
    while max(width, height) > TILE_PX * downsamples[-1]:
        downsamples.append(2 * downsamples[-1])
    return PatchRaster(
        xy=corners,
        values=numbers[seen],
        side=int(size_level0),
        width=width,
        height=height,
        downsamples=tuple(downsamples),
    )


def _nearest(
    xy: NDArray[np.int64], values: NDArray[np.float32], *, side: int, step: int
) -> NDArray[np.float32]:
    """Paint a tile whose pixels are no larger than a patch; `xy` from the tile's corner."""
    tile = np.full((TILE_PX, TILE_PX), np.nan, np.float32)
    nearest = np.full((TILE_PX, TILE_PX), np.iinfo(np.int32).max, np.int32)
    # Pixels whose centre lies inside, in half level-0 pixels: 2 x <= (2 i + 1) D < 2 (x + side).
    first = -((step - 2 * xy) // (2 * step))
    last = -((step - 2 * (xy + side)) // (2 * step))
    first, last = np.clip(first, 0, TILE_PX), np.clip(last, 0, TILE_PX)
    # Distances in eighths of a level-0 pixel, so that a centre on the edge between two pixels is
    # nearer, by less than any other difference, to the pixel that begins there.
    centres = (4 * (2 * np.arange(TILE_PX) + 1) * step - 1).astype(np.int32)
    own = (4 * (2 * xy + side)).astype(np.int32)
    for (x, y), (left, top), (right, bottom), value in zip(own, first, last, values, strict=True):
        across = np.abs(centres[left:right] - x)
        down = np.abs(centres[top:bottom] - y)
        distance = np.maximum(down[:, None], across[None, :])
        box = np.s_[top:bottom, left:right]
        np.copyto(tile[box], value, where=distance < nearest[box])
        np.minimum(nearest[box], distance, out=nearest[box])
    return tile


def _mean(
    xy: NDArray[np.int64], values: NDArray[np.float32], *, side: int, step: int
) -> NDArray[np.float32]:
    """Paint a tile whose pixels are larger than a patch; `xy` from the tile's corner."""
    column, row = ((2 * xy + side) // (2 * step)).T
    inside = (column >= 0) & (column < TILE_PX) & (row >= 0) & (row < TILE_PX)
    places = row[inside] * TILE_PX + column[inside]
    counts = np.bincount(places, minlength=TILE_PX**2)
    sums = np.bincount(places, weights=values[inside], minlength=TILE_PX**2)
    tile = np.full(TILE_PX**2, np.nan, np.float32)
    np.divide(sums, counts, out=tile, where=counts > 0, casting="same_kind")
    return tile.reshape(TILE_PX, TILE_PX)
