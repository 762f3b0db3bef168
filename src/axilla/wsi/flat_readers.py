"""Readers of flat images: small ones decoded once and held, large ones strip by strip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from axilla.core.types import MAX_SLIDE_PX
from axilla.wsi.flat import decode_flat, flat_header, require_end
from axilla.wsi.resize import resize, shrink_by_bands, thumbnail_size
from axilla.wsi.strips import StripReader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from axilla.core.types import MicronsPerPixel
    from axilla.wsi.flat import FlatHeader

STREAM_ABOVE_PX = 2**26
"""Flat images of more pixels are read by strips; others take up to 200 MB decoded."""


class Closing:
    """The context manager half of a reader."""

    @property
    def held_bytes(self) -> int:
        """As `SlideReader.held_bytes`."""
        return 0

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Flat(Closing):
    """What both kinds share: a window is made of bands of rows."""

    def __init__(self, size: tuple[int, int], mpp: MicronsPerPixel | None) -> None:
        self._size = size
        self._mpp = mpp

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    @property
    def mpp(self) -> MicronsPerPixel | None:
        return self._mpp

    def _bands(self, top: int, bottom: int) -> Iterable[tuple[int, NDArray[np.uint8]]]:
        raise NotImplementedError

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        slide_width, slide_height = self.size
        out = np.full((height, width, 3), 255, np.uint8)
        left, right = max(x, 0), min(x + width, slide_width)
        top, bottom = max(y, 0), min(y + height, slide_height)
        if left >= right or top >= bottom:
            return out
        for first, band in self._bands(top, bottom):
            start, stop = max(top, first), min(bottom, first + len(band))
            out[start - y : stop - y, left - x : right - x] = band[
                start - first : stop - first, left:right
            ]
        return out

    def read_resized(self, x: int, y: int, side_level0: int, size_px: int) -> NDArray[np.uint8]:
        return resize(self.read(x, y, side_level0, side_level0), size_px, size_px)


class WholeReader(_Flat):
    """A flat image, decoded once and held."""

    def __init__(self, pixels: NDArray[np.uint8], *, mpp: MicronsPerPixel | None) -> None:
        super().__init__((pixels.shape[1], pixels.shape[0]), mpp)
        self._pixels = pixels
        self._pixels.flags.writeable = False

    @property
    def held_bytes(self) -> int:
        """As `SlideReader.held_bytes`."""
        return self._pixels.nbytes

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """As `SlideReader.read`; a view where the window lies inside."""
        slide_width, slide_height = self.size
        if 0 <= x <= x + width <= slide_width and 0 <= y <= y + height <= slide_height:
            return self._pixels[y : y + height, x : x + width]
        return super().read(x, y, width, height)

    def _bands(self, top: int, bottom: int) -> Iterable[tuple[int, NDArray[np.uint8]]]:
        return [(top, self._pixels[top:bottom])]

    def thumbnail(self, max_side: int) -> tuple[NDArray[np.uint8], float]:
        """As `SlideReader.thumbnail`."""
        width, height, scale = thumbnail_size(self.size, max_side)
        return resize(self._pixels, width, height), scale


class _ByRows(_Flat):
    """A flat image that is never held whole."""

    def thumbnail(self, max_side: int) -> tuple[NDArray[np.uint8], float]:
        """As `SlideReader.thumbnail`; reads the image once from top to bottom."""
        width, height, scale = thumbnail_size(self.size, max_side)
        full = self.size[0]
        shrunk = shrink_by_bands(
            lambda first, last: self.read(0, first, full, last - first),
            size=self.size,
            width=width,
            height=height,
        )
        return shrunk, scale


class StreamedReader(_ByRows):
    """A compressed image of any size, decoded from top to bottom by strips."""

    def __init__(self, strips: StripReader, header: FlatHeader) -> None:
        super().__init__((header.width, header.height), header.mpp)
        self._strips = strips

    def close(self) -> None:
        """Let go of the file and the rows held."""
        self._strips.close()

    def _bands(self, top: int, bottom: int) -> Iterable[tuple[int, NDArray[np.uint8]]]:
        return self._strips.rows(top, bottom)


class MappedReader(_ByRows):
    """A TIFF without compression of any size: its pixels are read where they lie."""

    def __init__(self, path: Path, header: FlatHeader) -> None:
        super().__init__((header.width, header.height), header.mpp)
        shape = (header.height, header.width, header.channels)
        at = header.pixels_at or 0
        self._pixels = np.memmap(path, np.uint8, mode="r", offset=at, shape=shape)

    def _bands(self, top: int, bottom: int) -> Iterable[tuple[int, NDArray[np.uint8]]]:
        # Grey goes into red, green and blue as numpy copies it.
        return [(top, self._pixels[top:bottom])]


def open_flat(
    path: Path, *, slide_id: str, patient_id: str, max_px: int = MAX_SLIDE_PX
) -> WholeReader | StreamedReader | MappedReader:
    """Open a flat image: decoded at once where it is small or its format leaves no other way.

    Raises
    ------
    SlideError
        The image is damaged or too large (see `flat_header`). Damage in the midst of an image that
        streams is found when it is read.
    """
    header = flat_header(path, slide_id=slide_id, patient_id=patient_id, max_px=max_px)
    if header.whole is not None or header.width * header.height <= STREAM_ABOVE_PX:
        pixels = decode_flat(path, slide_id=slide_id, patient_id=patient_id)
        return WholeReader(pixels, mpp=header.mpp)
    require_end(path, header, slide_id=slide_id, patient_id=patient_id)
    if header.pixels_at is not None:
        return MappedReader(path, header)
    strips = StripReader(path, header, slide_id=slide_id, patient_id=patient_id)
    return StreamedReader(strips, header)
