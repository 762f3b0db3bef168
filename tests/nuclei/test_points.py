"""Clicks of QuPath, files that are none, and what drawn discs give from a click each."""

import json
from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axilla.core.errors import AnnotationError
from axilla.nuclei import points as module
from axilla.nuclei.points import (
    LEAST_POINTS,
    NOT_KNOWN,
    instances_from_points,
    read_points,
    refined,
)

SHAPE = (200, 260)
PLACES = [[x, y] for y, x in product(range(24, 190, 42), range(24, 250, 42))]
"""30 clicks, x and y."""


def feature(kind, coordinates):
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}}


def write(folder, content, name="clicks.geojson"):
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature("Point", p) for p in PLACES]},
        {"type": "FeatureCollection", "features": [feature("MultiPoint", PLACES)]},
        [feature("MultiPoint", PLACES[:9]), *(feature("Point", p) for p in PLACES[9:])],
        feature("MultiPoint", PLACES),
        {"type": "MultiPoint", "coordinates": PLACES},
        [feature("Point", [*place, 0.0]) for place in PLACES],  # with a plane
        [feature("MultiPoint", []), feature("MultiPoint", PLACES)],
        [feature("MultiPoint", PLACES), feature("Point", PLACES[4])],  # one twice
    ],
)
def test_points_of_each_kind(tmp_path, content):
    found = read_points(write(tmp_path, content), shape=SHAPE)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, PLACES)


def test_points_between_pixels_and_on_the_first(tmp_path):
    places = [[0, 0], [259.99, 199.99], *([x + 0.25, y + 0.5] for x, y in PLACES)]
    found = read_points(write(tmp_path, [feature("MultiPoint", places)]), shape=SHAPE)
    np.testing.assert_array_equal(found, places)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([feature("MultiPoint", [*PLACES, [260, 3]])], "1 points outside the image of 260 x 200"),
        ([feature("MultiPoint", [[3, 200.5], *PLACES])], "the first at 3, 200.5"),
        ([feature("MultiPoint", [[-1, 5], [2, -7], *PLACES])], "has 2 points outside"),
        ([feature("MultiPoint", [[None, 5], *PLACES])], "something else than points"),
        ([feature("MultiPoint", [[float("nan"), 5], *PLACES])], "outside the image"),
        ([feature("MultiPoint", PLACES[:2])], "has 2 points. Click 3 nuclei or more"),
        ([feature("Point", PLACES[0])] * 40, "has 1 points. Click 3 nuclei or more"),
        ([], "has 0 points"),
        ([feature("Polygon", [PLACES])], "something else than points"),
        ([feature("Point", p) for p in PLACES] + [feature("Polygon", [])], "something else than"),
        ([feature("Point", [x]) for x, _ in PLACES * 2], "something else than points"),
        ([feature("Point", 5)], "something else than points"),
        ([feature("Point", [10**400, 5])], "something else than points"),
        ({"nuc": {"1": {"contour": PLACES}}}, "something else than points"),
        ([{"type": "Feature", "geometry": None}], "something else than points"),
        (7, "something else than points"),
    ],
)
def test_points_that_are_none(tmp_path, content, said):
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=said) as raised:
        read_points(path, shape=SHAPE)
    assert raised.value.problem.file == path


