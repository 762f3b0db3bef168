"""Slides as one kind of reader, whatever the file: the only place that opens them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, Self

import cv2
import numpy as np
import openslide

from axilla.core.errors import SlideError
from axilla.core.types import MicronsPerPixel
from axilla.wsi.flat import FLAT_SUFFIXES, TIFF_SUFFIXES, decode_flat, flat_size

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

_BAND_PX = 32_000_000
"""Most pixels of a level that a thumbnail holds at once: one level of a slide can be gigapixels."""
_SANE_MPP = (0.02, 50.0)
"""µm/px outside these are a printer's resolution in the file's header, not a microscope's."""


class SlideReader(Protocol):
    """An open slide. All positions and sizes are in level-0 pixels unless named otherwise."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0 in pixels."""
        ...

    @property
    def mpp(self) -> MicronsPerPixel | None:
        """µm per level-0 pixel, None where the file does not say."""
        ...

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Pixels of level 0 as RGB [height, width, 3]; what lies outside the slide is white.

        It may be a view of the slide's own pixels, which cannot be written to.
        """
        ...

    def read_resized(self, x: int, y: int, side_level0: int, size_px: int) -> NDArray[np.uint8]:
        """A square of `side_level0` level-0 pixels as RGB [size_px, size_px, 3], antialiased."""
        ...

    def thumbnail(self, max_side: int) -> tuple[NDArray[np.uint8], float]:
        """Give the whole slide as RGB [h, w, 3], and how many level-0 pixels a pixel of it spans.

        Neither side is longer than `max_side` pixels; a slide that is smaller is not enlarged.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_slide(path: Path, *, slide_id: str, patient_id: str) -> SlideReader:
    """Open a slide or a cut region image.

    Parameters
    ----------
    path
        Any format of OpenSlide, or a flat JPEG, PNG, BMP or TIFF, which is decoded once and held.
        The orientation that a flat file's EXIF asks for is not applied: annotations are in stored
        pixels.
    slide_id, patient_id
        Whose slide it is, for the errors.

    Raises
    ------
    SlideError
        The file is missing, damaged, of no known format, or a flat image that is too large.
    """
    vendor = _vendor(path, slide_id=slide_id, patient_id=patient_id)
    if vendor is None:
        return _FlatReader(decode_flat(path, slide_id=slide_id, patient_id=patient_id))
    try:
        return _OpenSlideReader(openslide.OpenSlide(path), path=path, patient_id=patient_id)
    except openslide.OpenSlideError as error:
        raise _unreadable(path, slide_id, patient_id, str(error)) from error


def slide_size(path: Path, *, slide_id: str, patient_id: str) -> tuple[int, int]:
    """Width and height of level 0 in pixels, from the header alone.

    Raises
    ------
    SlideError
        As `open_slide`, but damage behind the header of a flat image goes unseen.
    """
    if _vendor(path, slide_id=slide_id, patient_id=patient_id) is None:
        return flat_size(path, slide_id=slide_id, patient_id=patient_id)
    with open_slide(path, slide_id=slide_id, patient_id=patient_id) as reader:
        return reader.size


def _vendor(path: Path, *, slide_id: str, patient_id: str) -> str | None:
    """OpenSlide's name for the format; None for a flat image."""
    if not path.is_file():
        raise SlideError(
            f"the image of slide {slide_id} "
            + ("is a folder, not a file." if path.is_dir() else "does not exist."),
            "Put the file there, or correct `slides:` or the table's `slide` column.",
            patient=patient_id,
            file=path,
        )
    suffix = path.suffix.lower()
    if suffix in FLAT_SUFFIXES:
        return None
    try:
        vendor = openslide.OpenSlide.detect_format(path)
    except (openslide.OpenSlideError, OSError) as error:
        raise _unreadable(path, slide_id, patient_id, str(error)) from error
    if vendor is None and suffix not in TIFF_SUFFIXES:
        raise _unreadable(path, slide_id, patient_id, "no known slide format")
    return str(vendor) if vendor is not None else None


def _unreadable(path: Path, slide_id: str, patient_id: str, why: str) -> SlideError:
    return SlideError(
        f"slide {slide_id} does not open ({why.strip().rstrip('.')}).",
        "The file is damaged, incomplete or not a slide: copy or export it again from the scanner.",
        patient=patient_id,
        file=path,
    )


class _Closing:
    """The context manager half of a reader."""

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


