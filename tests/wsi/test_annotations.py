from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely

from axilla.core.errors import AnnotationError
from axilla.core.types import Region
from axilla.wsi import annotations
from axilla.wsi.annotations import check_regions, read_annotation

IMAGE = Path("slide.svs")
SQUARE = [[10, 20], [110, 20], [110, 220], [10, 220]]
SECOND = [[300, 0], [340, 0], [320, 50.5]]
BOWTIE = [[0, 0], [10, 10], [10, 0], [0, 10]]


def read(path: Path) -> tuple[Region, ...]:
    return read_annotation(path, slide_id="s1", patient_id="p1", image=IMAGE)


def write(folder: Path, content: object, name: str = "a.json") -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return path


def bcnb(*outlines: object) -> dict[str, object]:
    return {"positive": [{"name": "Annotation", "vertices": o} for o in outlines], "negative": []}


def feature(coordinates: object, kind: str = "Polygon", **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", **properties},
    }


def closed(ring: list[list[float]]) -> list[list[float]]:
    return [*ring, ring[0]]


def asap(*outlines: tuple[str, str, list[list[float]]]) -> str:
    inside = "".join(
        f'<Annotation Name="a" Type="{kind}" PartOfGroup="{group}"><Coordinates>'
        + "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(ring))
        + "</Coordinates></Annotation>"
        for kind, group, ring in outlines
    )
    return f"<ASAP_Annotations><Annotations>{inside}</Annotations></ASAP_Annotations>"


def scope(*outlines: tuple[str, str, list[list[float]]]) -> str:
    inside = "".join(
        f'<Region Id="1" Type="{kind}" NegativeROA="{negative}"><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ring)
        + "</Vertices></Region>"
        for kind, negative, ring in outlines
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Annotations MicronsPerPixel="0.25">'
        f'<Annotation Id="1"><Regions>{inside}</Regions></Annotation></Annotations>'
    )


SAME_TWO = {
    "bcnb.json": bcnb(SQUARE, SECOND),
    "asap.xml": asap(("Polygon", "None", SQUARE), ("Spline", "tumor", SECOND)),
    "scope.xml": scope(("1", "0", SQUARE), ("0", "0", SECOND)),
    "qupath.geojson": {
        "type": "FeatureCollection",
        "features": [feature([closed(SQUARE)]), feature([closed(SECOND)])],
    },
    "list.geojson": [feature([closed(SQUARE)]), feature([closed(SECOND)])],
}


@pytest.mark.parametrize("name", SAME_TWO)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_same_outlines_in_every_format(tmp_path: Path, name: str, encoding: str) -> None:
    content = SAME_TWO[name]
    text = content if isinstance(content, str) else json.dumps(content)
    text = text.replace('encoding="UTF-8"', f'encoding="{encoding.removesuffix("-sig")}"')
    regions = read(write(tmp_path, text.encode(encoding), name))
    assert [region.index for region in regions] == [0, 1]
    assert {region.source for region in regions} == {"annotation"}
    assert {region.image for region in regions} == {IMAGE}
    assert regions[0].polygon.equals(shapely.box(10, 20, 110, 220))
    assert regions[1].polygon.equals(shapely.Polygon(SECOND))


def test_geojson_holes_and_several_parts(tmp_path: Path) -> None:
    hole = closed([[20, 30], [20, 60], [50, 60], [50, 30]])
    (first,) = read(write(tmp_path, feature([closed(SQUARE), hole])))
    assert first.polygon.area == 100 * 200 - 30 * 30
    (both,) = read(
        write(tmp_path, feature([[closed(SQUARE), hole], [closed(SECOND)]], "MultiPolygon"))
    )
    assert both.polygon.geom_type == "MultiPolygon"
    assert both.polygon.area == 100 * 200 - 30 * 30 + 40 * 50.5 / 2


