"""Nuclei of several patches together: once each, whole, and among their neighbours."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from shapely import box

from axilla.core.config import StudyConfig
from axilla.core.types import MicronsPerPixel, PatchGrid, Region, Slide, SlidePixels
from axilla.nuclei.segmentation import WORKING_MPP, ToolSegmenter
from axilla.study.nuclei_gathering import gather
from axilla.study.nuclei_geojson import add_nuclei
from axilla.study.nuclei_slides import measure_patches
from axilla.wsi.patches import PatchReader, cut_patches

MPP = MicronsPerPixel(WORKING_MPP)
PLACES = list(product(range(24, 300, 28), repeat=2))
"""Centres of the drawn nuclei, x and y."""
AREA = 267
"""Pixels of each."""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Dark ellipses of half axes 11 and 7 on pink, 320 x 320 pixels."""
    pixels = np.full((320, 320, 3), (220, 160, 200), np.uint8)
    for x, y in PLACES:
        cv2.ellipse(pixels, (x, y), (11, 7), 0, 0, 360, (80, 40, 120), -1)
    path = tmp_path / "slide.png"
    Image.fromarray(pixels).save(path)
    return path


def measured(
    picture: Path, regions: tuple[Region, ...], **patches: object
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], PatchGrid]:
    """Table of nuclei, of patches, what QuPath is given, and the grid."""
    config = StudyConfig.model_validate({
        "cohort": "cohort.csv", "endpoint": "n0-vs-npos", "methods": ["dl-cnb-nuclei"],
        "slides": ".", "patches": {"size": 128, **patches},
    })  # fmt: skip
    slide = Slide("s", "p", (picture,), study_mpp=MPP)
    grid = cut_patches(slide, regions, config=config.patches)
    drawn: list[str] = []

    def add(*args: object, **kwargs: object) -> None:
        add_nuclei(drawn.append, *args, **kwargs)  # type: ignore[arg-type]  # as they are

    dark = ToolSegmenter(
        lambda pixels: ndimage.label(pixels[..., 0] < 150)[0],
        mpp=WORKING_MPP,
        scale=None,  # type: ignore[arg-type]  # the scale is known
    )
    with PatchReader(slide, grid, regions, config.patches) as reader:
        nuclei, rows = measure_patches(
            reader, grid, regions=regions, config=config, segmenter=dark,
            add={region.index: add for region in regions},
        )  # fmt: skip
    return nuclei, rows, drawn, grid


def outlined(picture: Path, *boxes: tuple[float, float, float, float]) -> tuple[Region, ...]:
    return tuple(Region(i, picture, box(*own), "annotation") for i, own in enumerate(boxes))


def whole_within(corners: np.ndarray, *, side: int = 128) -> list[tuple[int, int]]:
    """Places of nuclei that some patch shows whole."""
    return [
        (x, y)
        for x, y in PLACES
        if any(left < x - 11 and x + 12 < left + side and top < y - 7 and y + 8 < top + side
               for left, top in corners.tolist())
    ]  # fmt: skip


def places(nuclei: pd.DataFrame) -> list[tuple[int, int]]:
    # A pixel's middle lies half a pixel from its corner.
    return sorted(tuple(row) for row in (nuclei[["x", "y"]] - 0.5).round().astype(int).to_numpy())


@pytest.mark.parametrize("kind", ["shifted", "outlines"])
def test_a_nucleus_of_overlapping_patches_is_told_and_drawn_once(picture: Path, kind: str) -> None:
    if kind == "shifted":
        regions: tuple[Region, ...] = (Region(0, picture, None, "whole"),)
        nuclei, rows, drawn, grid = measured(picture, regions, edge="shift")
        assert np.unique(grid.xy[:, 0]).tolist() == [0, 128, 192]
    else:
        regions = outlined(picture, (10, 10, 138, 138), (60, 40, 188, 168))
        nuclei, rows, drawn, grid = measured(picture, regions)
    assert places(nuclei) == sorted(whole_within(grid.xy))
    assert (nuclei["patch"].diff().dropna() >= 0).all()
    assert rows["nuclei"].tolist() == np.bincount(nuclei["patch"], minlength=len(grid)).tolist()
    # Each patch has the density of all that it shows, told elsewhere or not.
    assert (rows["density"] > 0).all()
    rings = [np.array(json.loads(one)["geometry"]["coordinates"][0]) for one in drawn]
    middles = [(ring.min(axis=0) + ring.max(axis=0)) / 2 for ring in rings]
    np.testing.assert_allclose(middles, nuclei[["x", "y"]], atol=0.6)


