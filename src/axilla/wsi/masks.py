"""Polygons to pixels: a pixel is inside where its centre is, holes and several parts included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon


def polygon_edges(polygon: Polygon | MultiPolygon) -> NDArray[np.float64]:
    """Edges that are not level, of all rings: float64 [n, 4] of (x0, y0, x1, y1) with y0 < y1."""
    rings = [
        shapely.get_coordinates(ring)
        for part in shapely.get_parts(polygon)
        for ring in (part.exterior, *part.interiors)
    ]
    edges = np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in rings])
    edges = edges[edges[:, 1] != edges[:, 3]]
    downwards = edges[:, 1] < edges[:, 3]
    ordered: NDArray[np.float64] = np.where(downwards[:, None], edges, edges[:, [2, 3, 0, 1]])
    return ordered


def inside_mask(
    edges: NDArray[np.float64], *, x: int, y: int, width: int, height: int, step: float = 1.0
) -> NDArray[np.uint8]:
    """Rasterise a polygon by the even-odd rule at pixel centres.

    `cv2.fillPoly` also paints every pixel that an outline touches, those of holes too; here a
    pixel counts when its centre is inside, so that neighbouring regions share no pixel and a
    strip's mask equals the masks of its patches.

    Parameters
    ----------
    edges
        Of `polygon_edges`, in level-0 pixels.
    x, y
        The window's top left corner in level-0 pixels.
    width, height
        The window's sides in pixels of the mask.
    step
        Level-0 pixels per pixel of the mask.

    Returns
    -------
    uint8 [height, width], 1 inside and 0 outside.
    """
    toggles = np.zeros((height, width + 1), np.uint8)
    x0, y0, x1, y1 = edges.T
    first = np.clip(np.ceil((y0 - y) / step - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil((y1 - y) / step - 0.5), 0, height).astype(np.int64)
    rows_of = last - first
    edge = np.repeat(np.arange(len(edges)), rows_of)
    start = np.repeat(first - (np.cumsum(rows_of) - rows_of), rows_of)
    row = np.arange(len(edge)) + start
    slope = (x1 - x0) / (y1 - y0)
    crossing = x0[edge] + (y + (row + 0.5) * step - y0[edge]) * slope[edge]
    column = np.clip(np.ceil((crossing - x) / step - 0.5), 0, width).astype(np.int64)
    np.bitwise_xor.at(toggles, (row, column), np.uint8(1))
    return np.bitwise_xor.accumulate(toggles[:, :width], axis=1)


def patch_mask(
    edges: NDArray[np.float64] | None,
    *,
    x: int,
    y: int,
    side: int,
    size: int,
    image_size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Which pixels of a patch are of the image and within the outline, the others being white.

    Parameters
    ----------
    edges
        Of `polygon_edges`; None where the whole image is the region.
    x, y
        The patch's top left corner in level-0 pixels.
    side, size
        Its side in level-0 pixels and in its own.
    image_size
        Width and height in level-0 pixels.

    Returns
    -------
    uint8 [size, size], 1 inside and 0 outside.
    """
    step = side / size
    middles = (np.arange(size) + 0.5) * step
    across, down = (
        (corner + middles >= 0) & (corner + middles < length)
        for corner, length in zip((x, y), image_size, strict=True)
    )
    on_image = np.outer(down, across).astype(np.uint8)
    if edges is None:
        return on_image
    return on_image & inside_mask(edges, x=x, y=y, width=size, height=size, step=step)