class _FlatReader(_Closing):
    """A flat image, decoded once and held."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels
        self._pixels.flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        return self._pixels.shape[1], self._pixels.shape[0]

    @property
    def mpp(self) -> MicronsPerPixel | None:
        # JFIF and TIFF resolutions of flat exports are a screen's dots per inch.
        return None

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        slide_width, slide_height = self.size
        if 0 <= x <= x + width <= slide_width and 0 <= y <= y + height <= slide_height:
            return self._pixels[y : y + height, x : x + width]
        out = np.full((height, width, 3), 255, np.uint8)
        left, right = max(x, 0), min(x + width, slide_width)
        top, bottom = max(y, 0), min(y + height, slide_height)
        if left < right and top < bottom:
            out[top - y : bottom - y, left - x : right - x] = self._pixels[top:bottom, left:right]
        return out

    def read_resized(self, x: int, y: int, side_level0: int, size_px: int) -> NDArray[np.uint8]:
        return _resize(self.read(x, y, side_level0, side_level0), size_px, size_px)

    def thumbnail(self, max_side: int) -> tuple[NDArray[np.uint8], float]:
        width, height, scale = _thumbnail_size(self.size, max_side)
        return _resize(self._pixels, width, height), scale


class _OpenSlideReader(_Closing):
    """A slide of a scanner, read by tiles."""

    def __init__(self, slide: openslide.OpenSlide, *, path: Path, patient_id: str) -> None:
        self._slide = slide
        self._path = path
        self._patient_id = patient_id
        self._mpp = _microns_per_pixel(slide)

    @property
    def size(self) -> tuple[int, int]:
        width, height = self._slide.dimensions
        return int(width), int(height)

    @property
    def mpp(self) -> MicronsPerPixel | None:
        return self._mpp

    def close(self) -> None:
        self._slide.close()

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return self._read_level(x, y, 0, width, height)

    def read_resized(self, x: int, y: int, side_level0: int, size_px: int) -> NDArray[np.uint8]:
        level, downsample = self._level_for(side_level0 / size_px)
        side = max(1, round(side_level0 / downsample))
        return _resize(self._read_level(x, y, level, side, side), size_px, size_px)

    def thumbnail(self, max_side: int) -> tuple[NDArray[np.uint8], float]:
        width, height, scale = _thumbnail_size(self.size, max_side)
        level, downsample = self._level_for(scale)
        level_width, level_height = self._slide.level_dimensions[level]
        out = np.empty((height, width, 3), np.uint8)
        bands = min(height, -(-level_width * level_height // _BAND_PX))
        edges = [round(height * band / bands) for band in range(bands + 1)]
        for top, bottom in pairwise(edges):
            first, last = (round(level_height * row / height) for row in (top, bottom))
            band = self._read_level(0, round(first * downsample), level, level_width, last - first)
            out[top:bottom] = _resize(band, width, bottom - top)
        return out, scale

    def _level_for(self, downsample: float) -> tuple[int, float]:
        """The smallest level that is still at least as fine as asked, and its downsample."""
        # Sides of a pyramid are rounded, so that a level of 4 may say 4.0005.
        fits = [
            (float(have), level)
            for level, have in enumerate(self._slide.level_downsamples)
            if have <= downsample * 1.01
        ]
        have, level = max(fits, default=(1.0, 0))
        return level, have

    def _read_level(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        try:
            image = self._slide.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"the slide cannot be read at x {x}, y {y} ({error}).",
                "The file is damaged or incomplete: copy or export it again from the scanner.",
                patient=self._patient_id,
                file=self._path,
            ) from error
        return _on_white(np.asarray(image))


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA [h, w, 4] laid on white: RGB [h, w, 3]."""
    alpha = rgba[..., 3]
    rgb = np.ascontiguousarray(rgba[..., :3])
    if alpha.min() == 255:
        return rgb
    partial = alpha < 255
    share = alpha[partial, None].astype(np.float32) / 255
    rgb[partial] = np.rint(rgb[partial] * share + 255 * (1 - share)).astype(np.uint8)
    return rgb


def _resize(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Area mean where the image shrinks (antialiased), linear where it grows."""
    have_height, have_width = rgb.shape[:2]
    if (have_width, have_height) == (width, height):
        return rgb.copy()
    shrinks = have_width >= width and have_height >= height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), dtype=np.uint8)


def _thumbnail_size(size: tuple[int, int], max_side: int) -> tuple[int, int, float]:
    scale = max(1.0, max(size) / max_side)
    width, height = (max(1, round(side / scale)) for side in size)
    return width, height, scale


def _microns_per_pixel(slide: openslide.OpenSlide) -> MicronsPerPixel | None:
    """Mean of both axes, None where either is missing or no microscope's."""
    axes = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
    try:
        values = [float(slide.properties[name]) for name in axes]
    except (KeyError, ValueError):
        return None
    low, high = _SANE_MPP
    if not all(low <= value <= high for value in values):
        return None
    return MicronsPerPixel(sum(values) / 2)
