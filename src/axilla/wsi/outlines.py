"""Vertices, as files hold them, to valid polygons."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_MAX_COORDINATE = 2.0**31
"""Patch coordinates are int32; no slide is as large."""
_SHOWN_CLASSES = 20
"""Most classes that an error lists."""


class OutlineError(ValueError):
    """What is wrong in an annotation; `read_annotation` adds whose it is."""

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause} {remedy}")


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One closed shape as the file holds it; its vertices are looked at only when it is used."""

    name: str
    """What to call it in an error, such as `positive polygon 2`."""
    parts: tuple[tuple[Any, ...], ...]
    """The rings of each part, the outer one first, the others holes."""
    classes: tuple[str, ...] = ()
    """Names by which `annotations.keep` may call for it; the first one is shown. What is to be cut
    out has its own alone, not those of the area around it: it would be called for together with it.
    """
    use: Literal["area", "cut"] = "area"
    """Without `keep`: an area of tumour, or to be cut out of such areas."""
    drawn_as: str | None = None
    """Its class, where somebody chose one among several; no free name."""
    layer: int | None = None
    """What is to be cut out of areas of one layer only names it; None is cut out of all."""


@dataclass(frozen=True, slots=True)
class DrawnOn:
    """What a file says of the image that it was drawn on; None where it does not say."""

    size: tuple[float, float] | None = None
    """Width and height in pixels."""
    mpp: float | None = None
    """µm per pixel."""
    image: str | None = None
    """The image's file name."""
    by_qupath: bool = False
    """Whether QuPath wrote it, which shows of some slides only the scanned part."""


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A part of the slide, whether its outline had to be repaired, and its class."""

    polygon: Polygon | MultiPolygon
    repaired: bool = False
    drawn_as: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """What an annotation holds."""

    shapes: tuple[Outline, ...]
    drawn_on: DrawnOn = field(default_factory=DrawnOn)

    def areas(self, keep: Sequence[str] | None = None) -> tuple[Area, ...]:
        """Areas of tumour in their order, without what is to be cut out of them.

        Parameters
        ----------
        keep
            Classes that count as tumour, whatever their case; None takes what the format says.

        Raises
        ------
        OutlineError
            There is none, nothing is left of them, or one cannot be used.
        """
        chosen = self._chosen(keep)
        areas = [_area(shape) for shape in chosen]
        taken = set(map(id, chosen))
        cuts = [s for s in self.shapes if s.use == "cut" and id(s) not in taken]
        holes = [_area(shape) for shape in cuts]
        left: list[Area | None] = list(areas)
        try:
            for layer in dict.fromkeys(shape.layer for shape in chosen):
                own = [h for c, h in zip(cuts, holes, strict=True) if c.layer in (None, layer)]
                here = [place for place, shape in enumerate(chosen) if shape.layer == layer]
                for place, rest in zip(here, _without([areas[i] for i in here], own), strict=True):
                    left[place] = rest
        except shapely.errors.ShapelyError as error:
            raise OutlineError(
                "has negative outlines that cannot be cut out of the others.",
                "Draw them anew and export again.",
            ) from error
        kept = tuple(
            replace(area, drawn_as=shape.drawn_as)
            for shape, area in zip(chosen, left, strict=True)
            if area is not None
        )
        if not kept:
            raise OutlineError(
                "holds no area of tumour: its negative outlines cover all others.",
                "Correct the outlines.",
            )
        return kept

    def _chosen(self, keep: Sequence[str] | None) -> list[Outline]:
        usual = [shape for shape in self.shapes if shape.use == "area"]
        if not (usual or (keep and self.shapes)):
            raise OutlineError(
                "holds outlines of what is no tumour, and none of tumour."
                if self.shapes
                else "holds no polygon.",
                "Outline the tumour with a closed shape and export again, or set "
                "`regions: tissue`.",
            )
        if keep is None:
            return usual
        wanted = {_folded(name) for name in keep}
        chosen = [s for s in self.shapes if wanted & {_folded(name) for name in s.classes}]
        if not chosen:
            raise OutlineError(
                f"has no outline of the class {' or '.join(map(_shown, keep))}, which "
                f"`annotations.keep` names; its classes are {self._classes()}.",
                "Name one of these in `annotations.keep`, leave `keep` out, or correct the file.",
            )
        return chosen

    def _classes(self) -> str:
        """The classes with the number of their outlines, most frequent first."""
        named = [s for s in self.shapes if s.classes or s.use != "cut"]
        counts = Counter(s.classes[0] if s.classes else "" for s in named).most_common()
        texts = [f"{_shown(name) or 'unnamed'} ({number})" for name, number in counts]
        more = len(texts) - _SHOWN_CLASSES
        return ", ".join(texts[:_SHOWN_CLASSES]) + (f" and {more} more" if more > 0 else "")


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
        ring = np.array([_pair(vertex) for vertex in vertices]).reshape(-1, 2)
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
    return _repaired(shell, holes, name=name).polygon


def _area(shape: Outline) -> Area:
    """The valid polygon of an outline, its parts merged."""
    parts = []
    for rings in shape.parts:
        shell, *holes = (to_ring(ring, name=shape.name) for ring in rings)
        parts.append(_repaired(shell, holes, name=shape.name))
    if len(parts) == 1:
        return parts[0]
    try:
        joined = _polygonal(shapely.union_all([part.polygon for part in parts]))
    except shapely.errors.ShapelyError:
        joined = None
    if joined is None:
        raise _no_area(shape.name)
    return Area(joined, repaired=any(part.repaired for part in parts))


def _repaired(
    shell: NDArray[np.float64], holes: Iterable[NDArray[np.float64]], *, name: str
) -> Area:
    polygon = Polygon(shell, list(holes))
    if polygon.is_valid and polygon.area > 0:
        return Area(polygon)
    try:
        # Ring by ring: repaired as one, a hole that lies outside would become tissue. By structure,
        # not by the even-odd rule: a pen that went round twice encloses all of it, not nothing.
        outer = _valid(Polygon(polygon.exterior))
        inner = shapely.union_all([_valid(Polygon(hole)) for hole in polygon.interiors])
        mended = _polygonal(outer.difference(inner))
    except shapely.errors.ShapelyError:
        mended = None
    if mended is None:
        raise _no_area(name)
    return Area(mended, repaired=True)


def _valid(polygon: Polygon) -> shapely.Geometry:
    return shapely.make_valid(polygon, method="structure", keep_collapsed=False)


def _without(areas: list[Area], holes: list[Area]) -> list[Area | None]:
    """What is left of each area; None of one that the holes cover wholly."""
    if not holes:
        return list(areas)
    cut = shapely.union_all([hole.polygon for hole in holes])
    mended = shapely.union_all([hole.polygon for hole in holes if hole.repaired])
    found: list[Area | None] = []
    for area in areas:
        left = _polygonal(area.polygon.difference(cut))
        repaired = area.repaired or area.polygon.intersects(mended)
        found.append(None if left is None else Area(left, repaired=repaired))
    return found


def _pair(vertex: Any) -> tuple[float, float]:
    # Text unpacks into its letters: `["12", "34", "56"]` would become a triangle.
    if not isinstance(vertex, list | tuple):
        raise TypeError("not a pair")
    x, y, *_ = vertex
    return float(x), float(y)


def _no_area(name: str) -> OutlineError:
    return OutlineError(
        f"has no area in {name}.", "Delete that outline or draw it anew, and export again."
    )


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _shown(name: str) -> str:
    """A class name from a file, fit for a sentence: short, and of characters that can be told."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(name[:80].split()))[:40]


def _polygonal(geometry: shapely.Geometry) -> Polygon | MultiPolygon | None:
    """Keep the parts with an area: make_valid leaves points and lines of degenerate pieces."""
    # Twice, because a collection may hold multipolygons.
    flat = shapely.get_parts(shapely.get_parts(geometry))
    parts = [part for part in flat if isinstance(part, Polygon) and part.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
