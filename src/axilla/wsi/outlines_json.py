"""Outlines of BCNB JSON and QuPath GeoJSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from axilla.wsi.outlines import DrawnOn, Outline, OutlineError, Outlines

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTHS = ("width", "imageWidth", "image_width")
_HEIGHTS = ("height", "imageHeight", "image_height")
_NOT_DRAWN = (
    "PathDetectionObject", "PathCellObject", "PathTileObject", "TMACoreObject", "PathRootObject",
)  # fmt: skip
_NAMES = ("imagePath", "image_name", "imageName", "filename", "name")


def parse_json(data: bytes) -> Outlines:
    """Read the outlines of a JSON file, told apart by its keys.

    Classes: `positive` and `negative` of BCNB; of QuPath the classification (of a derived one,
    `Tumor: Positive`, each part too), or the annotation's name where it has none.

    Raises
    ------
    OutlineError
        No JSON, or of another layout.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OutlineError(
            "is neither JSON nor XML.",
            "Export it again as BCNB JSON, ASAP XML, QuPath GeoJSON or ImageScope XML.",
        ) from error
    if isinstance(content, dict) and "positive" in content:
        shapes = (*_bcnb(content, "positive"), *_bcnb(content, "negative"))
        return Outlines(shapes, drawn_on=_drawn_on(content))
    if isinstance(content, list) or (isinstance(content, dict) and "type" in content):
        drawn_on = replace(_drawn_on(content), by_qupath=_is_of_qupath(content))
        return Outlines(tuple(_features(content)), drawn_on=drawn_on)
    raise OutlineError(
        "is JSON of an unknown layout.",
        'Give {"positive": [{"vertices": [[x, y], ...]}]} or GeoJSON.',
    )


def _bcnb(content: dict[str, Any], key: str) -> Iterator[Outline]:
    outlines = content.get(key) or []
    if not isinstance(outlines, list):
        raise OutlineError(f"is malformed: `{key}` is not a list.", "Export it again.")
    for number, outline in enumerate(outlines, start=1):
        name = f"{key} polygon {number}"
        if not isinstance(outline, dict):
            raise OutlineError(f"is malformed: {name} has no `vertices`.", "Export it again.")
        yield Outline(
            name=name,
            parts=((outline.get("vertices"),),),
            classes=(key,),
            use="area" if key == "positive" else "cut",
            drawn_as=key,
        )


def _features(content: Any) -> Iterator[Outline]:
    """One outline a feature; a bare geometry counts as a feature."""
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
        properties = feature.get("properties") if is_feature else None
        properties = properties if isinstance(properties, dict) else {}
        if not _is_outline(feature, properties):
            continue
        name = f"feature {number}"
        parts = tuple(_geometry(feature.get("geometry") if is_feature else feature, name))
        if parts:
            classes = _classes(properties)
            chosen = classes[0] if classes and properties.get("classification") else None
            ignored = chosen is not None and chosen.startswith("Ignore")
            yield Outline(
                name=name,
                parts=parts,
                classes=classes,
                use="cut" if ignored else "area",
                drawn_as=chosen,
            )


def _is_outline(feature: dict[str, Any], properties: dict[str, Any]) -> bool:
    """Whether somebody drew it: no detected cell, no tile, no core of an array.

    QuPath before 0.3 says it in the `id` alone; scripts write that `id` beside an `objectType`.
    """
    if "objectType" in properties:
        return bool(properties["objectType"] == "annotation")
    return feature.get("id") not in _NOT_DRAWN


def _is_of_qupath(content: Any) -> bool:
    """Whether a feature says what kind of QuPath's objects it is, as all that it exports do.

    From version 0.3 on in `objectType`; before, in the feature's `id`.
    """
    found = content.get("features", [content]) if isinstance(content, dict) else content
    features = [f for f in found if isinstance(f, dict)] if isinstance(found, list) else []
    return any(
        (isinstance(own := feature.get("properties"), dict) and "objectType" in own)
        or str(feature.get("id")).startswith("Path")
        for feature in features
    )


def _classes(properties: dict[str, Any]) -> tuple[str, ...]:
    """The classification whole, then its parts; the annotation's name where there is none."""
    given = properties.get("classification")
    if isinstance(given, dict):
        several = given.get("names")
        if isinstance(several, list):
            parts = [part for part in several if isinstance(part, str)]
            return (": ".join(parts), *parts) if parts else ()
        given = given.get("name")
    if not isinstance(given, str) or not given:
        given = properties.get("name")
    if not isinstance(given, str) or not given:
        return ()
    parts = given.split(": ")
    return (given, *parts) if len(parts) > 1 else (given,)


def _geometry(geometry: Any, name: str) -> Iterator[tuple[Any, ...]]:
    """Rings of each polygon of one geometry; points and lines have none."""
    if not isinstance(geometry, dict):
        return
    kind = geometry.get("type")
    coordinates = geometry.get("coordinates")
    if kind == "GeometryCollection":
        inner = geometry.get("geometries") or []
        if not isinstance(inner, list):
            raise OutlineError(f"is malformed: {name} has no geometries.", "Export it again.")
        for part in inner:
            # One level only: a collection in a collection is not GeoJSON that any viewer writes.
            if isinstance(part, dict) and part.get("type") != "GeometryCollection":
                yield from _geometry(part, name)
        return
    # Tuples, not sets: what a file calls a type may be a list, which has no hash.
    if kind not in ("Polygon", "MultiPolygon"):
        return
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list):
        raise OutlineError(f"is malformed: {name} has no coordinates.", "Export it again.")
    for rings in polygons:
        if not isinstance(rings, list) or not rings:
            raise OutlineError(f"is malformed: {name} has an empty polygon.", "Export it again.")
        yield tuple(rings)


def _drawn_on(content: Any) -> DrawnOn:
    """Size and name of the image, where somebody's export has them beside the outlines.

    Neither BCNB nor QuPath writes them by itself; scripts put them at the top, or under `image`
    or `metadata`.
    """
    if not isinstance(content, dict):
        return DrawnOn()
    inner = [content.get(key) for key in ("image", "metadata", "properties")]
    places = [place for place in inner if isinstance(place, dict)]
    found = DrawnOn()
    # The top last, and without `name`: there it is the collection's.
    for place, names in [*((p, _NAMES) for p in places), (content, _NAMES[:3])]:
        width, height = (_positive(place, keys) for keys in (_WIDTHS, _HEIGHTS))
        image = next((v for key in names if isinstance(v := place.get(key), str) and v), None)
        size = None if width is None or height is None else (width, height)
        found = DrawnOn(size=found.size or size, image=found.image or image)
    return found


def _positive(place: dict[str, Any], keys: tuple[str, ...]) -> float | None:
    for key in keys:
        value = place.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                continue
            if math.isfinite(number) and number > 0:
                return number
    return None
