"""Patches as QuPath reads them: GeoJSON tiles with measurements, in level-0 pixels."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from axilla.core.types import SlidePixels


def patch_tiles(
    xy: ArrayLike, *, size_level0: SlidePixels, measurements: Mapping[str, ArrayLike]
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
    corners = np.asarray(xy).reshape(-1, 2)
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


def _tile(x: int, y: int, side: int, values: Mapping[str, float]) -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "tile",
            "measurements": {name: v for name, v in values.items() if math.isfinite(v)},
        },
    }
