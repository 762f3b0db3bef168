"""Making images smaller, the same way for every kind of slide."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_BAND_PX = 8_000_000
"""Most pixels that a thumbnail holds at once: one level of a slide can be gigapixels."""


def resize(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Area mean where the image shrinks (antialiased), linear where it grows."""
    have_height, have_width = rgb.shape[:2]
    if (have_width, have_height) == (width, height):
        return rgb.copy()
    shrinks = have_width >= width and have_height >= height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), dtype=np.uint8)


def thumbnail_size(size: tuple[int, int], max_side: int) -> tuple[int, int, float]:
    """Width and height of a thumbnail, and how many pixels of the slide one of it spans."""
    scale = max(1.0, max(size) / max_side)
    width, height = (max(1, round(side / scale)) for side in size)
    return width, height, scale


def shrink_by_bands(
    read_rows: Callable[[int, int], NDArray[np.uint8]],
    *,
    size: tuple[int, int],
    width: int,
    height: int,
) -> NDArray[np.uint8]:
    """Shrink an image that is never held whole.

    Parameters
    ----------
    read_rows
        Rows from the first to before the last, RGB uint8 [rows, full width, 3]; asked for from top
        to bottom, each once.
    size
        Width and height of the full image in pixels.
    width, height
        Of the result.

    Returns
    -------
    RGB uint8 [height, width, 3].
    """
    full_width, full_height = size
    out = np.empty((height, width, 3), np.uint8)
    bands = min(height, -(-full_width * full_height // _BAND_PX))
    edges = [round(height * band / bands) for band in range(bands + 1)]
    for top, bottom in pairwise(edges):
        first, last = (round(full_height * row / height) for row in (top, bottom))
        out[top:bottom] = resize(read_rows(first, last), width, bottom - top)
    return out
