"""Whatever is in an annotation's file, what comes out is regions or our error."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axilla.core.errors import AnnotationError
from axilla.wsi.annotations import check_regions, read_annotation, read_drawn_on

one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NUMBERS = st.one_of(
    st.integers(-5, 60),
    st.floats(-5, 60),
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([0, 1e-320, 5e-9, 2**31, 2**53, -0.0, "7", "1e5", "nan", "", "x", None, True]),
)
NEAR = st.lists(
    st.lists(st.integers(0, 40) | st.floats(0, 40), min_size=2, max_size=3), min_size=3, max_size=9
)
"""Rings that cross themselves as they like, with vertices that come twice."""
RINGS = NEAR | st.lists(st.lists(NUMBERS, max_size=3), max_size=6)
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["Tumor", "tumor: Positive", "Ignore*", "stroma", "None", "_2", "\ud800"])


def perhaps(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual, four times of five."""
    return st.integers(0, 4).flatmap(lambda n: usual if n else JUNK)


BCNB = st.fixed_dictionaries(
    {
        "positive": perhaps(
            st.lists(perhaps(st.fixed_dictionaries({"vertices": perhaps(RINGS)})), max_size=3)
        )
    },
    optional={
        "negative": perhaps(st.lists(st.fixed_dictionaries({"vertices": RINGS}), max_size=2)),
        "image": perhaps(
            st.fixed_dictionaries({"width": NUMBERS, "height": NUMBERS, "name": NAMES})
        ),
    },
)
GEOMETRY = st.deferred(
    lambda: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("Polygon"), "coordinates": perhaps(st.lists(RINGS, max_size=3))}
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("MultiPolygon"),
                "coordinates": perhaps(st.lists(st.lists(RINGS, max_size=2), max_size=2)),
            }
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("GeometryCollection"),
                "geometries": perhaps(st.lists(GEOMETRY, max_size=2)),
            }
        ),
        st.fixed_dictionaries({"type": perhaps(st.just("Point")), "coordinates": JUNK}),
    )
)
FEATURE = st.fixed_dictionaries(
    {"type": perhaps(st.just("Feature")), "geometry": perhaps(GEOMETRY)},
    optional={
        "properties": perhaps(
            st.fixed_dictionaries(
                {},
                optional={
                    "objectType": st.sampled_from(["annotation", "cell", 3, [], None]),
                    "name": perhaps(NAMES),
                    "classification": perhaps(
                        st.fixed_dictionaries(
                            {}, optional={"name": NAMES, "names": perhaps(st.lists(NAMES))}
                        )
                    ),
                },
            )
        )
    },
)
GEOJSON = st.one_of(
    st.lists(perhaps(FEATURE), max_size=3),
    st.fixed_dictionaries(
        {
            "type": perhaps(st.just("FeatureCollection")),
            "features": perhaps(st.lists(FEATURE, max_size=3)),
        },
        optional={"metadata": JUNK, "width": NUMBERS, "height": NUMBERS},
    ),
    GEOMETRY,
)
XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="￾￿"), max_size=8
)
SHOWN = st.one_of(
    st.floats(0, 50).map(repr), st.sampled_from(["nan", "1e999", "", "x", "1e12"]), XML_TEXT
)


def element(tag: str, attributes: dict[str, str], inside: str = "") -> str:
    shown = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<{tag}{shown}>{inside}</{tag}>"


@st.composite
def points(draw: st.DrawFn, tag: str) -> str:
    usual = st.floats(0, 50).map(repr)
    number = usual if draw(st.booleans()) else SHOWN
    pairs = draw(st.lists(st.tuples(number, number), max_size=7))
    return "".join(element(tag, {"X": x, "Y": y}) for x, y in pairs)


@st.composite
def asap(draw: st.DrawFn) -> str:
    group = st.sampled_from(["tumor", "a", "b", "_2", "None", ""]) | XML_TEXT
    shapes = "".join(
        element("Annotation", {"Name": draw(XML_TEXT), "Type": kind, "PartOfGroup": draw(group)},
                element("Coordinates", {}, draw(points("Coordinate"))))
        for kind in draw(st.lists(st.sampled_from(["Polygon", "Spline", "Dot", "?"]), max_size=3))
    )  # fmt: skip
    groups = "".join(
        element("Group", {"Name": draw(group), "PartOfGroup": draw(group)})
        for _ in range(draw(st.integers(0, 4)))
    )
    inside = element("Annotations", {}, shapes) + element("AnnotationGroups", {}, groups)
    return element("ASAP_Annotations", {}, inside)


