"""Slides whose scanned part does not begin at their corner, which QuPath shows from there on."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from shapely.geometry import box, shape

from axilla.core.types import MicronsPerPixel, PatchGrid, Slide, SlidePixels
from axilla.study.explaining import qupath_tiles
from axilla.study.nuclei_measuring import measure_image
from axilla.study.nuclei_segmenting import Way, segment_file
from axilla.wsi.annotation_fit import check_fit
from axilla.wsi.annotations import read_annotation
from axilla.wsi.regions import find_regions
from axilla.wsi.slides import open_slide, scanned_origin

ORIGIN = (512, 256)
DRAWN = box(100, 60, 400, 300)
"""As QuPath counts."""


def write_leica(path: Path, image: np.ndarray[Any, Any]) -> None:
    """The writer of tests/wsi, which is no package."""
    place = Path(__file__).parents[1] / "wsi" / "written.py"
    spec = importlib.util.spec_from_file_location("written", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_leica(path, image, mpp=0.5, levels=1, origin=ORIGIN)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Bright noise with dark discs as nuclei, 1,024 x 768 pixels scanned."""
    rng = np.random.default_rng(3)
    image = rng.integers(200, 240, (768, 1024, 3), np.uint8)
    rows, columns = np.mgrid[:768, :1024]
    for x, y in rng.uniform((60, 60), (960, 700), (60, 2)):
        image[(rows - y) ** 2 + (columns - x) ** 2 < 100] = (80, 40, 130)
    path = tmp_path / "s.scn"
    write_leica(path, image)
    return path


def export(path: Path, polygon: Any, *, kind: str | None = "annotation") -> Path:
    properties = {} if kind is None else {"objectType": kind}
    feature = {"type": "Feature", "geometry": polygon.__geo_interface__, "properties": properties}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf-8")
    return path


def test_openslide_says_where_the_scanned_part_begins(slide: Path, tmp_path: Path) -> None:
    assert openslide.OpenSlide.detect_format(slide) == "leica"
    assert scanned_origin(slide) == ORIGIN
    assert scanned_origin(tmp_path / "none.scn") == (0, 0)
    (tmp_path / "cut.scn").write_bytes(slide.read_bytes()[:4000])
    assert scanned_origin(tmp_path / "cut.scn") == (0, 0)


@pytest.mark.parametrize(
    ("name", "kind", "cropped", "moved"),
    [
        ("a.geojson", "annotation", True, True),
        ("a.geojson", "annotation", False, False),
        ("a.geojson", None, True, False),
        ("a.json", "annotation", True, True),
    ],
)
def test_outlines_of_qupath_are_moved_onto_the_slide(
    slide: Path, tmp_path: Path, name: str, kind: str | None, *, cropped: bool, moved: bool
) -> None:
    own = Slide("s", "p", (slide,), export(tmp_path / name, DRAWN, kind=kind))
    (region,) = find_regions(own, mode="annotation", qupath_cropped=cropped)
    assert region.polygon is not None
    x, y = ORIGIN if moved else (0, 0)
    assert region.polygon.bounds == (100 + x, 60 + y, 400 + x, 300 + y)
    with open_slide(slide, slide_id="s", patient_id="p") as reader:
        size = reader.size
    notes = check_fit(own, (region,), size=size, mpp=None, qupath_cropped=cropped).notes
    told = [note for note in notes if "QuPath" in note.cause]
    assert len(told) == moved
    for note in told:
        assert "begins at x 512, y 256, and QuPath's outlines were taken to count" in note.cause
        assert "qupath_cropped: false" in note.remedy


def test_older_qupath_says_it_in_the_id(slide: Path, tmp_path: Path) -> None:
    path = export(tmp_path / "a.geojson", DRAWN, kind=None)
    content = json.loads(path.read_text("utf-8"))
    content["features"][0]["id"] = "PathAnnotationObject"
    path.write_text(json.dumps(content["features"]), "utf-8")
    (region,) = read_annotation(path, slide_id="s", patient_id="p", image=slide)
    assert region.polygon is not None
    assert region.polygon.bounds[:2] == (612, 316)


def test_tiles_come_back_where_they_lie(slide: Path) -> None:
    own = Slide("s", "p", (slide,), None)
    regions = find_regions(own, mode="whole")
    xy = np.array([[612, 316], [868, 316]], np.int32)
    grid = PatchGrid(
        slide_id="s", white_share=np.zeros(2, np.float32), dropped=0,
        xy=xy, region=np.zeros(2, np.int32), size_level0=SlidePixels(256),
        mpp=MicronsPerPixel(0.5),
    )  # fmt: skip
    values = {"attention": np.array([1.0, 2.0])}
    for cropped, origin in ((True, ORIGIN), (False, (0, 0))):
        (text,) = qupath_tiles(own, regions, grid, values, cropped=cropped).values()
        corners = [shape(f["geometry"]).bounds[:2] for f in json.loads(text)["features"]]
        np.testing.assert_array_equal(corners, xy - np.array(origin))


def test_nuclei_for_qupath_are_measured_again_as_they_were(slide: Path, tmp_path: Path) -> None:
    way = Way(classical=True)
    counts = {
        name: segment_file(slide, tmp_path / f"{name}.geojson", way=way, cropped=name == "cropped")
        for name in ("cropped", "whole")
    }
    assert counts["cropped"].count == counts["whole"].count > 40
    first = {
        name: np.array(
            json.loads((tmp_path / f"{name}.geojson").read_text("utf-8"))["features"][0][
                "geometry"
            ]["coordinates"][0]
        )
        for name in counts
    }
    np.testing.assert_array_equal(first["whole"] - first["cropped"], [ORIGIN] * len(first["whole"]))
    tables = [
        measure_image(
            tmp_path / f"{name}.geojson", slide, tmp_path / "again.csv", cropped=name == "cropped"
        ).table
        for name in counts
    ]
    assert len(tables[0]) == counts["whole"].count
    assert tables[0].equals(tables[1])


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["slides/cmu-1-small-region.svs", "bcnb/regions/351899_0.jpg"])
def test_most_slides_begin_at_their_corner(data_dir: Path, name: str) -> None:
    assert scanned_origin(data_dir / name) == (0, 0)
