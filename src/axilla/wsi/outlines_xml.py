"""Outlines of ASAP XML and Aperio ImageScope XML."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from axilla.wsi.outlines import DrawnOn, Outline, OutlineError, Outlines, to_ring

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from numpy.typing import NDArray

_EXCLUDING_GROUPS = frozenset({"_2", "exclusion", "negative", "normal", "exclude", "ignore"})
"""ASAP groups whose areas are not tumour: of CAMELYON16 (`_2`, `Exclusion`), of its reviewers, of
CAMELYON17 (`normal`), and whatever names itself so."""
_POINTS_AND_LINES = frozenset({"dot", "pointset", "measurement"})
_MAX_GROUPS = 50
"""Groups in groups that are followed upwards."""
_SCOPE_ELLIPSE = "2"
_SCOPE_LINES = frozenset({"3", "4"})
"""ImageScope's region types: 0 outline, 1 rectangle, 2 ellipse, 3 arrow, 4 ruler."""


def parse_xml(data: bytes) -> Outlines:
    """Read the outlines of an XML file, told apart by its root.

    Classes: ASAP's group and the groups that it is part of; ImageScope's layer by name and
    description, and the text of the region. A group that excludes has its own name alone, a
    negative region of ImageScope none.

    Raises
    ------
    OutlineError
        No XML, with a document type declaration, of another layout, or an ellipse that is none.
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
    except (expat.ExpatError, ValueError, LookupError) as error:
        # LookupError: the declared encoding does not exist.
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
    parent_of = {
        group.get("Name", ""): group.get("PartOfGroup", "") for group in root.iter("Group")
    }
    shapes = []
    for number, annotation in enumerate(root.iterfind("Annotations/Annotation"), start=1):
        if annotation.get("Type", "").lower() in _POINTS_AND_LINES:
            continue
        groups = _with_parents(annotation.get("PartOfGroup", ""), parent_of)
        excludes = bool(groups) and groups[0].lower() in _EXCLUDING_GROUPS
        shapes.append(
            Outline(
                name=f"annotation {number} (`{annotation.get('Name', '')[:40]}`)",
                parts=((_vertices(annotation, "Coordinates/Coordinate"),),),
                classes=groups[:1] if excludes else groups,
                use="cut" if excludes else "area",
                drawn_as=groups[0] if groups else None,
            )
        )
    return Outlines(tuple(shapes))


def _with_parents(group: str, parent_of: Mapping[str, str]) -> tuple[str, ...]:
    """A group and those that it is part of, the nearest first; ASAP writes `None` for none."""
    found: list[str] = []
    while group and group != "None" and group not in found and len(found) < _MAX_GROUPS:
        found.append(group)
        group = parent_of.get(group, "")
    return tuple(found)


def _image_scope(root: Element) -> Outlines:
    shapes = []
    number = 0
    for place, layer in enumerate(root.iterfind("Annotation")):
        classes = _layer_names(layer)
        regions = list(layer.iterfind("Regions/Region"))
        closed = [region for region in regions if region.get("Type") not in _SCOPE_LINES]
        # A negative region is the layer's own; a layer of nothing else is meant for all.
        alone = all(region.get("NegativeROA") == "1" for region in closed)
        for region in regions:
            number += 1
            if region.get("Type") in _SCOPE_LINES:
                continue
            name = f"region {number}"
            vertices: Any = _vertices(region, "Vertices/Vertex")
            if region.get("Type") == _SCOPE_ELLIPSE and len(vertices) == 2:
                vertices = _ellipse(vertices, name).tolist()
            text = region.get("Text", "").strip()
            cut = region.get("NegativeROA") == "1"
            shapes.append(
                Outline(
                    name=name,
                    parts=((vertices,),),
                    classes=() if cut else (*classes, text) if text else classes,
                    use="cut" if cut else "area",
                    layer=None if alone else place,
                    drawn_as=classes[0] if classes else None,
                )
            )
    return Outlines(tuple(shapes), drawn_on=DrawnOn(mpp=_mpp(root)))


def _layer_names(layer: Element) -> tuple[str, ...]:
    """Name and description of a layer: ImageScope keeps the latter among its attributes."""
    found = [layer.get("Name", ""), layer.get("Description", "")]
    for attribute in layer.iterfind("Attributes/Attribute"):
        found += [attribute.get("Value", ""), attribute.get("Name", "")]
    names = (name.strip() for name in found)
    # Every layer's attribute is called Description: that says nothing.
    return tuple(dict.fromkeys(n for n in names if n and n.lower() != "description"))


def _mpp(root: Element) -> float | None:
    try:
        value = float(root.get("MicronsPerPixel", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _vertices(shape: Element, path: str) -> list[tuple[str | None, str | None]]:
    # Paths, not all descendants: elements nested a million deep would be gone through each time.
    return [(at.get("X"), at.get("Y")) for at in shape.iterfind(path)]


def _ellipse(vertices: list[tuple[str | None, str | None]], name: str) -> NDArray[np.float64]:
    """ImageScope gives an ellipse by two corners of its box: 128 points on it, [128, 2]."""
    (left, top), (right, bottom) = vertices
    box = to_ring([(left, top), (right, top), (right, bottom), (left, bottom)], name=name)
    centre, radii = (box[0] + box[2]) / 2, np.abs(box[2] - box[0]) / 2
    angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    ring: NDArray[np.float64] = centre + radii * np.column_stack([np.cos(angle), np.sin(angle)])
    return ring
