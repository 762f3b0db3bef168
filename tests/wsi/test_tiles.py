"""Tiles against the pixels they show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from axilla.core.errors import SlideError
from axilla.wsi.resize import resize
from axilla.wsi.slides import open_slide, zooms
from axilla.wsi.strips import write_pyramid
from axilla.wsi.tiles import (
    TILE_PX,
    TileLevels,
    levels_of,
    patch_jpeg,
    read_tile,
    refuse_gone,
    tile_jpeg,
)

WIDTH, HEIGHT = 1500, 900
WHO = {"slide_id": "s", "patient_id": "p"}


@pytest.fixture
def pixels() -> np.ndarray:
    """Smooth enough that JPEG changes little."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    waves = [127 + 100 * np.sin(x / 90 + k) * np.cos(y / 70) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


@pytest.fixture
def image(pixels: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "slide.png"
    cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def test_levels_halve_down_to_one_pixel() -> None:
    levels = TileLevels(WIDTH, HEIGHT)
    assert levels.highest == 11
    assert levels.shape(11) == (1500, 900)
    assert levels.shape(10) == (750, 450)
    assert levels.shape(0) == (1, 1)
    assert [levels.span(level) for level in (11, 10, 9)] == [1, 2, 4]


def test_a_tile_holds_the_pixels_of_its_place(image: Path, pixels: np.ndarray) -> None:
    with open_slide(image, **WHO) as reader:
        assert np.array_equal(read_tile(reader, 11, 1, 0), pixels[:512, 512:1024])
        corner = read_tile(reader, 11, 2, 1)  # smaller: nothing outside of the slide is shown
        assert np.array_equal(corner, pixels[512:, 1024:])
        half = read_tile(reader, 10, 1, 0)
        assert half.shape == (450, 238, 3)
        assert np.array_equal(half, resize(pixels[:, 1024:], 238, 450))


def test_tiles_of_a_level_make_the_whole_slide(image: Path, pixels: np.ndarray) -> None:
    with open_slide(image, **WHO) as reader:
        rows = [
            np.concatenate([read_tile(reader, 11, column, row) for column in range(3)], axis=1)
            for row in range(2)
        ]
    assert np.array_equal(np.concatenate(rows), pixels)


@pytest.mark.parametrize("place", [(11, 3, 0), (11, 0, 2), (12, 0, 0), (-1, 0, 0), (0, 1, 0)])
def test_there_is_no_tile_outside(image: Path, place: tuple[int, int, int]) -> None:
    assert not TileLevels(WIDTH, HEIGHT).has(*place)
    with open_slide(image, **WHO) as reader, pytest.raises(LookupError):
        read_tile(reader, *place)


def test_a_tile_is_sent_as_a_jpeg_of_its_pixels(image: Path, pixels: np.ndarray) -> None:
    with open_slide(image, **WHO) as reader:
        sent = simplejpeg.decode_jpeg(tile_jpeg(reader, 11, 0, 0))
        patch = simplejpeg.decode_jpeg(patch_jpeg(reader, 100, 200, 64, size_px=64))
    assert np.abs(sent.astype(int) - pixels[:512, :512]).max() < 12
    assert np.abs(patch.astype(int) - pixels[200:264, 100:164]).max() < 12


def test_a_small_flat_image_zooms_and_a_large_one_does_not(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zooms(image, **WHO)
    monkeypatch.setattr("axilla.wsi.slides.STREAM_ABOVE_PX", WIDTH * HEIGHT - 1)
    assert not zooms(image, **WHO)


def test_a_pyramid_shows_what_the_image_does(
    image: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "pyramid.tif"
    write_pyramid(image, out, **WHO)
    assert zooms(out, **WHO)
    with open_slide(out, **WHO) as reader:
        assert levels_of(reader) == TileLevels(WIDTH, HEIGHT)
        full, small = read_tile(reader, 11, 0, 0), read_tile(reader, 9, 0, 0)
    assert np.abs(full.astype(int) - pixels[:TILE_PX, :TILE_PX]).max() < 12
    expected = resize(pixels, 375, 225)
    assert np.abs(small.astype(int) - expected).mean() < 2


def test_what_cannot_be_decoded_makes_no_pyramid(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 200)
    with pytest.raises(SlideError, match="cannot be decoded"):
        write_pyramid(broken, tmp_path / "out.tif", **WHO)


def test_a_slide_that_went_away_is_named(image: Path) -> None:
    refuse_gone(image, **WHO)
    image.unlink()
    with pytest.raises(SlideError, match="slide s is no longer there"):
        refuse_gone(image, **WHO)