def test_files_that_are_none(tmp_path, monkeypatch):
    (tmp_path / "cut.geojson").write_text('[{"type": "Fea', encoding="utf-8")
    (tmp_path / "bytes.geojson").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.geojson").write_text("[" * 100_000, encoding="utf-8")
    (tmp_path / "folder.geojson").mkdir()
    for name, said in {
        "cut.geojson": "is no JSON", "bytes.geojson": "is no JSON", "deep.geojson": "is no JSON",
        "folder.geojson": "does not open", "lost.geojson": "does not open",
    }.items():  # fmt: skip
        with pytest.raises(AnnotationError, match=said):
            read_points(tmp_path / name, shape=SHAPE)
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    with pytest.raises(AnnotationError, match="has more than 1,000 bytes"):
        read_points(write(tmp_path, [feature("Point", p) for p in PLACES]), shape=SHAPE)


_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "features", "geometry", "coordinates"]),
            inner | st.sampled_from(["Point", "MultiPoint", "Polygon", "FeatureCollection"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)
_points = st.builds(feature, st.sampled_from(["Point", "MultiPoint"]), _values)


@example(content=[{"type": []}])
@example(content=[{"geometry": {"type": "Point", "coordinates": {}}}])
@example(content=[feature("Point", [5])] * 40)
@example(content=[feature("MultiPoint", ["12", "34"])] * 20)
@example(content=feature("MultiPoint", [[1, 2], [3]]))
@given(content=_values | _points | st.lists(_points, max_size=30))
def test_no_json_gives_anything_but_points_or_our_error(tmp_path_factory, content):
    path = write(tmp_path_factory.getbasetemp(), content, "any.geojson")
    try:
        found = read_points(path, shape=SHAPE)
    except AnnotationError as error:
        found = error
    if isinstance(found, AnnotationError):
        return
    assert found.shape == (len(found), 2)
    assert len(found) >= LEAST_POINTS
    assert ((found >= 0) & (found < SHAPE[::-1])).all()


@pytest.fixture(scope="module")
def discs():
    """Dark discs in a mottled pink, the map of them, and a click beside each middle."""
    rng = np.random.default_rng(5)
    instances = np.zeros(SHAPE, np.int32)
    clicks = []
    for number, (x, y) in enumerate(PLACES, start=1):
        cv2.circle(instances, (x, y), int(rng.integers(9, 12)), number, -1)
        clicks.append(np.add([x, y], rng.uniform(-3, 3, 2)))
    pink = rng.normal((225, 170, 205), 8, (*SHAPE, 3))
    violet = rng.normal((95, 60, 140), 10, (*SHAPE, 3))
    pixels = np.where(instances[..., None] > 0, violet, pink)
    return np.clip(pixels, 0, 255).astype(np.uint8), instances, np.array(clicks)


def cells_of(clicks):
    """The number of the nearest click of each pixel, by its middle."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    away = [(x - column) ** 2 + (y - row) ** 2 for column, row in clicks]
    return np.argmin(away, axis=0) + 1


def test_clicks_and_colours_tell_the_nuclei(discs):
    pixels, instances, clicks = discs
    found = instances_from_points(pixels, clicks)
    assert (found.dtype, found.shape) == (np.int32, SHAPE)
    for number in range(1, len(clicks) + 1):
        assert (found[instances == number] == number).mean() > 0.8
    assert (found[instances == 0] == 0).mean() > 0.8
    # What it is sure of is so: where it is not, it says so.
    assert (instances[found > 0] == found[found > 0]).mean() > 0.97
    assert (found[instances > 0] == 0).mean() < 0.02


def test_no_nucleus_leaves_its_cell(discs):
    pixels, _, clicks = discs
    found = instances_from_points(pixels, clicks)
    assert set(np.unique(found)) == {NOT_KNOWN, *range(len(clicks) + 1)}
    np.testing.assert_array_equal(found[found > 0], cells_of(clicks)[found > 0])


def test_the_same_clicks_give_the_same_nuclei(discs):
    pixels, _, clicks = discs
    first = instances_from_points(pixels, clicks)
    np.testing.assert_array_equal(first, instances_from_points(pixels, clicks))
    turned = instances_from_points(pixels, clicks[::-1])
    np.testing.assert_array_equal(turned > 0, first > 0)
    np.testing.assert_array_equal(turned[first > 0], len(clicks) + 1 - first[first > 0])


def test_refined_takes_what_is_sure_and_hangs_together_with_a_click(discs):
    _, instances, clicks = discs
    nuclear = np.full(SHAPE, 0.05, np.float32)
    ring = cv2.dilate((instances > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    nuclear[ring] = 0.5
    nuclear[instances > 0] = 0.95
    nuclear[45:48, 45:48] = 0.95  # nobody clicked there
    nuclear[20, 30] = 0.1  # a hole in the first nucleus
    expected = np.where(instances > 0, instances, 0)
    expected[ring & (instances == 0)] = NOT_KNOWN
    expected[45:48, 45:48] = NOT_KNOWN
    found = refined(nuclear, clicks)
    assert found.dtype == np.int32
    # The line between two cells is nobody's.
    differ = found != expected
    assert differ.sum() <= 6
    assert (found[differ] == 0).all()
    assert found[20, 30] == 1


@pytest.mark.parametrize(
    ("level", "unsure", "value"),
    [(0.29, 0.2, 0), (0.31, 0.2, -1), (0.69, 0.2, -1), (0.71, 0.2, 3), (0.56, 0.05, 3)],
)
def test_what_refined_is_unsure_of(discs, level, unsure, value):
    _, instances, clicks = discs
    nuclear = np.where(instances == 3, level, 0).astype(np.float32)
    found = refined(nuclear, clicks, unsure=unsure)
    assert (found[instances == 3] == value).all()
    assert (found[instances != 3] == 0).all()


def test_touching_nuclei_are_parted_halfway():
    clicks = np.array([[20.5, 30.5], [41.5, 30.5]])
    nuclear = np.zeros((60, 60), np.float32)
    nuclear[22:40, 10:52] = 1
    found = refined(nuclear, clicks)
    assert (found[22:40, 10:30] == 1).all()
    assert (found[22:40, 30] == 0).all()  # the line between them
    assert (found[22:40, 31:52] == 2).all()


def test_a_click_beside_what_is_nuclear_tells_nothing():
    clicks = np.array([[10.5, 10.5], [40.5, 40.5]])
    nuclear = np.zeros((60, 60), np.float32)
    nuclear[14:20, 14:20] = 1
    found = refined(nuclear, clicks)
    assert set(np.unique(found)) == {NOT_KNOWN, 0}
    assert (found[14:20, 14:20] == NOT_KNOWN).all()
