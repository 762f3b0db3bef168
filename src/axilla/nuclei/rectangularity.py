"""How rectangular a nucleus is: its share of the smallest rectangle around it, freed of pixels."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

if TYPE_CHECKING:
    from numpy.typing import NDArray

STANDARDS = "rectangularity.json"
"""Shares of drawn shapes, made by `python -m axilla.nuclei.drawn_shapes`."""
_STAIRS, _WINDOW = 16, (3, 9)
"""The outline is averaged over a sixteenth of its points, and at least and at most so many.

By a Gaussian as wide as that window: windows of whole points, 3 or 5, would make what is measured
leap with the size of the nucleus."""
_FINEST = 0.15
"""Between the shares of the drawn ellipse and rectangle; of large ones it is 0.21."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Numbers over size and slenderness, at even steps of both; between them it is bilinear."""

    steps: tuple[float, float]
    first: tuple[float, float]
    """Log of major times minor axis, px², and log of their ratio."""
    shape: tuple[int, int]

    def holds(
        self, size: NDArray[np.float64], slenderness: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which places lie on it, [n]."""
        inside = [
            (places >= first) & (places <= first + step * (count - 1))
            for places, step, first, count in zip(
                (size, slenderness), self.steps, self.first, self.shape, strict=True
            )
        ]
        return inside[0] & inside[1]

    def corners(
        self, size: NDArray[np.float64], slenderness: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The four nodes around each place, [n, 4], and their weights; the border goes on."""
        cells, shares = [], []
        for places, step, first, count in zip(
            (size, slenderness), self.steps, self.first, self.shape, strict=True
        ):
            at = np.clip((places - first) / step, 0, count - 1)
            cell = np.minimum(at.astype(np.int64), count - 2)
            cells.append(cell)
            shares.append(at - cell)
        (row, column), (down, right) = cells, shares
        node = row * self.shape[1] + column
        nodes = np.stack([node, node + 1, node + self.shape[1], node + self.shape[1] + 1], axis=-1)
        weights = np.stack(
            [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right],
            axis=-1,
        )
        return nodes, weights


def rectangularity(mask: NDArray[np.bool_], *, major: float, minor: float) -> float:
    r"""Share of the smallest rectangle, on the scale of two drawn shapes of known share.

    The smallest rectangle around few pixels is too small or too large by some percent, as size and
    slenderness will have it. So an ellipse and a rectangle of the same second moments, drawn on
    pixels, are given :math:`\pi / 4` and 1 in the mean.

    Parameters
    ----------
    mask
        [h, w], the pixels of one nucleus.
    major, minor
        Axes in pixels of the ellipse of the same second moments.
    """
    surface, shares = standards()
    log_major, log_minor = np.log([major]), np.log([minor])
    nodes, weights = surface.corners(log_major + log_minor, log_major - log_minor)
    ellipse, rectangle = (shares[:, nodes[0]] @ weights[0]).tolist()
    # Of the smallest nuclei the two are nearly one: no scale is that fine.
    scale = (1 - math.pi / 4) / max(rectangle - ellipse, _FINEST)
    share = math.pi / 4 + (rectangle_share(mask) - ellipse) * scale
    return float(np.clip(share, 0, 1))


@lru_cache(maxsize=1)
def standards() -> tuple[Surface, NDArray[np.float64]]:
    """Where the shares of drawn shapes stand, and those of ellipse and rectangle, [2, nodes]."""
    text = (resources.files("axilla.nuclei") / "weights" / STANDARDS).read_text("utf-8")
    read = json.loads(text)
    shares = np.array([read["ellipse"], read["rectangle"]], np.float64)
    rows, columns = shares.shape[1:]
    steps, first = read["steps"], read["first"]
    surface = Surface((steps[0], steps[1]), (first[0], first[1]), (rows, columns))
    return surface, shares.reshape(2, -1)


def rectangle_share(mask: NDArray[np.bool_]) -> float:
    """Pixels over the area of the smallest rotated rectangle; some percent wrong where few.

    Around the pixels themselves it would be too large wherever the shape lies askew to them, by the
    height of the stairs on all four sides; a moving average along the outline takes those away.
    """
    # Pixels that touch by a corner are one shape, as they are to whoever numbered the nuclei.
    found = find_contours(np.pad(mask.astype(np.float32), 1), 0.5, fully_connected="high")
    outline = max(found, key=len)[:-1]
    width_px = float(np.clip(len(outline) / _STAIRS, *_WINDOW)) / math.sqrt(12)
    averaged = ndimage.gaussian_filter1d(outline, width_px, axis=0, mode="wrap").astype(np.float32)
    _, (width, height), _ = cv2.minAreaRect(averaged)
    return float(np.count_nonzero(mask) / (width * height))
