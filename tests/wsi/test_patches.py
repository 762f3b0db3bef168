"""`cut_patches` against a slow oracle that whitens, pads and counts pixel by pixel."""

from __future__ import annotations

import json
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from shapely import MultiPolygon, Polygon, box

from axilla.core.config import Patches
from axilla.core.errors import AnnotationError, SlideError
from axilla.core.types import PatchGrid, Region, Slide
from axilla.wsi.patches import PatchReader, cut_and_read, cut_patches
from axilla.wsi.regions import find_regions
from axilla.wsi.slides import SlideReader, open_slide

if TYPE_CHECKING:
    from collections.abc import Callable

Judged = dict[tuple[int, int, int], tuple[float, np.ndarray]]


def inside(polygon: Polygon | MultiPolygon, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Even-odd rule: crossings to the left of each pixel's centre, edge after edge."""
    parts = polygon.geoms if polygon.geom_type == "MultiPolygon" else [polygon]
    odd = np.zeros((len(ys), len(xs)), bool)
    for ring in (ring for part in parts for ring in (part.exterior, *part.interiors)):
        points = list(ring.coords)
        for (x0, y0), (x1, y1) in pairwise(points):
            for row, y in enumerate(ys):
                if (y0 <= y) != (y1 <= y):
                    odd[row] ^= xs >= x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return odd


def oracle(image: np.ndarray, region: Region, config: Patches, *, side: int) -> Judged:
    """Every patch of a region: its share of white and its pixels; `side` in level-0 pixels."""
    height, width = image.shape[:2]
    left, top, right, bottom = (
        (0, 0, width, height) if region.polygon is None else region.polygon.bounds
    )
    left, top = int(np.floor(left)), int(np.floor(top))
    right, bottom = int(np.ceil(right)), int(np.ceil(bottom))
    margin = 3 * side
    canvas = np.full((height + 2 * margin, width + 2 * margin, 3), 255, np.uint8)
    canvas[margin:-margin, margin:-margin] = image
    out: Judged = {}
    step = side // config.size
    for y in range(top, bottom, side):
        for x in range(left, right, side):
            at_x = right - side if config.edge == "shift" and x + side > right > left + side else x
            at_y = bottom - side if config.edge == "shift" and y + side > bottom > top + side else y
            patch = canvas[at_y + margin :, at_x + margin :][:side, :side].astype(int)
            sums = patch.reshape(config.size, step, config.size, step, 3).sum(axis=(1, 3))
            patch = (2 * sums + step**2) // (2 * step**2)
            if region.polygon is not None:
                centres = (np.arange(config.size) + 0.5) * step
                patch[~inside(region.polygon, at_x + centres, at_y + centres)] = 255
            white = np.all(patch >= config.white_level, axis=2)
            out[region.index, at_x, at_y] = (white.sum() / white.size, patch.astype(np.uint8))
    return out


def compare(
    slide: Slide, regions: tuple[Region, ...], config: Patches, expected: Judged
) -> PatchGrid:
    grid = cut_patches(slide, regions, config=config)
    kept = {key: value for key, value in expected.items() if value[0] < config.max_blank}
    keys = [(int(r), int(x), int(y)) for r, (x, y) in zip(grid.region, grid.xy, strict=True)]
    assert keys == list(kept)
    assert grid.dropped == len(expected) - len(kept)
    np.testing.assert_allclose(grid.white_share, [kept[key][0] for key in keys], rtol=1e-6)
    assert (grid.region.dtype, grid.xy.dtype) == (np.int32, np.int32)
    with PatchReader(slide, grid, regions, config) as reader:
        pixels = reader.read_all()
        assert len(reader) == len(grid) == len(pixels)
        np.testing.assert_array_equal(pixels, [kept[key][1] for key in keys])
        some = np.random.default_rng(0).permutation(len(grid))[:5]
        np.testing.assert_array_equal(reader.read(some), pixels[some])
    return grid


ANGLE = np.linspace(0, 2 * np.pi, 60, endpoint=False)
BLOB = np.column_stack([120.3 + 90 * np.cos(ANGLE), 100.8 + 70 * np.sin(3 * ANGLE + np.cos(ANGLE))])
RING = Polygon(
    np.column_stack([150 + 99 * np.cos(ANGLE), 110 + 80.2 * np.sin(ANGLE)]),
    [np.column_stack([150 + 33 * np.cos(ANGLE), 110 + 28 * np.sin(ANGLE)])],
)
OVERLAPPING = (Polygon(BLOB).buffer(0), RING, box(60, 40, 200, 180), box(220.5, -1.0, 260, 199.25))
PARTS = MultiPolygon([box(10, 10, 60.5, 90), box(140, 120, 230, 207)])


@pytest.mark.parametrize("edge", ["pad", "shift"])
@pytest.mark.parametrize("white_level", [255, 200])
@pytest.mark.parametrize("size", [16, 37])
def test_drawn_regions_against_the_oracle(
    drawn: Callable, save_png: Callable, edge: str, white_level: int, size: int
) -> None:
    image = drawn(277, 211, white=8)
    path = save_png(image)
    polygons = (*OVERLAPPING, PARTS, None)
    regions = tuple(
        Region(index, path, polygon, "annotation" if polygon else "whole")
        for index, polygon in enumerate(polygons)
    )
    config = Patches(size=size, edge=edge, white_level=white_level, max_blank=0.4)
    expected: Judged = {}
    for region in regions:
        expected |= oracle(image, region, config, side=size)
    grid = compare(Slide("s1", "p1", (path,)), regions, config, expected)
    assert grid.size_level0 == size
    assert grid.mpp is None
    assert len(np.unique(grid.region)) == len(regions)
    assert grid.dropped > 0


@pytest.mark.parametrize("mpp", [None, 0.5])
def test_what_is_inside_is_what_is_not_white(
    drawn: Callable, save_pyramid: Callable, mpp: float | None
) -> None:
    # No pixel of the slide is white itself.
    path = save_pyramid(drawn(278, 212, white=0), mpp=0.25, levels=1)
    slide = Slide("s1", "p1", (path,))
    regions = tuple(
        Region(index, path, polygon, "annotation" if polygon else "whole")
        for index, polygon in enumerate((*OVERLAPPING[:3], PARTS, None))
    )
    config = Patches(size=16, mpp=mpp, max_blank=0.9)
    grid = cut_patches(slide, regions, config=config)
    with PatchReader(slide, grid, regions, config) as reader:
        masks = [reader.inside(index) for index in range(len(grid))]
        patches = reader.read_all()
    np.testing.assert_array_equal(masks, (patches != 255).any(axis=3))
    assert 0 < np.mean([mask.all() for mask in masks]) < 1


def test_one_region_does_not_whiten_another(drawn: Callable, save_png: Callable) -> None:
    path = save_png(drawn(277, 211))
    slide = Slide("s1", "p1", (path,))
    config = Patches(size=16)
    regions = tuple(Region(i, path, p, "annotation") for i, p in enumerate(OVERLAPPING))
    together = cut_patches(slide, regions, config=config)
    for region in regions:
        alone = cut_patches(slide, (region,), config=config)
        mine = together.region == region.index
        np.testing.assert_array_equal(together.xy[mine], alone.xy)
        np.testing.assert_array_equal(together.white_share[mine], alone.white_share)


@pytest.mark.parametrize("edge", ["pad", "shift"])
def test_target_scale_against_the_oracle(
    drawn: Callable, save_pyramid: Callable, edge: str
) -> None:
    image = drawn(600, 500, white=5)
    path = save_pyramid(image, mpp=0.25, levels=1)
    regions = tuple(
        Region(index, path, polygon, "annotation")
        for index, polygon in enumerate((*OVERLAPPING[:3], box(33.25, 41, 597, 499.5)))
    )
    config = Patches(size=16, mpp=0.5, edge=edge, max_blank=0.5)
    expected: Judged = {}
    for region in regions:
        expected |= oracle(image, region, config, side=32)
    grid = compare(Slide("s1", "p1", (path,)), regions, config, expected)
    assert grid.size_level0 == 32
    assert grid.mpp == pytest.approx(0.25, rel=1e-3)


def test_long_strips_are_read_in_pieces(
    drawn: Callable, save_png: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_png(drawn(277, 211))
    slide = Slide("s1", "p1", (path,))
    regions = (Region(0, path, RING, "annotation"), Region(1, path, None, "whole"))
    whole = cut_patches(slide, regions, config=Patches(size=16))
    monkeypatch.setattr("axilla.wsi.slide_images._STRIP_PX", 3 * 16 * 16)
    pieces = cut_patches(slide, regions, config=Patches(size=16))
    np.testing.assert_array_equal(whole.xy, pieces.xy)
    np.testing.assert_array_equal(whole.white_share, pieces.white_share)


def test_edges_by_hand(save_png: Callable) -> None:
    path = save_png(np.full((20, 50, 3), 100, np.uint8))
    slide = Slide("s1", "p1", (path,))
    regions = find_regions(slide, mode="whole")
    pad = cut_patches(slide, regions, config=Patches(size=16, max_blank=1))
    assert pad.xy.tolist() == [[x, y] for y in (0, 16) for x in (0, 16, 32, 48)]
    assert pad.white_share.tolist() == [0, 0, 0, 0.875, 0.75, 0.75, 0.75, 0.96875]
    shift = cut_patches(slide, regions, config=Patches(size=16, edge="shift"))
    assert shift.xy.tolist() == [[x, y] for y in (0, 4) for x in (0, 16, 32, 34)]
    assert shift.white_share.tolist() == [0] * 8
    # Smaller than a patch: nothing to shift, so it is padded.
    small = cut_patches(slide, regions, config=Patches(size=40, edge="shift", max_blank=1))
    assert small.xy.tolist() == [[0, 0], [10, 0]]
    assert small.white_share.tolist() == [0.5, 0.5]


def test_share_at_the_limit_is_dropped(save_png: Callable) -> None:
    image = np.full((10, 20, 3), 100, np.uint8)
    image[:3, :10] = 255
    image[:3, 10:] = 255
    image[0, 10] = 254
    path = save_png(image)
    slide = Slide("s1", "p1", (path,))
    regions = find_regions(slide, mode="whole")
    grid = cut_patches(slide, regions, config=Patches(size=10, max_blank=0.3))
    assert grid.xy.tolist() == [[10, 0]]
    assert grid.dropped == 1


def test_no_regions_no_patches(drawn: Callable, save_png: Callable) -> None:
    slide = Slide("s1", "p1", (save_png(drawn(40, 40)),))
    grid = cut_patches(slide, (), config=Patches())
    assert (len(grid), grid.dropped, grid.xy.shape) == (0, 0, (0, 2))
    with PatchReader(slide, grid, (), Patches()) as reader:
        assert reader.read_all().shape == (0, 256, 256, 3)
    assert cut_and_read(slide, (), config=Patches())[1].shape == (0, 256, 256, 3)


def test_several_images_are_opened_once_each(
    drawn: Callable, save_png: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tuple(save_png(drawn(64, 48, seed=k, white=0), f"p1_{k}.png") for k in range(3))
    slide = Slide("s1", "p1", images)
    regions = find_regions(slide, mode="auto")
    opened: list[Path] = []

    def counting(path: Path, *, slide_id: str, patient_id: str, max_px: int) -> SlideReader:
        opened.append(path)
        return open_slide(path, slide_id=slide_id, patient_id=patient_id, max_px=max_px)

    config = Patches(size=16)
    grid = cut_patches(slide, regions, config=config, open_image=counting)
    assert opened == list(images)
    assert np.bincount(grid.region).tolist() == [12, 12, 12]
    opened.clear()
    together, both = cut_and_read(slide, regions, config=config, open_image=counting)
    assert opened == list(images)
    opened.clear()
    with PatchReader(slide, grid, regions, config, open_image=counting) as reader:
        mixed = reader.read([35, 0, 13, 1])
        np.testing.assert_array_equal(reader.read_all(), both)
    np.testing.assert_array_equal(together.xy, grid.xy)
    assert sorted(opened) == list(images)
    opened.clear()
    monkeypatch.setattr("axilla.wsi.slide_images._MAX_HELD", 1)
    with PatchReader(slide, grid, regions, config, open_image=counting) as reader:
        reader.read_all()
        reader.read_all()
    assert opened == [*images, *images], "no image is held beside the one that is read"
    pixels = [cv2.imread(str(image))[..., ::-1] for image in images]
    np.testing.assert_array_equal(mixed[0], pixels[2][32:48, 48:64])
    np.testing.assert_array_equal(mixed[2], pixels[1][:16, 16:32])


def test_missing_scale_names_the_ways_out(drawn: Callable, save_png: Callable) -> None:
    slide = Slide("s1", "p1", (save_png(drawn(64, 48)),))
    with pytest.raises(SlideError) as caught:
        cut_patches(slide, find_regions(slide, mode="whole"), config=Patches(mpp=0.5))
    assert caught.value.problem.patient == "p1"
    assert "patches.mpp: null" in str(caught.value)
    assert "column `mpp` of the table" in str(caught.value)
    assert "`slide_mpp` of the study" in str(caught.value)
    assert "µm/px in its metadata" in str(caught.value)


def test_images_of_different_scale(drawn: Callable, save_pyramid: Callable, tmp_path: Path) -> None:
    first = save_pyramid(drawn(300, 300), mpp=0.25).rename(tmp_path / "first.tif")
    second = save_pyramid(drawn(300, 300), mpp=0.5)
    slide = Slide("s1", "p1", (first, second))
    regions = find_regions(slide, mode="whole")
    with pytest.raises(SlideError, match="differ in their µm/px"):
        cut_patches(slide, regions, config=Patches(size=64, mpp=0.5))


def test_region_outside_its_slide(drawn: Callable, save_png: Callable) -> None:
    path = save_png(drawn(64, 48))
    region = Region(0, path, box(50, 40, 150, 140), "annotation")
    with pytest.raises(AnnotationError, match=r"patient p1.*region 0.*outside the slide"):
        cut_patches(Slide("s1", "p1", (path,)), (region,), config=Patches(size=16))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["389510_1", "389510_2", "351899_2"])
def test_real_regions_against_the_oracle(data_dir: Path, name: str) -> None:
    path = data_dir / "bcnb" / "regions" / f"{name}.jpg"
    slide = Slide(name, name, (path,))
    image = cv2.imread(str(path))[..., ::-1]
    regions = find_regions(slide, mode="whole")
    expected = oracle(image, regions[0], Patches(), side=256)
    grid = compare(slide, regions, Patches(), expected)
    assert 0 < len(grid) < len(expected)


@pytest.mark.real_data
def test_aperio_at_another_scale(data_dir: Path) -> None:
    path = data_dir / "slides" / "cmu-1-small-region.svs"
    slide = Slide("cmu", "cmu", (path,))
    regions = find_regions(slide, mode="tissue")
    config = Patches(mpp=1.0)
    grid = cut_patches(slide, regions, config=config)
    assert (grid.size_level0, grid.mpp) == (513, 0.499)
    with PatchReader(slide, grid, regions, config) as reader:
        white = (reader.read_all() == 255).all(axis=3).mean(axis=(1, 2))
    np.testing.assert_allclose(grid.white_share, white, rtol=1e-6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("slide_id", "in_cohort", "left_over"), [("351899", "172", 2), ("389510", "284", 1)]
)
def test_the_originals_bags_hold_our_patches(
    data_dir: Path, slide_id: str, in_cohort: str, left_over: int
) -> None:
    """The original's names are `<patient>_<region>_<x>_<y>`, x and y in pixels of the region.

    The example slides are numbered otherwise than the cohort, where their grids match just one
    patient each. A split's bags lack the fewer than 10 patches that fill no bag.
    """
    theirs: set[tuple[int, ...]] = set()
    with tarfile.open(data_dir / "bcnb" / "splits" / "splits.tar.xz") as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if not member.name.endswith(".json") or file is None:
                continue
            theirs |= {
                tuple(map(int, Path(name).stem.split("_")[1:]))
                for bag in json.load(file)
                if bag["id"] == in_cohort
                for name in bag["patch_paths"]
            }
    images = tuple(sorted((data_dir / "bcnb" / "regions").glob(f"{slide_id}_*.jpg")))
    slide = Slide(slide_id, slide_id, images)
    grid = cut_patches(slide, find_regions(slide, mode="whole"), config=Patches())
    ours = {(int(r), int(x), int(y)) for r, (x, y) in zip(grid.region, grid.xy, strict=True)}
    assert theirs
    assert theirs <= ours
    assert len(ours - theirs) == left_over


@pytest.mark.real_data
@pytest.mark.parametrize("edge", ["pad", "shift"])
def test_an_outline_that_runs_a_little_over_the_edge_is_cut_as_far_as_the_slide_goes(
    data_dir: Path, edge: str
) -> None:
    path = data_dir / "slides" / "cmu-1-small-region.svs"  # 2220 x 2967
    slide = Slide("cmu", "cmu", (path,))
    # Rows begin at 407 and every 256 from there: the eleventh would begin below the slide.
    region = Region(0, path, box(200, 407, 2000, 2972), "annotation")
    grid = cut_patches(slide, (region,), config=Patches(edge=edge))
    assert len(grid) + grid.dropped == 8 * 10
    assert grid.xy[:, 1].max() < 2967


def test_a_spike_makes_no_more_patches_than_the_slide_has_room_for(
    drawn: Callable, save_png: Callable
) -> None:
    path = save_png(drawn(64, 48))
    outline = [(60, 8), (2e7, 20), (60, 8 + 1e-7), (60, 44), (8, 44), (-2e7, 30), (8, 44 - 1e-7)]
    region = Region(0, path, Polygon([*outline, (8, 8)]), "annotation")
    grid = cut_patches(Slide("s1", "p1", (path,)), (region,), config=Patches(size=16))
    assert 0 < len(grid) + grid.dropped <= 5 * 4
