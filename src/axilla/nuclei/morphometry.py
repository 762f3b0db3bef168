"""Shape, size and order of nuclei: what the paper measures of each one (section 2.4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import KDTree

from axilla.core.errors import StatisticsError
from axilla.nuclei.numbering import numbered
from axilla.nuclei.rectangularity import rectangularity

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NEIGHBOURS = 8
"""Nuclei around each one whose common direction is its polarity."""
SMALLEST_PX = 3
"""Pixels below which an instance has no shape: it is no nucleus."""

_EVEN, _ODD, _CORNER = 0.980, 1.406, -0.091
_KINDS: dict[str, type] = {"nucleus": np.int64, "x": np.float64, "y": np.float64,
    "touches_edge": np.bool_} | dict.fromkeys(
    ("major_axis", "minor_axis", "area", "orientation", "circumference", "circularity",
     "rectangularity"), np.float64,
)  # fmt: skip
"""What is measured of each nucleus alone."""


def measure_nuclei(
    instances: ArrayLike, *, mpp: float | None = None, neighbours: int = NEIGHBOURS
) -> pd.DataFrame:
    r"""Measure every nucleus of an image.

    Parameters
    ----------
    instances
        Integers [h, w], 0 is background, a number a nucleus.
    mpp
        µm per pixel; None where it is not known: lengths are then pixels.
    neighbours
        How many of the nearest nuclei count for the polarity.

    Returns
    -------
    DataFrame
        A row a nucleus of at least 3 pixels, in the order of the numbers: `nucleus` (the number),
        `x`, `y` (centre, pixels of this image), `touches_edge`, `major_axis`, `minor_axis` and
        `circumference` (µm), `area` (µm²), `orientation` (degrees of the major axis from the x-axis
        towards the y-axis, that is clockwise as seen, 0 to 180), `circularity`
        (:math:`4 \pi A / P^2`), `rectangularity` (area over that of the smallest rotated
        rectangle), `polarity` (0 to 1; NaN where the image has no more nuclei than `neighbours`)
        and `density` (nuclei per mm² of this image; per image where `mpp` is None).
        Lengths are in pixels where `mpp` is None.

    Raises
    ------
    StatisticsError
        The map is none, or `mpp` is not above 0.

    Notes
    -----
    The axes are those of the ellipse with the same second moments. The circumference is the
    8-connected chain code's, :math:`0.980 n_e + 1.406 n_o - 0.091 n_c` (Vossepoel and Smeulders
    1982), plus :math:`\pi` for the half pixel by which the pixels' centres lie inside. The smallest
    rectangle around few pixels is too small or too large by some percent, as size and slenderness
    will have it; so rectangularity is read on the scale on which drawn ellipses and rectangles of
    the same second moments have :math:`\pi / 4` and 1 in the mean (less than 1 where sides are
    below 12 pixels, too few to tell the two apart). A mean of orientations means nothing, since 1
    and 179 degrees are neighbours; polarity is the length of the mean of :math:`e^{2 i \theta}`
    over the nucleus and its nearest neighbours: 1 where all point one way. By chance it is about
    :math:`\sqrt{\pi / (4 (k + 1))}`, 0.30 with 8 neighbours and more with fewer: so that it never
    tells how many nuclei there are, it is always taken over the same number.
    """
    labels = np.asarray(instances)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise StatisticsError(
            f"an instance map of shape {labels.shape} and type {labels.dtype} is none.",
            "Give integers [height, width], 0 for background and a number a nucleus.",
        )
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise StatisticsError(f"{mpp:g} µm per pixel is no scale.", "Give a number above 0.")
    columns = measured_columns(labels, mpp=mpp)
    xy = np.column_stack([columns["x"], columns["y"]])
    columns["polarity"] = polarity(xy, columns["orientation"], neighbours=neighbours)
    count = len(xy)
    density = count if mpp is None else count / (labels.size * (mpp / 1000) ** 2)
    columns["density"] = np.full(count, density, np.float64)
    return pd.DataFrame(columns)


def measured_columns(
    labels: NDArray[np.integer], *, mpp: float | None = None
) -> dict[str, NDArray[Any]]:
    """What `measure_nuclei` gives of each nucleus alone, [n] by column.

    Of a small patch a table takes longer to make.
    """
    unit = 1.0 if mpp is None else mpp
    labels, names = numbered(labels)
    rows = [
        {"nucleus": names[number]} | measured
        for number, window in enumerate(ndimage.find_objects(labels), start=1)
        if window is not None and (measured := _measure(labels, number, window, unit=unit))
    ]
    return {name: np.array([row[name] for row in rows], kind) for name, kind in _KINDS.items()}


def polarity(
    xy: NDArray[np.float64], orientation: NDArray[np.float64], *, neighbours: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """How much each nucleus and its nearest neighbours point one way, [n], 0 to 1.

    Parameters
    ----------
    xy
        [n, 2], centres.
    orientation
        [n], degrees.
    neighbours
        Nearest nuclei that count. Where there are fewer, polarity is NaN: of fewer directions the
        mean is longer by chance, and few nuclei would seem to point one way.
    """
    if len(xy) <= neighbours:
        return np.full(len(xy), np.nan)
    _, near = KDTree(xy).query(xy, k=neighbours + 1)
    turned = np.exp(2j * np.deg2rad(orientation))
    lengths: NDArray[np.float64] = np.abs(turned[near].mean(axis=1))
    return lengths


def _measure(
    labels: NDArray[np.integer], number: int, window: tuple[slice, slice], *, unit: float
) -> dict[str, Any] | None:
    mask = labels[window] == number
    rows, columns = np.nonzero(mask)
    if len(rows) < SMALLEST_PX:
        return None
    major, minor, angle = axes(columns, rows)
    length = _circumference(mask)
    top, left = window[0].start, window[1].start
    height, width = labels.shape
    return {
        "x": left + columns.mean(),
        "y": top + rows.mean(),
        "touches_edge": bool(
            top == 0 or left == 0 or window[0].stop == height or window[1].stop == width
        ),
        "major_axis": major * unit,
        "minor_axis": minor * unit,
        "area": len(rows) * unit**2,
        "orientation": angle,
        "circumference": length * unit,
        "circularity": 4 * math.pi * len(rows) / length**2,
        "rectangularity": rectangularity(mask, major=major, minor=minor),
    }


def axes(x: NDArray[np.intp], y: NDArray[np.intp]) -> tuple[float, float, float]:
    """Major and minor axis of the ellipse of the same second moments, and its angle in degrees."""
    # A pixel is a square, not a point: 1/12 is its own second moment.
    xx, yy = x.var() + 1 / 12, y.var() + 1 / 12
    xy = float(np.mean((x - x.mean()) * (y - y.mean())))
    middle, half = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    angle = math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) % 180
    return 4 * math.sqrt(middle + half), 4 * math.sqrt(middle - half), angle


def _circumference(mask: NDArray[np.bool_]) -> float:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return sum(_chain_length(outline[:, 0, :]) + math.pi for outline in outlines)


def _chain_length(points: NDArray[Any]) -> float:
    steps = np.diff(points, axis=0, append=points[:1])
    odd = int((np.abs(steps).sum(axis=1) == 2).sum())
    even = int((np.abs(steps).sum(axis=1) == 1).sum())
    corners = int((steps != np.roll(steps, 1, axis=0)).any(axis=1).sum())
    return _EVEN * even + _ODD * odd + _CORNER * corners
