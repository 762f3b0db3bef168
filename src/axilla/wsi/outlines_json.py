"""Outlines of BCNB JSON and QuPath GeoJSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from axilla.wsi.outlines import OutlineError, Outlines, join, to_polygon, to_ring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shapely import MultiPolygon, Polygon


def parse_json(data: bytes) -> Outlines:
    """Read the outlines of a JSON file, told apart by its keys.

    Raises
    ------
    OutlineError
        No JSON, of another layout, or with polygons that cannot be used.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OutlineError(
            "is neither JSON nor XML.",
            "Export it again as BCNB JSON, ASAP XML, QuPath GeoJSON or ImageScope XML.",
        ) from error
    if isinstance(content, dict) and "positive" in content:
        return Outlines(
            positive=tuple(_bcnb(content, "positive")), negative=tuple(_bcnb(content, "negative"))
        )
    if isinstance(content, list) or (isinstance(content, dict) and "type" in content):
        return Outlines(positive=tuple(_features(content)))
    raise OutlineError(
        "is JSON of an unknown layout.",
        'Give {"positive": [{"vertices": [[x, y], ...]}]} or GeoJSON.',
    )


def _bcnb(content: dict[str, Any], key: str) -> Iterator[Polygon | MultiPolygon]:
    outlines = content.get(key) or []
    if not isinstance(outlines, list):
        raise OutlineError(f"is malformed: `{key}` is not a list.", "Export it again.")
    for number, outline in enumerate(outlines, start=1):
        name = f"{key} polygon {number}"
        if not isinstance(outline, dict):
            raise OutlineError(f"is malformed: {name} has no `vertices`.", "Export it again.")
        yield to_polygon(to_ring(outline.get("vertices"), name=name), name=name)


def _features(content: Any) -> Iterator[Polygon | MultiPolygon]:
    """One polygon a feature; a bare geometry counts as a feature."""
    if isinstance(content, dict):
        inner = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    else:
        inner = content
    if not isinstance(inner, list):
        raise OutlineError("is malformed: `features` is not a list.", "Export it again.")
    for number, feature in enumerate(inner, start=1):
        if not isinstance(feature, dict):
            raise OutlineError(f"is malformed: feature {number} is no object.", "Export it again.")
        is_feature = feature.get("type") == "Feature"
        if is_feature and not _counts(feature.get("properties")):
            continue
        parts = list(_geometry(feature.get("geometry") if is_feature else feature, number))
        if parts:
            yield parts[0] if len(parts) == 1 else join(parts)


def _counts(properties: Any) -> bool:
    """Whether QuPath means an outline: not a detected cell, not a class `Ignore*`."""
    if not isinstance(properties, dict):
        return True
    given = properties.get("classification")
    name = given.get("name") if isinstance(given, dict) else given
    ignored = isinstance(name, str) and name.startswith("Ignore")
    return not ignored and properties.get("objectType", "annotation") == "annotation"


def _geometry(geometry: Any, number: int) -> Iterator[Polygon | MultiPolygon]:
    """Polygons of one geometry; points and lines have none."""
    if not isinstance(geometry, dict):
        return
    name = f"feature {number}"
    kind = geometry.get("type")
    coordinates = geometry.get("coordinates")
    if kind == "GeometryCollection":
        for part in geometry.get("geometries") or []:
            # One level only: a collection in a collection is not GeoJSON that any viewer writes.
            if isinstance(part, dict) and part.get("type") != "GeometryCollection":
                yield from _geometry(part, number)
        return
    if kind not in {"Polygon", "MultiPolygon"}:
        return
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list):
        raise OutlineError(f"is malformed: {name} has no coordinates.", "Export it again.")
    for rings in polygons:
        if not isinstance(rings, list) or not rings:
            raise OutlineError(f"is malformed: {name} has an empty polygon.", "Export it again.")
        shell, *holes = (to_ring(ring, name=name) for ring in rings)
        yield to_polygon(shell, holes, name=name)
