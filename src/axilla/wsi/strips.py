"""Flat images strip by strip: the only importer of pyvips.

libvips decodes a JPEG, PNG or TIFF from top to bottom and hands the rows over as they come. Its
pixels are those of simplejpeg and OpenCV to the last bit (tests/wsi/test_strips.py).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import pyvips

from axilla.wsi.flat import damaged, to_rgb

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from axilla.wsi.flat import FlatHeader

_BAND_ROWS = 64
"""Least rows of a band. libvips reads by 16 rows or a TIFF's strips, and cannot go back within
them once a band was handed over: bands are made of whole ones."""
_HELD_BYTES = 2**30
"""Most memory of decoded bands of one image."""
_PYRAMID_QUALITY = 90

# Strips are read once: caching whole operations would only hold what was let go. Slides are read
# in parallel already, so one thread each.
pyvips.cache_set_max(0)
pyvips.concurrency_set(1)


class StripReader:
    """Rows of a flat image, decoded as they are asked for and let go once they are passed.

    Holds the bands of the last window and as many rows above it. Asking for rows further above
    starts the decoder again at the top: right, but slow, so callers ask from top to bottom.
    """

    def __init__(self, path: Path, header: FlatHeader, *, slide_id: str, patient_id: str) -> None:
        self._path = path
        self._header = header
        self._who = (slide_id, patient_id)
        unit = math.lcm(16, header.rows_per_strip)
        self._rows = unit * -(-_BAND_ROWS // unit)
        self._held: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._next = 0
        self.restarts = 0
        self._image = self._open()

    def close(self) -> None:
        """Let go of the bands and of the file."""
        self._held.clear()
        self._image = None

    def rows(self, top: int, bottom: int) -> list[tuple[int, NDArray[np.uint8]]]:
        """Bands that cover the rows from `top` to before `bottom`: first row, RGB [h, w, 3]."""
        first, last = top // self._rows, (bottom - 1) // self._rows
        if first < self._next and any(
            band not in self._held for band in range(first, min(last + 1, self._next))
        ):
            self._held.clear()
            self._next = 0
            self.restarts += 1
            self._image = self._open()
        keep_from = first - (last - first + 1)
        # The decoder passes over what lies between by itself.
        self._next = max(self._next, keep_from)
        while self._next <= last:
            self._held[self._next] = self._decode(self._next)
            self._next += 1
            self._let_go(keep_from, first)
        return [(band * self._rows, self._held[band]) for band in range(first, last + 1)]

    def _let_go(self, keep_from: int, first: int) -> None:
        """Drop what was passed, and above `_HELD_BYTES` also what lies just above the window."""
        band_bytes = self._rows * self._header.width * 3
        for band in list(self._held):
            full = len(self._held) * band_bytes > _HELD_BYTES
            if band < keep_from or (full and band < first):
                del self._held[band]

    def _open(self) -> pyvips.Image:
        load = {
            "jpeg": pyvips.Image.jpegload,
            "png": pyvips.Image.pngload,
            "tiff": pyvips.Image.tiffload,
        }[self._header.kind]
        # As strict as the decoders of whole images: simplejpeg refuses what libjpeg warns of.
        strict = "warning" if self._header.kind == "jpeg" else "error"
        try:
            image = load(str(self._path), access="sequential", fail_on=strict)
        except pyvips.Error as error:
            raise damaged(self._path, *self._who) from error
        fits = image.format in {"uchar", "ushort"} and image.bands <= 4
        if not fits or (image.width, image.height) != (self._header.width, self._header.height):
            raise damaged(self._path, *self._who)
        return image

    def _decode(self, band: int) -> NDArray[np.uint8]:
        image = self._image
        top = band * self._rows
        height = min(self._rows, self._header.height - top)
        try:
            raw = image.crop(0, top, image.width, height).write_to_memory()
        except pyvips.Error as error:
            raise damaged(self._path, *self._who) from error
        kind = np.uint8 if image.format == "uchar" else np.uint16
        return to_rgb(np.frombuffer(raw, kind).reshape(height, image.width, image.bands))


def write_pyramid(source: Path, out: Path, *, slide_id: str, patient_id: str) -> None:
    """Write a flat image as a tiled pyramid, which a viewer can zoom: JPEG tiles, halving levels.

    Raises
    ------
    SlideError
        The image cannot be decoded, or `out` cannot be written.
    """
    try:
        image = pyvips.Image.new_from_file(str(source), access="sequential", fail_on="error")
        if image.hasalpha():
            image = image.flatten(background=255)
        image = image.colourspace("srgb").cast("uchar")
        image.tiffsave(
            str(out), tile=True, pyramid=True, bigtiff=True, tile_width=256, tile_height=256,
            compression="jpeg", Q=_PYRAMID_QUALITY,
        )  # fmt: skip
    except pyvips.Error as error:
        raise damaged(source, slide_id, patient_id) from error