def test_what_is_not_tumour_is_cut_out(tmp_path: Path) -> None:
    inner = [[10, 20], [60, 20], [60, 220], [10, 220]]
    right_half = shapely.box(60, 20, 110, 220)
    for group in ("_2", "Exclusion", "negative"):
        text = asap(("Polygon", "_0", SQUARE), ("Polygon", group, inner))
        assert read(write(tmp_path, text))[0].polygon.equals(right_half)
    text = scope(("0", "0", SQUARE), ("0", "1", inner))
    assert read(write(tmp_path, text))[0].polygon.equals(right_half)
    content = {"positive": [{"vertices": SQUARE}], "negative": [{"vertices": inner}]}
    assert read(write(tmp_path, content))[0].polygon.equals(right_half)


def test_what_is_no_outline_is_left_out(tmp_path: Path) -> None:
    content = [
        feature([5, 5], "Point"),
        feature([[0, 0], [9, 9]], "LineString"),
        feature([closed(SECOND)], objectType="cell"),
        feature([closed(SECOND)], classification={"name": "Ignore*"}),
        feature([closed(SQUARE)], classification={"name": "Tumor"}),
        feature(None, "Unknown"),
    ]
    (region,) = read(write(tmp_path, content))
    assert region.polygon.equals(shapely.box(10, 20, 110, 220))
    text = asap(("Dot", "None", [[1, 1]]), ("Polygon", "None", SQUARE))
    assert len(read(write(tmp_path, text))) == 1
    text = scope(("3", "0", [[1, 1], [5, 5]]), ("0", "0", SQUARE))
    assert len(read(write(tmp_path, text))) == 1


def test_image_scope_ellipse(tmp_path: Path) -> None:
    (region,) = read(write(tmp_path, scope(("2", "0", [[10, 20], [110, 60]]))))
    assert region.polygon.area == pytest.approx(3.14159 * 50 * 20, rel=1e-3)
    assert region.polygon.bounds == pytest.approx((10, 20, 110, 60))


