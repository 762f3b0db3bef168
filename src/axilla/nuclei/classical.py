"""Nuclei without a trained network: colour deconvolution, threshold, watershed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from axilla.core.errors import StatisticsError
from axilla.core.stain import MacenkoStain, estimate_stain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Plane = NDArray[np.float32]

RUIFROK = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]], np.float32)
"""Haematoxylin and eosin where an image is too small or plain to tell its own (Ruifrok 2001)."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassicalSegmenter:
    """Threshold of the haematoxylin, with nuclei of about 10 pixels' radius.

    A pixel is nuclear where its haematoxylin is above the mean of Otsu's threshold of the whole
    and the mean of its neighbourhood; the depth is the distance to the outline over half that
    radius.
    """

    matrix: NDArray[np.float32]
    """[2, 3]: optical density of haematoxylin and eosin in red, green, blue."""
    white: NDArray[np.float32]
    """[3]: the glass."""
    blur_px: float = 1.5
    around_px: float = 16.0
    local: float = 0.4
    """Share of the neighbourhood's mean in the threshold."""
    smooth_px: float = 2.0
    zooms: tuple[float, ...] = (1.0,)
    own_zoom: float | None = None

    def __call__(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """See `Segmenter`."""
        sharp = haematoxylin(pixels, matrix=self.matrix, white=self.white)
        stained = cv2.GaussianBlur(sharp, (0, 0), self.blur_px)
        least = 1 / 255
        whole = threshold_otsu(stained) if np.ptp(stained) > least else np.inf
        around = cv2.GaussianBlur(stained, (0, 0), self.around_px)
        above = stained - ((1 - self.local) * whole + self.local * around)
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
        mask = cv2.morphologyEx((above > 0).astype(np.uint8), cv2.MORPH_OPEN, disk)
        filled = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disk)
        distance = cv2.distanceTransform(filled, cv2.DIST_L2, 5)
        depth = cv2.GaussianBlur(distance, (0, 0), self.smooth_px) / 5
        return filled.astype(np.float32), np.asarray(depth, np.float32)

    def glance(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """See `Segmenter`: the same, there is no faster way."""
        return self(pixels)


def fit_classical(pixels: Pixels) -> ClassicalSegmenter:
    """The segmenter for an image's or slide's own stain.

    Parameters
    ----------
    pixels
        RGB [n, 3], a sample of the image.
    """
    try:
        stain = estimate_stain(pixels, method="macenko")
    except StatisticsError:
        stain = None
    # In H&E nothing is as dark as nuclei. Where the second stain is the stronger one, there is but
    # one stain, and Macenko's method took its faint and its strong parts for two.
    if not isinstance(stain, MacenkoStain) or stain.maxima[0] <= stain.maxima[1]:
        return ClassicalSegmenter(RUIFROK, np.full(3, 255, np.float32))
    return ClassicalSegmenter(stain.matrix, stain.white)


def haematoxylin(
    pixels: Pixels, *, matrix: NDArray[np.float32], white: NDArray[np.float32]
) -> Plane:
    """Amount of the first of two stains in every pixel, [h, w], at least 0."""
    shades = np.maximum(np.arange(256, dtype=np.float32), 1)
    table = np.maximum(-np.log(shades[:, None] / white), 0)
    unmixed = np.linalg.pinv(matrix)[:, 0]
    amount = sum(table[pixels[..., i], i] * unmixed[i] for i in range(3))
    return np.maximum(np.asarray(amount, np.float32), 0)
