"""Nuclei from clicks alone: what a point in each nucleus tells of the pixels around it.

After Qu 2019 (Weakly supervised deep nuclei segmentation using points annotation, MIDL 2019): the
points' Voronoi cells part the nuclei, and clusters of the pixels' colour and nearness tell which
pixels are surely nuclear, surely not, or neither.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from axilla.core.errors import AnnotationError
from axilla.nuclei.reading import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Instances = NDArray[np.int32]

NOT_KNOWN = -1
LEAST_POINTS = 3
"""Of an image: fewer have no neighbours."""
LEAST_IN_ALL = 20
"""Fewer clicks tell no colours apart."""
_CORE_SHARE, _REACH_SHARE = 0.25, 1.2
"""Of half the median distance between neighbours: surely nuclear, and no nucleus reaches so far."""
_CLUSTERS, _ROUNDS = 3, 10


def read_points(path: Path, *, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Read clicks, [n, 2] as x and y in pixels, from a GeoJSON of points, as QuPath exports them.

    Parameters
    ----------
    path
        Features of type Point or MultiPoint.
    shape
        Height and width of the image.

    Raises
    ------
    AnnotationError
        The file does not open, holds something else, too few points, or one outside the image.
    """
    remedy = "Export the points of this image from QuPath as GeoJSON."
    try:
        too_large = path.stat().st_size > MAX_BYTES
        content = None if too_large else json.loads(path.read_bytes())
    except OSError as error:
        raise AnnotationError(
            f"does not open ({error.strerror}).", "Correct the path.", file=path
        ) from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError("is no JSON.", remedy, file=path) from error
    if too_large:
        raise AnnotationError(f"has more than {MAX_BYTES:,} bytes.", remedy, file=path)
    try:
        points = np.array(_coordinates(content), dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise AnnotationError("holds something else than points.", remedy, file=path) from error
    height, width = shape
    outside = ~((points >= 0) & (points < (width, height))).all(axis=1)
    if outside.any():
        x, y = points[outside][0]
        raise AnnotationError(
            f"has {outside.sum():,} points outside the image of {width} x {height} pixels, the "
            f"first at {x:g}, {y:g}.", remedy, file=path,
        )  # fmt: skip
    # A click that was stored twice is one nucleus: the spacing of points tells the nuclei's.
    points = points[np.sort(np.unique(points, axis=0, return_index=True)[1])]
    if len(points) < LEAST_POINTS:
        raise AnnotationError(
            f"has {len(points)} points.", f"Click {LEAST_POINTS} nuclei or more.", file=path
        )
    return points


def _coordinates(content: Any) -> list[tuple[float, float]]:
    """Every point of a FeatureCollection, a list of features, or one of these.

    Raises
    ------
    ValueError
        Something is no point.
    """
    if isinstance(content, dict) and isinstance(content.get("features"), list):
        content = content["features"]
    found: list[tuple[float, float]] = []
    for feature in content if isinstance(content, list) else [content]:
        geometry = feature.get("geometry", feature) if isinstance(feature, dict) else None
        if not isinstance(geometry, dict) or geometry.get("type") not in ("Point", "MultiPoint"):
            raise ValueError("no point")
        points = geometry.get("coordinates")
        if not isinstance(points, list):
            raise TypeError("a point without its place")
        for x, y, *_ in [points] if geometry["type"] == "Point" else points:
            found.append((float(x), float(y)))
    return found


def instances_from_points(pixels: Pixels, points: NDArray[np.float64]) -> Instances:
    """Nuclei as far as points and colours tell them.

    Parameters
    ----------
    pixels
        RGB [h, w, 3].
    points
        [n, 2], x and y of a point in every nucleus.

    Returns
    -------
    ndarray
        int32 [h, w]: a nucleus's number where surely nuclear, 0 where surely not, else -1.
    """
    near, owner, spacing = _cells(pixels.shape[:2], points)
    core, reach = _CORE_SHARE * spacing, _REACH_SHARE * spacing
    cluster = _clustered(pixels, near, reach=reach)
    in_core = near <= core
    share = np.array([(cluster[in_core] == k).mean() for k in range(_CLUSTERS)])
    far = np.array([near[cluster == k].mean() for k in range(_CLUSTERS)])
    nuclear = int(share.argmax())
    background = int(np.where(np.arange(_CLUSTERS) == nuclear, -np.inf, far).argmax())
    found = np.full(near.shape, NOT_KNOWN, np.int32)
    found[(cluster == background) | (near > reach) | _borders(owner)] = 0
    sure = (cluster == nuclear) & (near <= reach) & ~_borders(owner)
    return with_points(np.where(sure | in_core, owner + 1, 0), found, points)


def refined(
    nuclear: NDArray[np.float32], points: NDArray[np.float64], *, unsure: float = 0.2
) -> Instances:
    """The same from what a network, trained on these, says of every pixel, [h, w]."""
    _, owner, _ = _cells(nuclear.shape, points)
    found = np.where(np.abs(nuclear - 0.5) < unsure, NOT_KNOWN, 0).astype(np.int32)
    sure = (nuclear >= 0.5 + unsure) & ~_borders(owner)
    return with_points(np.where(sure, owner + 1, 0), found, points)


def with_points(
    cells: NDArray[np.integer], found: Instances, points: NDArray[np.float64]
) -> Instances:
    """What of each cell hangs together with its point, filled; the rest of it is not known."""
    for number, window in enumerate(ndimage.find_objects(cells, max_label=len(points)), start=1):
        if window is None:
            continue
        own = cells[window] == number
        pieces, _ = ndimage.label(own)
        x, y = np.floor(points[number - 1]).astype(int)
        row, column = y - window[0].start, x - window[1].start
        inside = 0 <= row < own.shape[0] and 0 <= column < own.shape[1]
        piece = pieces[row, column] if inside else 0
        part = found[window]
        part[own] = NOT_KNOWN
        if piece:
            part[ndimage.binary_fill_holes(pieces == piece)] = number
    return found


def _cells(
    shape: tuple[int, ...], points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], float]:
    """Distance to the nearest point and whose cell it is, [h, w]; half the median spacing."""
    tree = KDTree(points)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    near, owner = tree.query(np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1))
    spacing = float(np.median(tree.query(points, k=2)[0][:, 1])) / 2
    return near.reshape(shape[:2]), owner.reshape(shape[:2]), spacing


def _borders(owner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels at whose right or lower neighbour another cell begins."""
    border = np.zeros(owner.shape, bool)
    border[:, :-1] |= owner[:, :-1] != owner[:, 1:]
    border[:-1] |= owner[:-1] != owner[1:]
    return border


def _clustered(pixels: Pixels, near: NDArray[np.float64], *, reach: float) -> NDArray[np.int64]:
    """Clusters of colour and nearness, [h, w], 0 to 2."""
    colours = cv2.GaussianBlur(pixels, (0, 0), 1.0).reshape(-1, 3).astype(np.float32)
    spread = colours.std(axis=0) + 1e-6
    nearness = np.clip(near / reach, 0, 1).reshape(-1, 1).astype(np.float32) * 2
    values = np.hstack([(colours - colours.mean(axis=0)) / spread, nearness])
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
    _, labels, _ = cv2.kmeans(values, _CLUSTERS, None, stop, _ROUNDS, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return np.asarray(labels.reshape(pixels.shape[:2]), dtype=np.int64)