def test_self_intersection_is_repaired(tmp_path: Path) -> None:
    (region,) = read(write(tmp_path, bcnb(BOWTIE)))
    assert region.polygon.is_valid
    assert region.polygon.geom_type == "MultiPolygon"
    assert region.polygon.area == 50
    spike = [[0, 0], [10, 0], [10, 10], [30, 10], [10, 10], [0, 10]]
    (region,) = read(write(tmp_path, bcnb(spike)))
    assert region.polygon.equals(shapely.box(0, 0, 10, 10))


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'
    "<ASAP_Annotations>&y;</ASAP_Annotations>"
)
BAD = {
    "empty": (b"", "is empty"),
    "blank": (b"\xef\xbb\xbf \n", "is empty"),
    "text": ("outlines of Tuesday", "neither JSON nor XML"),
    "binary": (bytes(range(128, 256)), "neither JSON nor XML"),
    "deep": ("[" * 200_000, "neither JSON nor XML"),
    "half json": ('{"positive": [{"vert', "neither JSON nor XML"),
    "half xml": ("<ASAP_Annotations><Annotations>", "not well-formed"),
    "bomb": (BOMB, "document type"),
    "utf-16 bomb": (BOMB.replace("?>", " encoding=\"utf-16\"?>").encode("utf-16"), "document"),
    "other json": ({"shapes": []}, "unknown layout"),
    "other xml": ("<svg><polygon/></svg>", "unknown layout"),
    "number": ("7", "unknown layout"),
    "no outline": (bcnb(), "no polygon"),
    "no outline asap": (asap(), "no polygon"),
    "no outline scope": (scope(), "no polygon"),
    "no outline geojson": ({"type": "FeatureCollection", "features": []}, "no polygon"),
    "points only": (feature([5, 5], "Point"), "no polygon"),
    "two vertices": (bcnb(SQUARE, [[0, 0], [5, 5]]), "fewer than 3"),
    "two different": (bcnb([[0, 0], [5, 5], [0, 0]]), "positive polygon 1"),
    "line": (bcnb([[0, 0], [5, 5], [9, 9]]), "no area"),
    "nan": ('{"positive": [{"vertices": [[0, 0], [5, NaN], [9, 9]]}]}', "not finite"),
    "infinite": (asap(("Polygon", "x", [[0, 0], [1e999, 1], [5, 6]])), "not finite"),
    "huge": (bcnb([[0, 0], [10**400, 1], [5, 6]]), "not pairs of numbers"),
    "far": (bcnb([[0, 0], [1e12, 1], [5, 6]]), "beyond any slide"),
    "words": (bcnb([["a", "b"], [1, 2], [3, 4]]), "not pairs of numbers"),
    "singles": (bcnb([1, 2, 3]), "not pairs of numbers"),
    "missing x": (asap(("Polygon", "x", SQUARE)).replace('X="10"', ""), "not pairs of numbers"),
    "no vertices": ({"positive": [{}]}, "not pairs of numbers"),
    "positive a number": ({"positive": 3}, "not a list"),
    "outline a number": ({"positive": [3]}, "no `vertices`"),
    "features a number": ({"type": "FeatureCollection", "features": 3}, "not a list"),
    "feature a number": ([3], "no object"),
    "no rings": (feature([]), "empty polygon"),
    "parts a number": (feature(3, "MultiPolygon"), "no coordinates"),
    "coordinates a number": (feature(3), "empty polygon"),
    "all negative": (scope(("0", "0", SQUARE), ("0", "1", SQUARE)), "negative outlines cover"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_errors(tmp_path: Path, case: str) -> None:
    content, words = BAD[case]
    path = write(tmp_path, content, "bad.json")
    with pytest.raises(AnnotationError) as caught:
        read(path)
    problem = caught.value.problem
    assert words in problem.cause
    assert (problem.patient, problem.file) == ("p1", path)
    assert problem.remedy
    assert "slide s1" in problem.cause


def test_missing_and_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnnotationError, match="cannot be read"):
        read(tmp_path / "none.json")
    monkeypatch.setattr(annotations, "_MAX_BYTES", 50)
    with pytest.raises(AnnotationError, match="at most"):
        read(write(tmp_path, bcnb(SQUARE)))


def test_regions_outside_their_slide(tmp_path: Path) -> None:
    path = write(tmp_path, bcnb(SQUARE, SECOND, [[-1, 0], [100, 0], [100, 100], [-1, 100]]))
    regions = read(path)
    assert check_regions(regions, size=(400, 300), patient_id="p1", file=path) == ()
    partly, wholly = check_regions(regions, size=(200, 120), patient_id="p1", file=path)
    assert "region 0" in partly.cause
    assert "to 50% outside the slide of 200 x 120" in partly.cause
    assert "region 1" in wholly.cause
    assert "wholly outside" in wholly.cause
    assert {partly.patient, wholly.patient} == {"p1"}
    assert {partly.file, wholly.file} == {path}
    whole = Region(index=0, image=IMAGE, polygon=None, source="whole")
    assert check_regions([whole], size=(1, 1), patient_id="p1") == ()


def shoelace(points: np.ndarray) -> float:
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


@pytest.mark.real_data
def test_asap_of_camelyon(data_dir: Path) -> None:
    path = data_dir / "annotations" / "asap_camelyon16_tumor_092.xml"
    regions = read(path)
    assert [region.index for region in regions] == list(range(5))
    assert all(region.polygon.is_valid for region in regions)
    area = {"tissue": 0.0, "negative": 0.0}
    for block in path.read_text().split("<Annotation ")[1:]:
        group = re.search('PartOfGroup="(.*?)"', block)[1]
        points = re.findall('X="(.*?)" Y="(.*?)"', block)
        area[group] += shoelace(np.array(points, dtype=float))
    # The negative outlines lie inside the others, which do not overlap.
    ours = sum(region.polygon.area for region in regions)
    assert ours == pytest.approx(area["tissue"] - area["negative"], rel=1e-9)


@pytest.mark.real_data
def test_geojson_of_qupath(data_dir: Path) -> None:
    path = data_dir / "annotations" / "qupath05.geojson"
    regions = read(path)
    rings = [f["geometry"]["coordinates"][0] for f in json.loads(path.read_text())["features"]]
    assert len(regions) == len(rings) == 3
    for region, ring in zip(regions, rings, strict=True):
        assert region.polygon.area == pytest.approx(shoelace(np.array(ring[:-1], float)), rel=1e-6)
        assert region.polygon.bounds == (*np.min(ring, axis=0), *np.max(ring, axis=0))


CLASSED = {
    "qupath.geojson": [
        feature([closed(SQUARE)], classification={"name": "Tumor"}),
        feature([closed(SECOND)], classification={"name": "Stroma"}),
        feature([closed(BOWTIE)], name="Vessel"),
    ],
    "asap.xml": asap(
        ("Polygon", "Tumor", SQUARE), ("Polygon", "Stroma", SECOND), ("Polygon", "Vessel", BOWTIE)
    ),
}


def kept(path: Path, *keep: str) -> tuple[Region, ...]:
    return read_annotation(path, slide_id="s1", patient_id="p1", image=IMAGE, keep=keep)


@pytest.mark.parametrize("name", CLASSED)
def test_classes_to_keep(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, CLASSED[name], name)
    assert len(read(path)) == 3
    (tumour,) = kept(path, " TUMOR ")
    assert tumour.polygon.equals(shapely.box(10, 20, 110, 220))
    assert [r.polygon.area for r in kept(path, "stroma", "vessel", "nerve")] == [1010.0, 50.0]
    with pytest.raises(AnnotationError) as caught:
        kept(path, "tumour", "DCIS")
    problem = caught.value.problem
    assert problem.cause == (
        "the annotation of slide s1 has no outline of the class tumour or DCIS, which "
        "`annotations.keep` names; its classes are Tumor (1), Stroma (1), Vessel (1)."
    )
    assert (problem.patient, problem.file) == ("p1", path)


def test_a_file_without_classes_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, [feature([closed(SQUARE)]), feature([closed(SECOND)])])
    with pytest.raises(AnnotationError, match=r"its classes are unnamed \(2\)\."):
        kept(path, "tumor")
    with pytest.raises(AnnotationError, match="holds no polygon"):
        kept(write(tmp_path, bcnb()), "positive")


