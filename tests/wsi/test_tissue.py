from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import shapely

from axilla.wsi.slides import open_slide
from axilla.wsi.tissue import find_tissue, tissue_mask

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from axilla.core.types import Region

EOSIN, NUCLEI, GLASS = (225, 150, 190), (95, 60, 130), (238, 238, 236)
PENS = {
    "blue": (20, 40, 210),
    "green": (30, 150, 60),
    "black": (25, 25, 28),
    "red": (200, 30, 40),
    "brownish black": (40, 30, 36),
    "cyan": (0, 170, 200),
    "dull blue": (40, 60, 160),
    "violet": (110, 40, 150),
}


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


OUTLINE = np.array([[260, 120], [940, 130], [900, 280], [300, 270]], np.int32)


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


@pytest.mark.parametrize("glass", [GLASS, (186, 187, 185)], ids=["bright", "grey"])
@pytest.mark.parametrize("pen", PENS)
def test_ink_on_glass_is_left_out(tmp_path: Path, pen: str, glass: tuple[int, int, int]) -> None:
    def paint(image: np.ndarray) -> None:
        image[:] = glass
        core(image)
        cv2.line(image, (100, 600), (1100, 800), PENS[pen], 40)

    (region,) = find(slide(tmp_path, paint))
    assert region.polygon.bounds == pytest.approx((200, 100, 1000, 300), abs=4)
    assert region.polygon.area == pytest.approx(160_000, rel=0.03)


@pytest.mark.parametrize("pen", ["blue", "green", "black", "red"])
def test_a_thin_line_over_tissue_takes_none_of_it(tmp_path: Path, pen: str) -> None:
    def paint(image: np.ndarray) -> None:
        core(image)
        cv2.polylines(image, [OUTLINE], isClosed=True, color=PENS[pen], thickness=4)

    (region,) = find(slide(tmp_path, paint))
    assert region.polygon.area == pytest.approx(160_000, rel=0.03)
    assert shapely.Polygon(OUTLINE).difference(region.polygon).area < 0.01 * 160_000


def test_pale_tissue_is_found_alone_and_beside_dark_tissue(tmp_path: Path) -> None:
    def pale(image: np.ndarray) -> None:
        image[500:700, 200:1000] = (228, 208, 222)

    def both(image: np.ndarray) -> None:
        pale(image)
        image[500:700, 200:400] = EOSIN
        image[500:700:10, 200:400:7] = NUCLEI

    for paint in (pale, both):
        (region,) = find(slide(tmp_path, paint))
        assert region.polygon.bounds == pytest.approx((200, 500, 1000, 700), abs=4)


def test_dark_edge_shadow_and_grey_dust_are_no_tissue(tmp_path: Path) -> None:
    def paint(image: np.ndarray) -> None:
        image[:] = np.linspace(1, 0.75, image.shape[1])[None, :, None] * image
        core(image)
        image[:, :25] = (18, 17, 20)
        image[-30:] = (90, 92, 91)
        cv2.circle(image, (600, 600), 40, (120, 121, 119), -1)

    (region,) = find(slide(tmp_path, paint))
    assert region.polygon.bounds == pytest.approx((200, 100, 1000, 300), abs=4)


def test_tissue_goes_up_to_the_image_s_border(tmp_path: Path) -> None:
    def paint(image: np.ndarray) -> None:
        image[:300, :500] = EOSIN

    (region,) = find(slide(tmp_path, paint))
    assert region.polygon.bounds == pytest.approx((0, 0, 500, 300), abs=2)


def test_an_image_full_of_tissue_is_tissue(tmp_path: Path) -> None:
    def paint(image: np.ndarray) -> None:
        image[:] = EOSIN
        image[::12, ::9] = NUCLEI

    (region,) = find(slide(tmp_path, paint))
    assert region.polygon.area == pytest.approx(900 * 1200, rel=0.01)


@pytest.mark.parametrize(("um", "pieces"), [(2.0, 0), (8.0, 1)])
def test_dust_is_what_is_small_in_microns(um: float, pieces: int) -> None:
    image = np.full((400, 400, 3), GLASS, np.uint8)
    image[190:210, 190:210] = EOSIN  # 1,600 and 25,600 µm²
    assert tissue_mask(image, um_per_px=um).any() == (pieces == 1)


def test_where_the_slide_says_its_scale_it_counts(tmp_path: Path, save_pyramid: Callable) -> None:
    image = np.full((1024, 1024, 3), GLASS, np.uint8)
    image[200:300, 200:300] = EOSIN
    # 2,500 and 40,000 µm²
    assert [len(find(save_pyramid(image, mpp=mpp))) for mpp in (0.5, 2.0)] == [0, 1]


def test_glass_alone_has_none_nor_has_ink(tmp_path: Path) -> None:
    def paint(image: np.ndarray) -> None:
        cv2.line(image, (100, 600), (1100, 800), PENS["blue"], 40)

    for empty in (None, paint):
        assert find(slide(tmp_path, empty)) == ()


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark, whose measure of glass and tumour is independent of the segmenter."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "tissue.py"
    spec = importlib.util.spec_from_file_location("tissue_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_measure_tells_tumour_line_and_glass(bench: ModuleType) -> None:
    image = np.full((300, 400, 3), 186, np.uint8)
    image[50:250, 100:300] = EOSIN
    image[100:120, 120:140] = 240  # inside of a fat cell
    cv2.rectangle(image, (110, 60), (290, 240), (0, 0, 255), 5)
    truth = bench.read_truth(image)
    assert truth.tumour[80:220, 150:270].all()
    assert truth.tumour.sum() == pytest.approx(168 * 168, rel=0.02)
    assert truth.glass[100:120, 120:140].all()
    assert truth.glass[~truth.line].sum() == 300 * 400 - 200 * 200 + 400


@pytest.mark.real_data
@pytest.mark.parametrize("patient", ["351899", "389510", "590960"])
def test_outlined_tumour_is_inside_and_glass_is_not(
    data_dir: Path, bench: ModuleType, patient: str
) -> None:
    tumour, glass = bench.measure(data_dir / "bcnb" / "regions" / f"{patient}.jpg")
    assert tumour >= 0.98
    assert glass < 0.05


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("bcnb/regions/351899.jpg", 0.06, 0.08),
        ("bcnb/regions/389510.jpg", 0.11, 0.14),
        ("bcnb/regions/590960.jpg", 0.14, 0.17),
        ("slides/cmu-1-small-region.svs", 0.33, 0.39),
        ("slides/tcga-cr-7395-01a-01-ts1.svs", 0.60, 0.65),
    ],
)
def test_real_slides_as_seen_by_eye(data_dir: Path, name: str, low: float, high: float) -> None:
    regions = find(data_dir / name)
    with open_slide(data_dir / name, slide_id="s1", patient_id="p1") as reader:
        width, height = reader.size
    share = sum(region.polygon.area for region in regions) / (width * height)
    assert low < share < high
