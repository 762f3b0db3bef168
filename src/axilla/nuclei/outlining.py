"""Patches with the outlines of their nuclei, to see what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from axilla.nuclei.feature_bags import cut_nuclei

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEASURED = (255, 235, 0)
CUT = (255, 255, 255)
"""Red, green, blue: yellow and white stand out from the stain's purple by their lightness alone."""
SIDE_PX = 256
"""A smaller patch is enlarged to about so much, so that a line of one pixel hides little of it."""


def outline_nuclei(
    pixels: NDArray[np.uint8],
    instances: NDArray[np.int32],
    *,
    enlarged: int = 1,
    inside: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """A patch, perhaps enlarged, with a line along the inside of every nucleus.

    Parameters
    ----------
    pixels
        uint8 [h, w, 3].
    instances
        int32 [h, w], 0 is background.
    enlarged, inside
        As in `patch_nuclei`.

    Returns
    -------
    ndarray
        uint8 [k h, k w, 3], with k whole: yellow lines around nuclei that are seen whole, white
        ones around those that the patch's edge or the outline cuts, which are not measured.
    """
    times = max(1, round(SIDE_PX / max(instances.shape)))
    size = (instances.shape[1] * times, instances.shape[0] * times)
    drawn = np.array(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    numbers = instances.repeat(times, axis=0).repeat(times, axis=1)
    framed = np.pad(numbers, 1)
    neighbours = (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:])
    line = (numbers > 0) & np.any([numbers != other for other in neighbours], axis=0)
    cut = np.isin(numbers, cut_nuclei(instances, enlarged=enlarged, inside=inside))
    drawn[line & ~cut] = MEASURED
    drawn[line & cut] = CUT
    return drawn