def test_classes_of_bcnb(tmp_path: Path) -> None:
    inner = [[10, 20], [60, 20], [60, 220], [10, 220]]
    path = write(tmp_path, {"positive": [{"vertices": SQUARE}], "negative": [{"vertices": inner}]})
    assert [r.polygon.area for r in kept(path, "Positive")] == [50 * 200], "negative is cut out"
    assert [r.polygon.area for r in kept(path, "negative")] == [50 * 200]
    assert [r.polygon.area for r in kept(path, "positive", "negative")] == [100 * 200, 50 * 200]


def test_a_derived_class_of_qupath_answers_to_its_parts(tmp_path: Path) -> None:
    content = [
        feature([closed(SQUARE)], classification={"name": "Tumor: Positive"}),
        feature([closed(SECOND)], classification={"names": ["Tumor", "Negative"]}),
        feature([closed(BOWTIE)], classification={"name": "Ignore*"}),
    ]
    path = write(tmp_path, content)
    assert len(read(path)) == 2
    assert len(kept(path, "tumor")) == 2
    assert len(kept(path, "tumor: negative")) == 1
    assert [r.polygon.area for r in kept(path, "ignore*")] == [50], "asked for by name"


def test_a_group_of_asap_answers_to_the_groups_above(tmp_path: Path) -> None:
    text = asap(("Polygon", "invasive", SQUARE), ("Polygon", "fat", SECOND)).replace(
        "</Annotations>",
        '</Annotations><AnnotationGroups><Group Name="invasive" PartOfGroup="tumor"/>'
        '<Group Name="tumor" PartOfGroup="invasive"/></AnnotationGroups>',
    )
    assert len(kept(write(tmp_path, text), "Tumor")) == 1


