"""Where the patches of a region begin: its grid, before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from axilla.core.types import Region, SlidePixels


def grid_origins(
    region: Region, *, size: tuple[int, int], side: SlidePixels, edge: str
) -> NDArray[np.int32]:
    """Top left corners of all patches of a region's grid, kept or not, row by row.

    Parameters
    ----------
    region
        Of `find_regions`.
    size
        Width and height of its image in level-0 pixels.
    side
        Of a patch in level-0 pixels (`PatchGrid.size_level0`).
    edge
        `patches.edge` of the study.

    Returns
    -------
    int32 [n, 2] of (x, y) in level-0 pixels.
    """
    xs, ys = columns_and_rows(region, size=size, side=side, edge=edge)
    return np.array([(x, y) for y in ys for x in xs], dtype=np.int32).reshape(-1, 2)


def columns_and_rows(
    region: Region, *, size: tuple[int, int], side: int, edge: str
) -> tuple[list[int], list[int]]:
    """Left edges of the columns and top edges of the rows, in level-0 pixels."""
    box = (0.0, 0.0, *map(float, size)) if region.polygon is None else region.polygon.bounds
    left, top = (int(np.floor(value)) for value in box[:2])
    right, bottom = (int(np.ceil(value)) for value in box[2:])
    return _starts(left, right, side, edge, size[0]), _starts(top, bottom, side, edge, size[1])


def _starts(low: int, high: int, step: int, edge: str, length: int) -> list[int]:
    """Of the patches from `low` to `high` those that reach onto the slide, which is so long.

    The grid begins where the outline does, on the slide or not; and however far an outline's spike
    reaches, there are no more patches than the slide has room for.
    """
    first = low + max(0, -low // step) * step
    end = min(high, length)
    starts = list(range(first, max(end, first + 1), step))
    if edge == "shift" and end - first > step:
        starts[-1] = end - step
    return starts
