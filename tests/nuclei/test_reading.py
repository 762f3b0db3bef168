"""Instance maps and outlines as each tool writes them, and files that are none."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from axilla.core.errors import AnnotationError
from axilla.nuclei import reading
from axilla.nuclei.reading import read_nuclei

SHAPE = (40, 60)
SQUARE = [[10, 5], [20, 5], [20, 15], [10, 15], [10, 5]]
OTHER = [[30, 20], [36, 20], [36, 28], [30, 28], [30, 20]]


def drawn(*squares, last=0):
    """Squares whose rings run along the edges of pixels; with `last` 1, through their middles."""
    instances = np.zeros(SHAPE, dtype=np.int32)
    for number, ring in enumerate(squares, start=1):
        (left, top), (right, bottom) = np.min(ring, axis=0), np.max(ring, axis=0)
        instances[top : bottom + last, left : right + last] = number
    return instances


def polygon(*rings, **properties):
    geometry = {"type": "Polygon", "coordinates": list(rings)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write(folder, content, name="nuclei.geojson"):
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int64])
def test_maps_come_back_as_they_are(tmp_path, dtype):
    instances = drawn(SQUARE, OTHER) * 7
    np.save(tmp_path / "a.npy", instances.astype(dtype))
    np.savez(tmp_path / "b.npz", inst_map=instances.astype(dtype), type_map=instances > 0)
    np.savez_compressed(tmp_path / "c.npz", nuclei=instances.astype(dtype))
    files = ["a.npy", "b.npz", "c.npz"]
    if dtype is not np.int64:
        Image.fromarray(instances.astype(dtype)).save(tmp_path / "d.tif")
        files.append("d.tif")
    for name in files:
        found = read_nuclei(tmp_path / name, shape=SHAPE)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, instances)


@pytest.mark.parametrize(
    ("content", "last"),
    [
        ({"type": "FeatureCollection", "features": [polygon(SQUARE), polygon(OTHER)]}, 0),  # QuPath
        ([polygon(SQUARE, objectType="detection"), polygon(OTHER)], 0),  # StarDist in QuPath
        (
            [
                {  # CellViT: all nuclei of a class in one
                    "type": "Feature",
                    "geometry": {"type": "MultiPolygon", "coordinates": [[SQUARE], [OTHER]]},
                }
            ],
            1,
        ),
        ({"nuc": {"1": {"contour": SQUARE[:-1]}, "2": {"contour": OTHER[:-1]}}}, 1),  # HoVer-Net
    ],
)
def test_outlines_of_each_tool(tmp_path, content, last):
    path = write(tmp_path, content, "nuclei.json")
    np.testing.assert_array_equal(read_nuclei(path, shape=SHAPE), drawn(SQUARE, OTHER, last=last))


def test_a_nucleus_of_qupath_in_several_parts_is_one_along_its_edges(tmp_path):
    split = {
        "type": "Feature",
        "geometry": {"type": "MultiPolygon", "coordinates": [[SQUARE], [OTHER]]},
        "properties": {"objectType": "detection"},
    }
    found = read_nuclei(write(tmp_path, [split]), shape=SHAPE)
    np.testing.assert_array_equal(found, drawn(SQUARE, OTHER) > 0)
    split["properties"]["objectType"] = "annotation"  # CellViT: all nuclei of a class
    found = read_nuclei(write(tmp_path, [split]), shape=SHAPE)
    np.testing.assert_array_equal(found, drawn(SQUARE, OTHER, last=1))


def test_what_qupath_drew_counts_from_its_corner_and_nothing_else(tmp_path):
    far = (np.array(SQUARE) - [3, 2]).tolist()
    for kind in ("detection", "annotation"):
        path = write(tmp_path, [polygon(far, objectType=kind)])
        found = read_nuclei(path, shape=SHAPE, qupath_origin=(3, 2))
        np.testing.assert_array_equal(found, drawn(SQUARE))
    path = write(tmp_path, [polygon(SQUARE)])
    found = read_nuclei(path, shape=SHAPE, qupath_origin=(3, 2))
    np.testing.assert_array_equal(found, drawn(SQUARE))


def test_a_drawn_disc_keeps_its_area_wherever_it_lies(tmp_path):
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    rng = np.random.default_rng(2)
    areas = []
    for x, y in rng.uniform((15, 15), (45, 25), (50, 2)):
        ring = np.column_stack([x + 9 * np.cos(turn), y + 9 * np.sin(turn)])
        found = read_nuclei(write(tmp_path, [polygon(ring.tolist())]), shape=SHAPE) > 0
        areas.append(found.sum())
        rows, columns = np.nonzero(found)
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=0.15)
    assert np.mean(areas) == pytest.approx(np.pi * 9**2, rel=0.01)


def test_of_a_cell_the_nucleus_counts(tmp_path):
    cell = polygon([[0, 0], [50, 0], [50, 35], [0, 35], [0, 0]], objectType="cell")
    cell["nucleusGeometry"] = polygon(SQUARE)["geometry"]
    np.testing.assert_array_equal(read_nuclei(write(tmp_path, [cell]), shape=SHAPE), drawn(SQUARE))


def test_holes_and_what_hangs_over_the_edge(tmp_path):
    hole = [[13, 8], [17, 8], [17, 12], [13, 12], [13, 8]]
    over = [[-5, 30], [4, 30], [4, 60], [-5, 60], [-5, 30]]
    found = read_nuclei(write(tmp_path, [polygon(SQUARE, hole), polygon(over)]), shape=SHAPE)
    expected = drawn(SQUARE)
    expected[8:12, 13:17] = 0
    expected[30:, :4] = 2
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([polygon([[100, 5], [120, 5], [120, 15]])], "lies outside the image of 60 x 40"),
        ([polygon([[1, 1], [2, 2]])], "no ring of three points"),
        ([polygon([[1, 1], [1e30, 2], [3, 3]])], "no ring of three points"),
        ([{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}], "no outline"),
        ({"positive": []}, "neither GeoJSON nor HoVer-Net"),
        ({"nuc": {"1": 5}}, "nucleus 1 is no ring"),
    ],
)
def test_outlines_that_are_none(tmp_path, content, said):
    with pytest.raises(AnnotationError, match=said):
        read_nuclei(write(tmp_path, content), shape=SHAPE)


def test_maps_that_are_none(tmp_path, monkeypatch):
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "floats.npy", np.zeros(SHAPE))
    np.save(tmp_path / "below.npy", np.full(SHAPE, -1))
    np.save(tmp_path / "small.npy", np.zeros((3, 3), int))
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    np.savez_compressed(tmp_path / "bomb.npz", inst_map=np.zeros((400, 400), np.int32))
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    (tmp_path / "notes.txt").write_text("none")
    monkeypatch.setattr(reading, "MAX_PX", 100_000)
    for name, said in {
        "pickled.npy": "does not open", "floats.npy": "holds float64", "below.npy": "below 0",
        "small.npy": r"has the shape \(3, 3\)", "two.npz": "none is called inst_map",
        "bomb.npz": "more than 100,000 pixels", "broken.tif": "does not open",
        "notes.txt": "neither an instance map", "lost.npy": "does not open",
    }.items():  # fmt: skip
        with pytest.raises(AnnotationError, match=said):
            read_nuclei(tmp_path / name, shape=SHAPE)


def test_damaged_maps_and_those_of_another_kind_are_a_sentence(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", inst_map=np.arange(48 * 64).reshape(48, 64))
    np.save(tmp_path / "whole.npy", np.zeros((48, 64), int))
    packed, plain = ((tmp_path / f"whole.{kind}").read_bytes() for kind in ("npz", "npy"))
    spoiled = bytearray(packed)
    spoiled[120:160] = bytes(40)
    for name, content in {
        "cut.npz": packed[: len(packed) // 2], "spoiled.npz": bytes(spoiled), "empty.npz": b"",
        "empty.npy": b"", "plain.npz": plain, "packed.npy": packed,
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AnnotationError, match="does not open as an array"):
            read_nuclei(tmp_path / name, shape=(48, 64))
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("inst_map", plain)
    with pytest.raises(AnnotationError):
        read_nuclei(tmp_path / "other.npz", shape=(48, 64))


_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "features", "geometry", "coordinates", "nuc", "contour", "nucleusGeometry"]
            ),
            inner | st.sampled_from(["Polygon", "MultiPolygon", "FeatureCollection", "Feature"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@example(content=[{"type": []}])
@example(content=[{"type": "Polygon", "coordinates": {}}])
@example(content=[{"geometry": {"type": {}}}])
@given(content=_values)
def test_no_json_gives_anything_but_nuclei_or_our_error(tmp_path_factory, content):
    path = write(tmp_path_factory.getbasetemp(), content, "any.json")
    try:
        found = read_nuclei(path, shape=SHAPE)
    except AnnotationError as error:
        found = error
    assert isinstance(found, AnnotationError) or found.shape == SHAPE