def test_layers_of_image_scope(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        scope(("0", "0", SQUARE)).replace(
            '<Annotation Id="1">',
            '<Annotation Id="1" Name="Layer 1"><Attributes><Attribute Name="Description" '
            'Id="0" Value="Invasive tumour"/></Attributes>',
        ),
    )
    assert len(kept(path, "layer 1")) == len(kept(path, "invasive TUMOUR")) == 1
    with pytest.raises(AnnotationError, match=r"its classes are Layer 1 \(1\)"):
        kept(path, "description")


def test_an_unused_outline_may_be_wrong(tmp_path: Path) -> None:
    content = [
        feature([closed(SQUARE)], classification={"name": "Tumor"}),
        feature([[[0, 0], [1, 1]]], classification={"name": "Stroma"}),
    ]
    path = write(tmp_path, content)
    assert len(kept(path, "tumor")) == 1
    with pytest.raises(AnnotationError, match="fewer than 3 different vertices in feature 2"):
        read(path)


def test_repairs_are_marked(tmp_path: Path) -> None:
    repeated = [*SQUARE[:2], SQUARE[1], *SQUARE[2:]]
    regions = read(write(tmp_path, bcnb(SQUARE, BOWTIE, repeated)))
    assert [region.repaired for region in regions] == [False, True, False]
    content = {
        "positive": [{"vertices": SQUARE}, {"vertices": SECOND}],
        "negative": [{"vertices": [[20, 30], [50, 60], [50, 30], [20, 60]]}],
    }
    regions = read(write(tmp_path, content))
    assert [region.repaired for region in regions] == [True, False], "by what was cut out of it"


def test_a_pen_that_went_round_twice_encloses_all_of_it(tmp_path: Path) -> None:
    angle = np.linspace(0, 4.2 * np.pi, 200)
    radius = 100 + angle  # never the same line twice
    ring = np.column_stack([200 + radius * np.cos(angle), 200 + radius * np.sin(angle)])
    (region,) = read(write(tmp_path, bcnb(ring.tolist())))
    assert region.repaired
    assert region.polygon.area == pytest.approx(np.pi * 110**2, rel=0.03)


def test_a_hole_outside_or_across_the_outline(tmp_path: Path) -> None:
    outside = closed([[200, 30], [200, 60], [230, 60], [230, 30]])
    across = closed([[100, 30], [130, 30], [130, 60], [100, 60]])
    for hole, area in ((outside, 20_000), (across, 20_000 - 10 * 30)):
        (region,) = read(write(tmp_path, feature([closed(SQUARE), hole])))
        assert (region.polygon.area, region.repaired) == (area, True)


def test_letters_are_no_coordinates(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="not pairs of numbers"):
        read(write(tmp_path, bcnb(["12", "34", "56"])))


def test_outlines_of_a_larger_copy(tmp_path: Path) -> None:
    (problem,) = check_regions(read(write(tmp_path, bcnb(SECOND))), size=(20, 20), patient_id="p1")
    assert "reaches 17.0 times as far as the slide" in problem.cause


@pytest.mark.real_data
def test_classes_of_real_files(data_dir: Path) -> None:
    path = data_dir / "annotations" / "asap_camelyon16_tumor_092.xml"
    (all_of_it, tissue) = (read(path), kept(path, "Tissue"))
    assert [r.polygon.area for r in tissue] == [r.polygon.area for r in all_of_it]
    assert len(kept(path, "negative")) == 11
    with pytest.raises(AnnotationError, match=r"negative \(11\), tissue \(5\)\."):
        kept(path, "tumour")
    path = data_dir / "annotations" / "qupath05.geojson"
    assert (len(kept(path, "ut")), len(kept(path, "I"))) == (1, 2)
