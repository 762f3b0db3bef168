"""Vertices, as files hold them, to valid polygons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_MAX_COORDINATE = 2.0**31
"""Patch coordinates are int32; no slide is as large."""


class OutlineError(ValueError):
    """What is wrong in an annotation; `read_annotation` adds whose it is."""

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause} {remedy}")


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """What an annotation holds: areas of tumour, and areas to be cut out of them."""

    positive: tuple[Polygon | MultiPolygon, ...]
    negative: tuple[Polygon | MultiPolygon, ...] = ()

    def polygons(self) -> tuple[Polygon | MultiPolygon, ...]:
        """Areas of tumour without the negative ones, in their order.

        Raises
        ------
        OutlineError
            Nothing is left.
        """
        if not self.positive:
            raise OutlineError(
                "holds no polygon.",
                "Outline the tumour with a closed shape and export again, or set "
                "`regions: tissue`.",
            )
        if not self.negative:
            return self.positive
        negative = shapely.union_all(self.negative)
        left = [_polygonal(polygon.difference(negative)) for polygon in self.positive]
        kept = tuple(polygon for polygon in left if polygon is not None)
        if not kept:
            raise OutlineError(
                "holds no area of tumour: its negative outlines cover all others.",
                "Correct the outlines.",
            )
        return kept


def to_ring(vertices: Any, *, name: str) -> NDArray[np.float64]:
    """Parse vertices, pairs of numbers or of their text, to float64 [n, 2], not closed.

    Parameters
    ----------
    vertices
        As the file holds them.
    name
        What to call the polygon in an error.

    Raises
    ------
    OutlineError
        Not pairs of numbers, not finite, or fewer than 3 different vertices.
    """
    try:
        ring = np.array([(float(x), float(y)) for x, y, *_ in vertices]).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise OutlineError(
            f"is malformed: the vertices of {name} are not pairs of numbers.", "Export it again."
        ) from error
    if not (np.abs(ring) < _MAX_COORDINATE).all():
        raise OutlineError(
            f"has coordinates in {name} that are not finite or beyond any slide.",
            "Draw that outline anew and export again.",
        )
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    if len(np.unique(ring, axis=0)) < 3:
        raise OutlineError(
            f"has fewer than 3 different vertices in {name}.",
            "Delete that outline or draw it anew, and export again.",
        )
    return ring


def to_polygon(
    shell: NDArray[np.float64], holes: Iterable[NDArray[np.float64]] = (), *, name: str
) -> Polygon | MultiPolygon:
    """Make a valid polygon of rings [n, 2]; a self-intersecting one falls into parts.

    Raises
    ------
    OutlineError
        It has no area.
    """
    polygon = _polygonal(shapely.make_valid(Polygon(shell, list(holes))))
    if polygon is None:
        raise OutlineError(
            f"has no area in {name}.", "Delete that outline or draw it anew, and export again."
        )
    return polygon


def join(polygons: Iterable[Polygon | MultiPolygon]) -> Polygon | MultiPolygon:
    """Merge the parts of one outline; there is at least one."""
    joined = _polygonal(shapely.union_all(list(polygons)))
    if joined is None:
        raise OutlineError("has a shape without area.", "Draw it anew and export again.")
    return joined


def _polygonal(geometry: shapely.Geometry) -> Polygon | MultiPolygon | None:
    """Keep the parts with an area: make_valid leaves points and lines of degenerate pieces."""
    # Twice, because a collection may hold multipolygons.
    flat = shapely.get_parts(shapely.get_parts(geometry))
    parts = [part for part in flat if isinstance(part, Polygon) and part.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
