"""Outlines of ASAP XML and Aperio ImageScope XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from axilla.wsi.outlines import OutlineError, Outlines, to_polygon, to_ring

if TYPE_CHECKING:
    from typing import NoReturn

    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

_EXCLUDING_GROUPS = frozenset({"_2", "exclusion", "negative"})
"""ASAP groups of CAMELYON16 (`_2`, `Exclusion`) and of its reviewers whose areas are not tumour."""
_POINTS_AND_LINES = frozenset({"dot", "pointset", "measurement"})
_SCOPE_ELLIPSE = "2"
_SCOPE_LINES = frozenset({"3", "4"})
"""ImageScope's region types: 0 outline, 1 rectangle, 2 ellipse, 3 arrow, 4 ruler."""


def parse_xml(data: bytes) -> Outlines:
    """Read the outlines of an XML file, told apart by its root.

    Raises
    ------
    OutlineError
        No XML, with a document type declaration, of another layout, or with polygons that cannot
        be used.
    """
    root = _tree(data)
    if root.tag == "ASAP_Annotations":
        return _asap(root)
    if root.tag == "Annotations":
        return _image_scope(root)
    raise OutlineError(
        f"is XML of an unknown layout (root `{root.tag[:40]}`).", "Give ASAP or ImageScope XML."
    )


def _tree(data: bytes) -> Element:
    """Elements and attributes only; a document type is refused, so no entity can be declared."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        if isinstance(error, OutlineError):
            raise
        raise OutlineError(f"is not well-formed XML ({error}).", "Export it again.") from error
    return builder.close()


def _refuse_doctype(*_: object) -> NoReturn:
    raise OutlineError(
        "has a document type declaration, which no annotation needs and which is not read.",
        "Remove the <!DOCTYPE ...> or export it again.",
    )


def _asap(root: Element) -> Outlines:
    positive: list[Polygon | MultiPolygon] = []
    negative: list[Polygon | MultiPolygon] = []
    for number, annotation in enumerate(root.iter("Annotation"), start=1):
        if annotation.get("Type", "").lower() in _POINTS_AND_LINES:
            continue
        name = f"annotation {number} (`{annotation.get('Name', '')[:40]}`)"
        vertices = [(at.get("X"), at.get("Y")) for at in annotation.iter("Coordinate")]
        group = annotation.get("PartOfGroup", "").lower()
        into = negative if group in _EXCLUDING_GROUPS else positive
        into.append(to_polygon(to_ring(vertices, name=name), name=name))
    return Outlines(positive=tuple(positive), negative=tuple(negative))


def _image_scope(root: Element) -> Outlines:
    positive: list[Polygon | MultiPolygon] = []
    negative: list[Polygon | MultiPolygon] = []
    for number, region in enumerate(root.iter("Region"), start=1):
        kind = region.get("Type", "0")
        if kind in _SCOPE_LINES:
            continue
        name = f"region {number}"
        vertices = [(at.get("X"), at.get("Y")) for at in region.iter("Vertex")]
        ring = _ellipse(vertices, name) if kind == _SCOPE_ELLIPSE else to_ring(vertices, name=name)
        into = negative if region.get("NegativeROA") == "1" else positive
        into.append(to_polygon(ring, name=name))
    return Outlines(positive=tuple(positive), negative=tuple(negative))


def _ellipse(vertices: list[tuple[str | None, str | None]], name: str) -> NDArray[np.float64]:
    """ImageScope gives an ellipse by two corners of its box: 128 points on it, [128, 2]."""
    if len(vertices) != 2:
        return to_ring(vertices, name=name)
    (left, top), (right, bottom) = vertices
    box = to_ring([(left, top), (right, top), (right, bottom), (left, bottom)], name=name)
    centre, radii = (box[0] + box[2]) / 2, np.abs(box[2] - box[0]) / 2
    angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    ring: NDArray[np.float64] = centre + radii * np.column_stack([np.cos(angle), np.sin(angle)])
    return ring
