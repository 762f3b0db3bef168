"""What is to be cut out of a tumour, where `annotations.keep` chooses among classes."""

from __future__ import annotations

import json

import pytest

from axilla.wsi.outlines import OutlineError
from axilla.wsi.outlines_json import parse_json
from axilla.wsi.outlines_xml import parse_xml

Corners = list[tuple[int, int]]


def box(left: int, top: int, side: int) -> Corners:
    return [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]


def vertices(tag: str, corners: Corners) -> str:
    return "".join(f'<{tag} X="{x}" Y="{y}" Order="{i}"/>' for i, (x, y) in enumerate(corners))


def scope(*layers: tuple[str, list[tuple[str, Corners]]]) -> bytes:
    """ImageScope's layers, each with regions and whether these are negative."""
    inside = ""
    for name, regions in layers:
        shapes = "".join(
            f'<Region Type="0" NegativeROA="{negative}"><Vertices>{vertices("Vertex", corners)}'
            "</Vertices></Region>"
            for negative, corners in regions
        )
        inside += f'<Annotation Name="{name}"><Regions>{shapes}</Regions></Annotation>'
    return f"<Annotations>{inside}</Annotations>".encode()


def asap(groups: dict[str, str], *outlines: tuple[str, Corners]) -> bytes:
    shapes = "".join(
        f'<Annotation Name="a" Type="Polygon" PartOfGroup="{group}"><Coordinates>'
        f"{vertices('Coordinate', corners)}</Coordinates></Annotation>"
        for group, corners in outlines
    )
    above = "".join(f'<Group Name="{g}" PartOfGroup="{p}"/>' for g, p in groups.items())
    return (
        f"<ASAP_Annotations><Annotations>{shapes}</Annotations>"
        f"<AnnotationGroups>{above}</AnnotationGroups></ASAP_Annotations>"
    ).encode()


@pytest.mark.parametrize("keep", [None, ["tumour"]])
def test_a_negative_region_of_image_scope_stays_a_hole(keep: list[str] | None) -> None:
    data = scope(("Tumour", [("0", box(0, 0, 1000)), ("1", box(200, 200, 600))]))
    (area,) = parse_xml(data).areas(keep)
    assert area.polygon.area == 1000**2 - 600**2


def test_a_negative_region_is_its_layers_own() -> None:
    data = scope(
        ("Stroma", [("0", box(0, 0, 1000)), ("1", box(100, 100, 400))]),
        ("Tumour", [("0", box(100, 100, 300))]),
    )
    (tumour,) = parse_xml(data).areas(["tumour"])
    assert tumour.polygon.area == 300**2
    stroma, again = parse_xml(data).areas()
    assert (stroma.polygon.area, again.polygon.area) == (1000**2 - 400**2, 300**2)


def test_a_layer_of_negative_regions_alone_is_cut_out_of_all() -> None:
    data = scope(("Tumour", [("0", box(0, 0, 1000))]), ("Necrosis", [("1", box(0, 0, 500))]))
    ruler = b'<Region Type="4" NegativeROA="0"><Vertices/></Region></Regions>'
    assert parse_xml(data.replace(b"</Regions>", ruler)).areas()[0].polygon.area == 750_000
    for keep in (None, ["tumour"]):
        (area,) = parse_xml(data).areas(keep)
        assert area.polygon.area == 1000**2 - 500**2
    with pytest.raises(OutlineError, match=r"its classes are Tumour \(1\)\."):
        parse_xml(data).areas(["necrosis"])


@pytest.mark.parametrize("group", ["Exclusion", "_2", "negative"])
def test_a_group_of_asap_that_excludes_is_not_kept_with_the_one_above(group: str) -> None:
    data = asap(
        {"Tumor": "None", group: "Tumor"}, ("Tumor", box(0, 0, 1000)), (group, box(200, 200, 600))
    )
    for keep in (None, ["tumor"]):
        (area,) = parse_xml(data).areas(keep)
        assert area.polygon.area == 1000**2 - 600**2
    (named,) = parse_xml(data).areas([group])
    assert named.polygon.area == 600**2, "asked for by its own name"


def test_normal_tissue_of_camelyon17_is_cut_out() -> None:
    data = asap({}, ("metastases", box(0, 0, 1000)), ("normal", box(0, 0, 500)))
    (area,) = parse_xml(data).areas()
    assert area.polygon.area == 1000**2 - 500**2
    with pytest.raises(OutlineError, match="holds outlines of what is no tumour, and none of"):
        parse_xml(asap({}, ("normal", box(0, 0, 500)))).areas()


def test_what_old_versions_of_qupath_detected_is_no_outline() -> None:
    def feature(kind: str, side: int, **properties: str) -> dict[str, object]:
        ring = [*map(list, box(0, 0, side))]
        return {
            "type": "Feature",
            "id": kind,
            "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
            "properties": {"classification": {"name": "Tumor"}, **properties},
        }

    kinds = ["PathCellObject", "PathDetectionObject", "PathTileObject", "TMACoreObject"]
    content = [feature("PathAnnotationObject", 1000), *(feature(kind, 10) for kind in kinds)]
    for keep in (None, ["tumor"]):
        (area,) = parse_json(json.dumps(content).encode()).areas(keep)
        assert area.polygon.area == 1000**2
    told = feature("PathCellObject", 500, objectType="annotation")
    assert len(parse_json(json.dumps([told]).encode()).areas()) == 1, "`objectType` goes first"


def test_what_qupath_ignores_is_cut_out() -> None:
    def feature(name: str, corners: Corners) -> dict[str, object]:
        ring = [list(corner) for corner in (*corners, corners[0])]
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }

    content = [feature("Tumor", box(0, 0, 1000)), feature("Ignore*", box(0, 0, 500))]
    for keep in (None, ["tumor"]):
        (area,) = parse_json(json.dumps(content).encode()).areas(keep)
        assert (area.polygon.area, area.drawn_as) == (1000**2 - 500**2, "Tumor")
    with pytest.raises(OutlineError, match="none of tumour"):
        parse_json(json.dumps(content[1:]).encode()).areas()
