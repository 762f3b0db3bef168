"""Small drawn slides, the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import tifffile

if TYPE_CHECKING:
    from pathlib import Path

Draw = Callable[..., np.ndarray]


@pytest.fixture
def drawn() -> Draw:
    """Coloured noise with white squares in it, RGB uint8 [height, width, 3]."""

    def draw(width: int, height: int, *, seed: int = 0, white: int = 12) -> np.ndarray:
        rng = np.random.default_rng(seed)
        image = rng.integers(90, 250, (height, width, 3), np.uint8)
        for _ in range(white):
            x, y = rng.integers(0, width), rng.integers(0, height)
            side = rng.integers(4, max(5, min(width, height) // 3))
            image[y : y + side, x : x + side] = 255
        return image

    return draw


@pytest.fixture
def save_png(tmp_path: Path) -> Callable[[np.ndarray, str], Path]:
    def save(image: np.ndarray, name: str = "image.png") -> Path:
        path = tmp_path / name
        assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
        return path

    return save


@pytest.fixture
def save_pyramid(tmp_path: Path) -> Callable[..., Path]:
    """A tiled TIFF that OpenSlide reads, with a second level of half the size."""

    def save(image: np.ndarray, *, mpp: float | None = 0.5, levels: int = 2) -> Path:
        path = tmp_path / "pyramid.tif"
        per_cm = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
        how = {"tile": (256, 256), "photometric": "rgb"}
        with tifffile.TiffWriter(path) as file:
            file.write(image, **how, **(per_cm if mpp else {}))
            for level in range(1, levels):
                side = image.shape[1] >> level, image.shape[0] >> level
                small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
                file.write(small, subfiletype=1, **how)
        return path

    return save
