"""Polygons to pixels: a pixel is inside where its centre is, holes and several parts included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

    from axilla.core.config import Patches


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


def white_thirds(pixels: NDArray[np.uint8], *, config: Patches) -> NDArray[np.uint8]:
    """How white each pixel counts, in thirds: uint8 [h, w] of 0 to 3 (`patches.white_by`)."""
    if config.white_by == "channel":
        white = (pixels >= config.white_level).view(np.uint8)
        return np.asarray(white[..., 0] + white[..., 1] + white[..., 2], dtype=np.uint8)
    low = (config.white_level,) * 3
    # 255 & 3: inRange marks what is white with 255.
    return np.bitwise_and(cv2.inRange(pixels, low, (255, 255, 255)), np.uint8(3), dtype=np.uint8)


def white_share(pixels: NDArray[np.uint8], *, config: Patches) -> float:
    """Share of white of a patch, 0 to 1."""
    return float(white_thirds(pixels, config=config).sum(dtype=np.int64)) / pixels.size
