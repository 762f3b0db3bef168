"""Slides as one kind of reader, whatever the file: the only place that opens them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import openslide
import tifffile

from axilla.core.errors import SlideError
from axilla.core.types import MAX_SLIDE_PX, MicronsPerPixel
from axilla.wsi.flat import FLAT_SUFFIXES, TIFF_SUFFIXES, flat_header, refuse_over_limit
from axilla.wsi.flat_readers import STREAM_ABOVE_PX, Closing, open_flat
from axilla.wsi.resize import resize, shrink_by_bands, thumbnail_size
from axilla.wsi.scale import sane_mpp

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

_TIFF_VENDORS = frozenset(
    {"aperio", "generic-tiff", "hamamatsu-ndpi", "leica", "philips-tiff", "trestle", "ventana"}
)
_COARSE_PX = 8192
"""A level of this side is read in a moment, whatever part of it a tile needs."""


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

    @property
    def held_bytes(self) -> int:
        """Bytes of pixels that stay in memory as long as it is open."""
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


def open_slide(
    path: Path, *, slide_id: str, patient_id: str, max_px: int = MAX_SLIDE_PX
) -> SlideReader:
    """Open a slide or a cut region image.

    Parameters
    ----------
    path
        Any format of OpenSlide, or a flat JPEG, PNG, BMP or TIFF. A flat image of up to 2**26
        pixels is decoded once and held; a larger one is read strip by strip from top to bottom,
        unless its format forbids it (`flat_header`), and then asking for rows above those just
        read starts its decoder again.
        The orientation that a flat file's EXIF asks for is not applied: annotations are in stored
        pixels.
    slide_id, patient_id
        Whose slide it is, for the errors.
    max_px
        Most pixels of level 0, `max_slide_px` of the study.

    Raises
    ------
    SlideError
        The file is missing, damaged, of no known format, or too large. Damage in the midst of a
        large image is found when it is read.
    """
    vendor = _vendor(path, slide_id=slide_id, patient_id=patient_id)
    if vendor is None:
        return open_flat(path, slide_id=slide_id, patient_id=patient_id, max_px=max_px)
    if vendor in _TIFF_VENDORS:
        _require_all_tiles(path, slide_id, patient_id)
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise _unreadable(path, slide_id, patient_id, str(error)) from error
    reader = _OpenSlideReader(slide, path=path, patient_id=patient_id)
    try:
        refuse_over_limit(reader.size, path, slide_id, patient_id, max_px)
    except SlideError:
        reader.close()
        raise
    return reader


def slide_size(path: Path, *, slide_id: str, patient_id: str) -> tuple[int, int]:
    """Width and height of level 0 in pixels, from the header alone.

    Raises
    ------
    SlideError
        As `open_slide`, but damage behind the header of a flat image goes unseen.
    """
    if _vendor(path, slide_id=slide_id, patient_id=patient_id) is None:
        header = flat_header(path, slide_id=slide_id, patient_id=patient_id)
        return header.width, header.height
    with open_slide(path, slide_id=slide_id, patient_id=patient_id) as reader:
        return reader.size


def zooms(path: Path, *, slide_id: str, patient_id: str) -> bool:
    """Whether any part of the image can be read at any resolution without reading much more of it.

    Not so a large flat image, which is decoded from top to bottom, nor a tiled TIFF that holds full
    resolution only.

    Raises
    ------
    SlideError
        As `slide_size`.
    """
    vendor = _vendor(path, slide_id=slide_id, patient_id=patient_id)
    if vendor is None:
        header = flat_header(path, slide_id=slide_id, patient_id=patient_id)
        # A BMP is decoded whole and held, whatever its size.
        return header.kind == "bmp" or header.width * header.height <= STREAM_ABOVE_PX
    if vendor not in _TIFF_VENDORS:
        return True
    with openslide.OpenSlide(path) as slide:
        return bool(max(slide.level_dimensions[-1]) <= _COARSE_PX)


def _require_all_tiles(path: Path, slide_id: str, patient_id: str) -> None:
    """Raise SlideError where a tile of a TIFF-based slide lies behind the file's end.

    OpenSlide opens a file that was not copied to its end as long as the directories are there.
    """
    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as file:
            ends = [
                offset + count
                for page in file.pages
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
            ]
    except (tifffile.TiffFileError, OSError, ValueError, struct.error):
        # What tifffile cannot read OpenSlide may; if it cannot either, it says so.
        return
    if max(ends, default=0) > size:
        raise _unreadable(path, slide_id, patient_id, "its last tiles are missing: it is cut short")


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
    if path.stat().st_size == 0:
        raise SlideError(
            f"the image of slide {slide_id} is an empty file.",
            "Copy or export it again.",
            patient=patient_id,
            file=path,
        )
    suffix = path.suffix.lower()
    if suffix in FLAT_SUFFIXES:
        return None
    if suffix == ".mrxs" and not path.with_suffix("").is_dir():
        raise SlideError(
            f"slide {slide_id} lacks the folder `{path.stem}` that belongs beside its .mrxs file "
            "and holds its pixels.",
            "Copy the folder as well.",
            patient=patient_id,
            file=path,
        )
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


def scanned_origin(path: Path) -> tuple[int, int]:
    """Where the scanned part of a slide begins, (x, y) in level-0 pixels.

    (0, 0) where its file does not say, which is that of most formats; MIRAX, SCN and BIF do. Also
    where it does not open: `open_slide` tells why.
    """
    names = (openslide.PROPERTY_NAME_BOUNDS_X, openslide.PROPERTY_NAME_BOUNDS_Y)
    try:
        if openslide.OpenSlide.detect_format(str(path)) is None:
            return 0, 0
        with openslide.OpenSlide(str(path)) as slide:
            x, y = (int(slide.properties.get(name, 0)) for name in names)
    except (openslide.OpenSlideError, OSError, ValueError):
        return 0, 0
    return x, y


class _OpenSlideReader(Closing):
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
        return resize(self._read_level(x, y, level, side, side), size_px, size_px)

    def thumbnail(self, max_side: int) -> tuple[NDArray[np.uint8], float]:
        width, height, scale = thumbnail_size(self.size, max_side)
        level, downsample = self._level_for(scale)
        level_width, level_height = self._slide.level_dimensions[level]

        def rows(first: int, last: int) -> NDArray[np.uint8]:
            top = round(first * downsample)
            return self._read_level(0, top, level, level_width, last - first)

        size = (level_width, level_height)
        return shrink_by_bands(rows, size=size, width=width, height=height), scale

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


def _microns_per_pixel(slide: openslide.OpenSlide) -> MicronsPerPixel | None:
    """Mean of both axes, None where either is missing or no microscope's."""
    axes = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
    try:
        x, y = (float(slide.properties[name]) for name in axes)
    except (KeyError, ValueError):
        return None
    return sane_mpp(x, y)
