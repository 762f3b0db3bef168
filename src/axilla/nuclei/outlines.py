"""Outlines of nuclei as polygons, to be looked at in other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from axilla.nuclei.numbering import numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SMOOTH_PX = 0.3
"""No corner of the outline is further than this from the polygon."""


def outlines(instances: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Number and outline of each nucleus, in the order of the numbers.

    Parameters
    ----------
    instances
        int32 [h, w], 0 is background.

    Yields
    ------
    tuple
        The nucleus's number, and [k, 2]: x and y along the edges of its pixels, where the first
        pixel reaches from 0 to 1. Holes are filled; of one in pieces it is the longest outline.
    """
    small, names = numbered(instances)
    for number, window in enumerate(ndimage.find_objects(small), start=1):
        if window is None:
            continue
        mask = np.pad(small[window] == number, 1)
        # Halfway between the middles of pixels within and without, as y and x of middles.
        found = max(find_contours(mask.astype(np.float32), 0.5), key=len)
        points = cv2.approxPolyDP(found[:-1, ::-1].astype(np.float32), _SMOOTH_PX, closed=True)
        corner = (window[1].start - 0.5, window[0].start - 0.5)
        yield int(names[number]), points[:, 0, :].astype(np.float64) + corner
