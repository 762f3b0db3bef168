"""A slide as square tiles of halving resolution, as a viewer that zooms asks for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import simplejpeg

from axilla.core.errors import SlideError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from axilla.wsi.slides import SlideReader

TILE_PX = 512
"""Side of a tile: a quarter of the requests that tiles of 256 pixels need."""
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class TileLevels:
    """How many tiles a slide has at which resolution.

    Levels are numbered as in Deep Zoom: at the highest a tile's pixel is one of level 0 of the
    slide, at each lower one twice as many, down to one pixel of the whole slide.
    """

    width: int
    height: int
    """Pixels of the slide's level 0."""

    @property
    def highest(self) -> int:
        """Number of the level of full resolution."""
        return math.ceil(math.log2(max(self.width, self.height, 1)))

    def span(self, level: int) -> int:
        """How many level-0 pixels a pixel of a level spans."""
        return int(2 ** (self.highest - level))

    def shape(self, level: int) -> tuple[int, int]:
        """Width and height of a level in its own pixels."""
        span = self.span(level)
        return -(-self.width // span), -(-self.height // span)

    def has(self, level: int, column: int, row: int) -> bool:
        """Whether there is such a tile."""
        if not 0 <= level <= self.highest:
            return False
        width, height = self.shape(level)
        return 0 <= column * TILE_PX < width and 0 <= row * TILE_PX < height


def levels_of(reader: SlideReader) -> TileLevels:
    """The levels of an open slide."""
    return TileLevels(*reader.size)


def read_tile(reader: SlideReader, level: int, column: int, row: int) -> NDArray[np.uint8]:
    """Pixels of one tile, RGB [h, w, 3]; those at the right and at the bottom may be smaller.

    Raises
    ------
    SlideError
        The slide cannot be read there.
    LookupError
        There is no such tile.
    """
    levels = levels_of(reader)
    if not levels.has(level, column, row):
        raise LookupError(f"no tile {column}, {row} at level {level}")
    span, (width, height) = levels.span(level), levels.shape(level)
    side = TILE_PX * span
    pixels = reader.read_resized(column * side, row * side, side, TILE_PX)
    return pixels[: min(TILE_PX, height - row * TILE_PX), : min(TILE_PX, width - column * TILE_PX)]


def tile_jpeg(reader: SlideReader, level: int, column: int, row: int) -> bytes:
    """One tile as a JPEG file; errors as of `read_tile`."""
    pixels = read_tile(reader, level, column, row)
    contiguous = pixels if pixels.flags.c_contiguous else pixels.copy()
    return bytes(simplejpeg.encode_jpeg(contiguous, quality=_QUALITY, colorspace="RGB"))


def refuse_gone(path: Path, *, slide_id: str, patient_id: str) -> None:
    """Raise SlideError where the file of an open slide is no longer there.

    A reader goes on reading a file that was deleted, or fails somewhere within a library.
    """
    if path.is_file():
        return
    raise SlideError(
        f"the image of slide {slide_id} is no longer there.",
        "Put the file back, or mount its disk again, and reload the page.",
        patient=patient_id,
        file=path,
    )


def patch_jpeg(reader: SlideReader, x: int, y: int, side_level0: int, *, size_px: int) -> bytes:
    """A square of `side_level0` level-0 pixels as a JPEG file of `size_px` pixels a side.

    Raises
    ------
    SlideError
        The slide cannot be read there.
    """
    pixels = reader.read_resized(x, y, side_level0, size_px)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorspace="RGB"))