@st.composite
def scope(draw: st.DrawFn) -> str:
    regions = "".join(
        element("Region", {"Type": kind, "NegativeROA": draw(st.sampled_from(["0", "1", "?"])),
                           "Text": draw(XML_TEXT)}, element("Vertices", {}, draw(points("Vertex"))))
        for kind in draw(st.lists(st.sampled_from(["0", "1", "2", "3", "9"]), max_size=3))
    )  # fmt: skip
    named = element(
        "Attributes", {}, element("Attribute", {"Name": "Description", "Value": draw(XML_TEXT)})
    )
    layer = element("Annotation", {"Name": draw(XML_TEXT)}, named + element("Regions", {}, regions))
    return element("Annotations", {"MicronsPerPixel": draw(SHOWN)}, layer)


KEEP = st.none() | st.lists(
    st.sampled_from(["TUMOR", "positive", "negative", "tumour", "_2"]), min_size=1, max_size=2
)


def regions_or_our_error(folder: Path, data: bytes, keep: list[str] | None) -> None:
    path = folder / "a.json"
    path.write_bytes(data)
    drawn_on = read_drawn_on(path)
    assert drawn_on.size is None or all(0 < side < math.inf for side in drawn_on.size)
    assert drawn_on.mpp is None or 0 < drawn_on.mpp < math.inf
    try:
        regions = read_annotation(
            path, slide_id="s", patient_id="p", image=Path("s.svs"), keep=keep
        )
    except AnnotationError as error:
        problem = error.problem
    else:
        problem = None
    if problem is not None:
        assert (problem.patient, problem.file) == ("p", path)
        assert problem.remedy
        assert str(problem).encode("utf-8"), "can be printed and written"
        return
    assert regions
    assert [region.index for region in regions] == list(range(len(regions)))
    for region in regions:
        assert region.polygon is not None
        assert region.polygon.is_valid
        assert region.polygon.area > 0
        assert shapely.get_dimensions(region.polygon) == 2
    check_regions(regions, size=(30, 30), patient_id="p", file=path)


@one_folder
@given(data=st.binary(max_size=200), keep=KEEP)
@pytest.mark.parametrize(
    "start", [b"", b"{", b"[", b"<", b"\xff\xfe<", b'<?xml version="1.0" encoding="']
)
def test_any_bytes(tmp_path: Path, start: bytes, data: bytes, keep: list[str] | None) -> None:
    regions_or_our_error(tmp_path, start + data, keep)


@one_folder
@given(content=BCNB | GEOJSON | JUNK, keep=KEEP)
def test_any_json(tmp_path: Path, content: object, keep: list[str] | None) -> None:
    regions_or_our_error(tmp_path, json.dumps(content).encode(), keep)


@one_folder
@given(rings=st.lists(NEAR, min_size=1, max_size=3), cut=st.lists(NEAR, max_size=2), keep=KEEP)
def test_outlines_that_cross_touch_and_repeat(
    tmp_path: Path, rings: list[object], cut: list[object], keep: list[str] | None
) -> None:
    bcnb = {
        "positive": [{"vertices": ring} for ring in rings],
        "negative": [{"vertices": ring} for ring in cut],
    }
    regions_or_our_error(tmp_path, json.dumps(bcnb).encode(), keep)
    regions_or_our_error(
        tmp_path, json.dumps({"type": "Polygon", "coordinates": rings}).encode(), None
    )


@one_folder
@given(text=asap() | scope(), keep=KEEP)
def test_any_xml(tmp_path: Path, text: str, keep: list[str] | None) -> None:
    regions_or_our_error(tmp_path, text.encode(), keep)


@one_folder
@given(
    text=asap() | scope(), place=st.floats(0, 1), put=st.binary(max_size=6), cut=st.integers(0, 9)
)
def test_xml_with_a_bit_changed(
    tmp_path: Path, text: str, place: float, put: bytes, cut: int
) -> None:
    data = text.encode()
    at = int(place * len(data))
    regions_or_our_error(tmp_path, data[:at] + put + data[at + cut :], None)


DEEP = 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"[" * DEEP + b"]" * DEEP,
        b'{"positive":' * DEEP + b"1" + b"}" * DEEP,
        b'{"type":"Feature","geometry":' * DEEP + b"{}" + b"}" * DEEP,
        b'[{"type":"Polygon","coordinates":' + b"[" * 900 + b"]" * 900 + b"}]",
        b'{"type":"GeometryCollection","geometries":[' * 500 + b"]}" * 500,
        b"<Annotations>" + b"<Annotation>" * DEEP + b"</Annotation>" * DEEP + b"</Annotations>",
        b"<ASAP_Annotations>" * DEEP + b"</ASAP_Annotations>" * DEEP,
        b'{"positive": [{"vertices": [[' + b"9" * 5000 + b", 1], [2, 3], [4, 5]]}]}",
        b'<?xml version="1.0" encoding="klingon"?><Annotations/>',
        b'<?xml version="1.0" encoding="utf-32"?><Annotations/>',
    ],
)  # fmt: skip
def test_deep_long_and_unknown(tmp_path: Path, data: bytes) -> None:
    regions_or_our_error(tmp_path, data, None)
