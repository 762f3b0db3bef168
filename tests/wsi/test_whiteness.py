from __future__ import annotations

import numpy as np
import pytest

from axilla.wsi.whiteness import count_white


def by_definition(pixels: np.ndarray, level: int, inside: np.ndarray | None) -> int:
    white = (pixels >= level).all(axis=2)
    return int((white if inside is None else white | (inside == 0)).sum())


@pytest.mark.parametrize("level", [255, 220])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("low", [0, 215, 254, 255])
def test_against_the_definition(*, level: int, masked: bool, low: int) -> None:
    rng = np.random.default_rng(low)
    image = rng.integers(low, 256, (40, 50, 3), np.uint8)
    pixels = image[3:33, 7:47]  # as patches are: no array of its own
    inside = rng.integers(0, 2, (30, 40), np.uint8) if masked else None
    expected = by_definition(pixels, level, inside)
    assert count_white(pixels, level=level, inside=inside) == expected


def test_one_white_value_is_no_white_pixel() -> None:
    pixels = np.full((8, 8, 3), 255, np.uint8)
    pixels[..., 1] = 254
    assert count_white(pixels, level=255) == 0


def test_nothing_is_not_white() -> None:
    assert count_white(np.zeros((0, 8, 3), np.uint8), level=255) == 0
