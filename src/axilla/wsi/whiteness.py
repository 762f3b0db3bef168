"""How many pixels of a patch are white: asked of every patch, so it must be cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from axilla.core.config import Patches


def white_share(
    pixels: NDArray[np.uint8],
    *,
    config: Patches,
    inside: NDArray[np.uint8] | None = None,
    area: int | None = None,
) -> float:
    """Share of a patch that is white, 0 to 1, as `patches.white_by` counts it.

    Parameters
    ----------
    pixels, inside
        As of `count_white`.
    area
        Pixels of the whole patch where `pixels` are a part of it; the rest is white.
    """
    height, width = pixels.shape[:2]
    area = height * width if area is None else area
    if config.white_by == "channel":
        high = pixels >= config.white_level
        if inside is not None:
            high |= inside[..., None] == 0
        white = float(np.count_nonzero(high)) / 3
    else:
        white = count_white(pixels, level=config.white_level, inside=inside)
    return float(white + area - height * width) / area


def count_white(
    pixels: NDArray[np.uint8], *, level: int, inside: NDArray[np.uint8] | None = None
) -> int:
    """Count the pixels whose red, green and blue are all at least `level`.

    Parameters
    ----------
    pixels
        RGB uint8 [h, w, 3]; a view of a larger image is as good as an array of its own.
    inside
        Where it is 0, a pixel is white whatever its colour: [h, w], of `inside_mask`.

    Notes
    -----
    Counting values is three times as fast as looking at the three of a pixel together, and decides
    most patches: those without a single high value, and those that are white all over.
    """
    if pixels.size == 0:
        return 0
    if inside is None:
        values = int(np.count_nonzero(pixels >= level))
        if values in {0, pixels.size}:
            return values // 3
    white = cv2.inRange(pixels, (level,) * 3, (255,) * 3)  # 0 or 255
    if inside is not None:
        white = cv2.bitwise_or(white, inside - np.uint8(1))  # 1 gives 0, 0 gives 255
    return int(cv2.countNonZero(white))
