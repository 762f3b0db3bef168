from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import shapely

from axilla.wsi.slides import open_slide
from axilla.wsi.tissue import find_tissue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from axilla.core.types import Region

EOSIN, NUCLEI, GLASS = (225, 150, 190), (95, 60, 130), (238, 238, 236)
PENS = {"blue": (20, 40, 210), "green": (30, 150, 60), "black": (25, 25, 28), "cyan": (0, 170, 200)}


def slide(tmp_path: Path, paint: Callable | None = None) -> Path:
    rng = np.random.default_rng(3)
    image = np.full((900, 1200, 3), GLASS, np.int16)
    if paint is not None:
        paint(image)
    image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    path = tmp_path / "slide.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return path


def find(path: Path, **options: float) -> tuple[Region, ...]:
    with open_slide(path, slide_id="s1", patient_id="p1") as reader:
        return find_tissue(reader, image=path, **options)


def core(image: np.ndarray) -> None:
    image[100:300, 200:1000] = EOSIN
    image[150:250:10, 200:1000:7] = NUCLEI


def test_a_core_is_found_where_it_lies(tmp_path: Path) -> None:
    (region,) = find(slide(tmp_path, core))
    assert (region.index, region.source) == (0, "tissue")
    assert region.polygon.is_valid
    expected = shapely.box(200, 100, 1000, 300)
    shared = region.polygon.intersection(expected).area / region.polygon.union(expected).area
    assert shared > 0.97


def test_level0_pixels_whatever_the_thumbnail(tmp_path: Path) -> None:
    path = slide(tmp_path, core)
    (small,) = find(path, max_side=300)
    assert small.polygon.bounds == pytest.approx((200, 100, 1000, 300), abs=8)


def test_pieces_from_top_to_bottom_without_dust_and_with_holes(tmp_path: Path) -> None:
    def paint(image: np.ndarray) -> None:
        image[600:800, 100:500] = EOSIN
        image[650:750, 200:400] = GLASS
        image[100:300, 300:1100] = EOSIN
        image[500:506, 900:906] = EOSIN

    first, second = find(slide(tmp_path, paint))
    assert first.polygon.bounds[1] < second.polygon.bounds[1]
    assert [first.index, second.index] == [0, 1]
    assert len(second.polygon.interiors) == 1
    assert shapely.Polygon(second.polygon.interiors[0]).area == pytest.approx(20_000, rel=0.06)


@pytest.mark.parametrize("pen", PENS)
def test_ink_is_left_out(tmp_path: Path, pen: str) -> None:
    def paint(image: np.ndarray) -> None:
        core(image)
        cv2.line(image, (100, 600), (1100, 800), PENS[pen], 40)

    (region,) = find(slide(tmp_path, paint))
    assert region.polygon.bounds[3] < 320


def test_glass_alone_has_none(tmp_path: Path) -> None:
    assert find(slide(tmp_path)) == ()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("bcnb/regions/351899.jpg", 0.05, 0.08),
        ("bcnb/regions/389510.jpg", 0.10, 0.14),
        ("bcnb/regions/590960.jpg", 0.13, 0.17),
        ("slides/cmu-1-small-region.svs", 0.30, 0.40),
        ("slides/tcga-cr-7395-01a-01-ts1.svs", 0.58, 0.66),
    ],
)
def test_real_slides_as_seen_by_eye(data_dir: Path, name: str, low: float, high: float) -> None:
    regions = find(data_dir / name)
    with open_slide(data_dir / name, slide_id="s1", patient_id="p1") as reader:
        width, height = reader.size
    share = sum(region.polygon.area for region in regions) / (width * height)
    assert low < share < high