def test_a_nucleus_that_the_outline_cuts_is_not_measured_and_density_is_of_what_is_inside(
    picture: Path,
) -> None:
    # Of 128 pixels' side, and its right border runs through the nuclei around x = 108.
    nuclei, rows, _, grid = measured(picture, outlined(picture, (10, 10, 112.5, 138)))
    assert len(grid) == 1
    whole = [(x, y) for x, y in whole_within(grid.xy) if x < 90]
    assert places(nuclei) == sorted(whole)
    assert nuclei["area"].to_numpy() == pytest.approx(AREA * MPP**2, rel=0.02)
    # Nuclei around x = 108 are cut, and those around y = 136: half each.
    cut = [(x, y) for x, y in PLACES if x < 112 and y < 140 and (x > 90 or y > 120)]
    inside_mm2 = 102 * 128 * (MPP / 1000) ** 2  # pixels whose middle is left of 112.5
    expected = (len(whole) + len(cut) / 2) / inside_mm2
    assert rows["density"].tolist() == pytest.approx([expected], rel=0.01)


def test_a_nucleus_that_the_slides_border_cuts_is_not_measured(tmp_path: Path) -> None:
    pixels = np.full((100, 110, 3), (220, 160, 200), np.uint8)
    for x, y in ((50, 50), (105, 30), (60, 98)):
        cv2.ellipse(pixels, (x, y), (11, 7), 0, 0, 360, (80, 40, 120), -1)
    path = tmp_path / "small.png"
    Image.fromarray(pixels).save(path)
    # 128 pixels are wider and higher than the slide: white beyond.
    nuclei, rows, _, _ = measured(path, (Region(0, path, None, "whole"),), max_blank=0.5)
    assert places(nuclei) == [(50, 50)]
    assert rows["density"][0] == pytest.approx(2 / (100 * 110 * (MPP / 1000) ** 2))


def scattered(per_patch: int, *, patches: int, seed: int) -> tuple[list[dict], PatchGrid]:
    """Nuclei of random directions in a row of patches of 100 pixels."""
    rng = np.random.default_rng(seed)
    corners = np.column_stack([100 * np.arange(patches), np.zeros(patches, int)])
    parts = [
        {
            "patch": np.full(per_patch, index), "nucleus": np.arange(per_patch) + 1,
            "x": corner[0] + rng.uniform(5, 95, per_patch), "y": rng.uniform(5, 95, per_patch),
            "minor_axis": np.full(per_patch, 6.0),
            "orientation": rng.uniform(0, 180, per_patch),
        }
        for index, corner in enumerate(corners)
    ]  # fmt: skip
    grid = PatchGrid(
        slide_id="s", region=np.zeros(patches, np.int32), xy=corners.astype(np.int32),
        white_share=np.zeros(patches, np.float32), size_level0=SlidePixels(100), dropped=0,
        mpp=None,
    )  # fmt: skip
    return parts, grid


@pytest.mark.parametrize("per_patch", [2, 4, 8, 25])
def test_common_orientation_of_random_angles_is_the_same_at_any_density(per_patch: int) -> None:
    parts, grid = scattered(per_patch, patches=6000 // per_patch, seed=per_patch)
    found = gather(parts, grid, images={0: Path("a")}, px_per_unit=1.0)["polarity"]
    assert np.isfinite(found).all()
    # Of nine random directions; the nuclei share neighbours, so that about 6,000 / 9 are new.
    slow = np.exp(2j * np.random.default_rng(0).uniform(0, math.pi, (100_000, 9)))
    expected = np.abs(slow.mean(axis=1))
    assert found.mean() == pytest.approx(
        expected.mean(), abs=3 * expected.std() / math.sqrt(6000 / 9)
    )


def test_neighbours_are_of_the_same_image_and_too_few_are_missing() -> None:
    parts, grid = scattered(5, patches=4, seed=1)
    region = np.array([0, 0, 0, 1], np.int32)
    grid = PatchGrid(
        slide_id="s", region=region, xy=grid.xy, white_share=grid.white_share,
        size_level0=grid.size_level0, dropped=0, mpp=None,
    )  # fmt: skip
    apart = {0: Path("a"), 1: Path("b")}
    found = gather(parts, grid, images=apart, px_per_unit=1.0)["polarity"]
    # Fifteen nuclei on one image, five on the other.
    assert np.isnan(found).tolist() == [False] * 15 + [True] * 5
    together = gather(parts, grid, images=dict.fromkeys((0, 1), Path("a")), px_per_unit=1.0)
    assert np.isfinite(together["polarity"]).all()


def test_images_of_one_slide_share_no_nuclei() -> None:
    parts, grid = scattered(1, patches=2, seed=1)
    parts[1] |= {name: parts[0][name] for name in ("x", "y")}
    grid = PatchGrid(
        slide_id="s", region=np.array([0, 1], np.int32), xy=np.zeros((2, 2), np.int32),
        white_share=grid.white_share, size_level0=grid.size_level0, dropped=0, mpp=None,
    )  # fmt: skip
    apart = gather(parts, grid, images={0: Path("a"), 1: Path("b")}, px_per_unit=1.0)
    assert apart["patch"].tolist() == [0, 1]
    same = gather(parts, grid, images=dict.fromkeys((0, 1), Path("a")), px_per_unit=1.0)
    assert same["patch"].tolist() == [0]
