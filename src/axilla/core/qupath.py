"""Patches and nuclei as QuPath reads them: GeoJSON with measurements, in level-0 pixels."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from axilla.core.types import SlidePixels


def patch_tiles(
    xy: ArrayLike,
    *,
    size_level0: SlidePixels,
    measurements: Mapping[str, ArrayLike],
    origin: tuple[int, int] = (0, 0),
) -> str:
    """Write patches as a GeoJSON FeatureCollection of QuPath tiles.

    Parameters
    ----------
    xy
        [n, 2], top left corner of each patch in level-0 pixels.
    size_level0
        Side of a patch in level-0 pixels.
    measurements
        [n] values by the name that QuPath shows; one that is not finite is left out of its patch.
    origin
        Level-0 pixel that QuPath counts from: of some slides it shows the scanned part only.

    Returns
    -------
    str
        One feature a line, in the order of the patches. QuPath 0.4 and later open it by dragging
        it onto the slide, and colour the tiles by Measure > Show measurement maps.

    Notes
    -----
    Format: QuPath's documentation, 'Exporting annotations' (GeoJSON, `objectType`,
    `measurements`).
    """
    corners = np.asarray(xy).reshape(-1, 2) - np.asarray(origin)
    side = int(size_level0)
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in measurements.items()}
    lines = [
        json.dumps(
            _tile(int(x), int(y), side, {name: float(v[i]) for name, v in columns.items()}),
            ensure_ascii=False,
        )
        for i, (x, y) in enumerate(corners)
    ]
    return '{"type": "FeatureCollection", "features": [\n' + ",\n".join(lines) + "\n]}\n"


def detection(ring: ArrayLike, *, kind: str, measurements: Mapping[str, float]) -> str:
    """Write one outlined object as a GeoJSON feature, a QuPath detection, in one line.

    Parameters
    ----------
    ring
        [k, 2], x and y in pixels as QuPath counts them, along the pixels' edges; closed here.
    kind
        Its class in QuPath.
    measurements
        By the name that QuPath shows; one that is not finite is left out.
    """
    points = np.round(np.asarray(ring, dtype=np.float64), 2)
    # JSON knows no 12.0 and 12: without the zeros a slide's file is a quarter smaller.
    corners = [[int(v) if v == int(v) else v for v in point] for point in points.tolist()]
    properties = {
        "objectType": "detection",
        "classification": {"name": kind},
        "measurements": {
            name: float(f"{value:.5g}") for name, value in measurements.items() if isfinite(value)
        },
    }
    geometry = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return json.dumps(feature, ensure_ascii=False, separators=(",", ":"))


def _tile(x: int, y: int, side: int, values: Mapping[str, float]) -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "tile",
            "measurements": {name: v for name, v in values.items() if isfinite(v)},
        },
    }
