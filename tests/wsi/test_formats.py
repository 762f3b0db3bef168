"""Slides in scanners' formats, written small, through the code that reads real ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import openslide
import pytest

from axilla.core.config import Patches
from axilla.core.errors import SlideError
from axilla.core.types import Slide
from axilla.wsi.patches import PatchReader, cut_patches
from axilla.wsi.regions import find_regions
from axilla.wsi.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable


def _writers() -> Any:
    # Tests are no package (importmode importlib): the module beside is loaded by its path.
    path = Path(__file__).with_name("written.py")
    spec = importlib.util.spec_from_file_location("written", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


written = _writers()


def write(kind: str, folder: Path, image: np.ndarray, **how: Any) -> Path:
    """A slide of 0.5 µm/px in one or two levels; the file to open."""
    if kind == "dicom":
        written.write_dicom(folder / "s1", image, mpp=0.5, **how)
        return folder / "s1" / "0.dcm"
    suffix, writer = {
        "aperio": ("svs", written.write_aperio),
        "leica": ("scn", written.write_leica),
        "mirax": ("mrxs", written.write_mirax),
        "ventana": ("bif", written.write_ventana),
    }[kind]
    path = folder / f"s1.{suffix}"
    writer(path, image, mpp=0.5, **how)
    return path


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("kind", ["aperio", "leica", "dicom"])
def test_pixels_scale_and_levels(drawn: Callable, tmp_path: Path, kind: str, levels: int) -> None:
    image = drawn(900, 700)
    path = write(kind, tmp_path, image, levels=levels)
    assert openslide.OpenSlide.detect_format(path) == kind
    with open_slide(path, slide_id="s1", patient_id="p1") as reader:
        assert reader.size == (900, 700)
        assert reader.mpp == pytest.approx(0.5, rel=1e-3)
        np.testing.assert_array_equal(reader.read(100, 90, 700, 500), image[90:590, 100:800])
        far = reader.read_resized(100, 50, 512, 256)
    expected = image[50:562, 100:612].reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.abs(far - expected).max() <= 1


@pytest.mark.parametrize("kind", ["aperio", "leica", "dicom"])
def test_patches_at_a_target_scale(drawn: Callable, tmp_path: Path, kind: str) -> None:
    image = drawn(900, 700, white=0)
    slide = Slide("s1", "p1", (write(kind, tmp_path, image),))
    regions = find_regions(slide, mode="whole")
    config = Patches(size=64, mpp=1.0)
    grid = cut_patches(slide, regions, config=config)
    assert (grid.size_level0, grid.mpp) == (128, pytest.approx(0.5, rel=1e-3))
    assert (len(grid), grid.dropped) == (7 * 5, 8 * 6 - 7 * 5)
    with PatchReader(slide, grid, regions, config) as reader:
        patch = reader.read([9])[0]
    assert grid.xy[9].tolist() == [256, 128]
    expected = image[128:256, 256:384].reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(patch - expected).max() <= 1


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("kind", ["mirax", "ventana"])
def test_a_slide_of_whole_tiles(drawn: Callable, tmp_path: Path, kind: str, levels: int) -> None:
    image = drawn(1024, 768)
    path = write(kind, tmp_path, image, levels=levels)
    assert openslide.OpenSlide.detect_format(path) == kind
    with open_slide(path, slide_id="s1", patient_id="p1") as reader:
        assert reader.size == (1024, 768)
        assert reader.mpp == pytest.approx(0.5, rel=1e-3)
        np.testing.assert_array_equal(reader.read(100, 90, 800, 600), image[90:690, 100:900])
        far = reader.read_resized(100, 50, 512, 256)
    expected = image[50:562, 100:612].reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.abs(far - expected).max() <= 1


@pytest.mark.parametrize("kind", ["hamamatsu", "dicom"])
def test_levels_that_are_jpeg(drawn: Callable, tmp_path: Path, kind: str) -> None:
    image = cv2.GaussianBlur(drawn(768, 512), (0, 0), 6)  # JPEG keeps what is smooth
    if kind == "dicom":
        written.write_dicom(tmp_path / "s1", image, mpp=0.5, jpeg=True)
        path = tmp_path / "s1" / "0.dcm"
    else:
        path = tmp_path / "s1.ndpi"
        written.write_hamamatsu(path, image, mpp=0.5)
    assert openslide.OpenSlide.detect_format(path) == kind
    with open_slide(path, slide_id="s1", patient_id="p1") as reader:
        assert reader.size == (768, 512)
        assert reader.mpp == pytest.approx(0.5, rel=1e-3)
        near = reader.read(100, 90, 600, 400).astype(int)
        far = reader.read_resized(100, 50, 256, 128).astype(int)
    assert np.abs(near - image[90:490, 100:700]).mean() < 2
    expected = image[50:306, 100:356].reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(far - expected).mean() < 3


def test_any_file_of_a_dicom_series_opens_the_slide(drawn: Callable, tmp_path: Path) -> None:
    image = drawn(600, 400)
    write("dicom", tmp_path, image)
    with open_slide(tmp_path / "s1" / "1.dcm", slide_id="s1", patient_id="p1") as reader:
        assert reader.size == (600, 400)
        np.testing.assert_array_equal(reader.read(0, 0, 600, 400), image)


def test_a_mirax_slide_without_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "case 7.mrxs"
    path.write_bytes(b"a thumbnail")
    with pytest.raises(SlideError, match=r"lacks the folder `case 7`.*Copy the folder as well"):
        open_slide(path, slide_id="s1", patient_id="p1")
    (tmp_path / "case 7").mkdir()
    with pytest.raises(SlideError, match="does not open"):
        open_slide(path, slide_id="s1", patient_id="p1")
