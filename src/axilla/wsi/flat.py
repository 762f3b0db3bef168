"""Flat images (JPEG, PNG, BMP, plain TIFF) to RGB: header, decoding, size bounds, their errors."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import simplejpeg
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from axilla.core.errors import SlideError
from axilla.core.types import MAX_SLIDE_PX, MicronsPerPixel
from axilla.wsi.scale import sane_mpp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
"""Flat only where OpenSlide does not know them."""
FLAT_SUFFIXES = JPEG_SUFFIXES | {".png", ".bmp"}
MAX_WHOLE_PX = 2**30
"""Largest image in pixels that is decoded whole (3 GiB); OpenCV refuses larger ones itself."""
MAX_WIDTH_PX = 2**20
"""Widest flat image: what streams is held by full rows (a JPEG has at most 65,500 columns)."""
_TAIL_BYTES = 2**16
"""Some writers append notes behind an image's end."""
_TIFF_UNITS: dict[object, float] = {2: 25_400.0, 3: 10_000.0}
"""µm in the unit of a TIFF's resolution: inch, centimetre."""

_BAND_BYTES = 2**28
"""Most memory that a TIFF's strips may take, decoded by 16 rows or whole strips."""
_BITS = (1, 2, 4, 8, 16)
"""Of each colour, that decoders bring to 8 or 16; 12 of 16 would be nearly black."""
_Kind = Literal["jpeg", "png", "bmp", "tiff"]
_TIFF_COLOURS = frozenset({0, 1, 2, 3, 6})
"""TIFF's photometric interpretations: grey, RGB, palette, YCbCr."""


@dataclass(frozen=True, slots=True)
class FlatHeader:
    """What a flat image says of itself before anything is decoded."""

    width: int
    height: int
    kind: _Kind
    whole: str | None
    """Why the image can only be decoded whole; None where it can be read strip by strip."""
    rows_per_strip: int = 1
    """Rows that a TIFF stores together; 1 where the format has no strips."""
    pixels_at: int | None = None
    """Where in a TIFF the plain pixels lie one after the other, if they do."""
    channels: int = 3
    """Grey (1) or RGB (3) where `pixels_at` is set."""
    bits: int = 8
    """Of each colour of a pixel."""
    end: int = 0
    """Bytes that a TIFF must have at least; 0 where the header does not say."""
    mpp: MicronsPerPixel | None = None
    """µm per pixel from a TIFF's resolution tags."""


def flat_header(
    path: Path, *, slide_id: str, patient_id: str, max_px: int = MAX_SLIDE_PX
) -> FlatHeader:
    """Read the header of a flat image, and refuse what is too large.

    JPEG, PNG and TIFF stream: rows come strip by strip, whatever the size; those of a TIFF without
    compression are read where they lie. BMP, progressive JPEG and JPEG in CMYK, interlaced PNG, and
    TIFF that is tiled (unless OpenSlide reads it), planar, compressed in few large strips, or with
    transparency do not, because their decoder holds the whole image or gives other colours by
    strips; these may have 2**30 pixels at most.

    Raises
    ------
    SlideError
        The header cannot be read, or the image has more pixels than `max_px` or than its format
        allows.
    """
    suffix = path.suffix.lower()
    # The format's own class, because Image.open warns of, then refuses, a large region image.
    kind: _Kind = (
        "jpeg" if suffix in JPEG_SUFFIXES
        else "png" if suffix == ".png"
        else "bmp" if suffix == ".bmp"
        else "tiff"
    )  # fmt: skip
    reader: Callable[..., Any] = {
        "jpeg": JpegImageFile,
        "png": PngImageFile,
        "bmp": BmpImageFile,
    }.get(kind, TiffImageFile)
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            # Damage in metadata that nobody reads; damage that matters is an error below.
            warnings.simplefilter("ignore")
            with reader(file) as image:
                header = _header(image, kind)
    except (OSError, SyntaxError, ValueError, TypeError, ZeroDivisionError) as error:
        raise damaged(path, slide_id, patient_id) from error
    _refuse_unread(header, path, slide_id, patient_id, max_px)
    return header


def _header(image: Any, kind: _Kind) -> FlatHeader:
    width, height = image.size
    if kind == "tiff":
        return _tiff_header(image.tag_v2, width=width, height=height)
    why = None
    if kind == "jpeg":
        # JFIF's density is left alone: it is what a screen or printer should show (72 or 96 dpi
        # from nearly every exporter), never the microscope's.
        progressive = "it is progressive" if image.info.get("progressive") else None
        why = "it is in CMYK" if image.mode == "CMYK" else progressive
    elif kind == "png":
        why = "it is interlaced" if image.info.get("interlace") else None
    else:
        why = "it is a BMP"
    return FlatHeader(width=width, height=height, kind=kind, whole=why)


def _tiff_header(tags: Any, *, width: int, height: int) -> FlatHeader:
    rows = min(int(tags.get(278, height)), height)
    if rows < 1:
        raise ValueError("strips without rows")
    bits = np.atleast_1d(tags.get(258, 1)).astype(int)
    offsets, counts = (np.asarray(tags.get(tag, ()), np.int64) for tag in (273, 279))
    ends = offsets + counts if offsets.shape == counts.shape else np.zeros(0, np.int64)
    channels = int(tags.get(277, 1))
    plain = (
        tags.get(259, 1) == 1
        and tags.get(262) == {1: 1, 3: 2}.get(channels)
        and tags.get(258) == (8,) * channels
        and len(ends) > 0
        and ends[-1] - offsets[0] == width * height * channels
        and bool((ends[:-1] == offsets[1:]).all())
    )
    why = _tiff_whole(tags, band_bytes=0 if plain else math.lcm(16, rows) * width * 3, rows=rows)
    return FlatHeader(
        width=width,
        height=height,
        kind="tiff",
        whole=why,
        rows_per_strip=rows,
        pixels_at=int(offsets[0]) if plain and why is None else None,
        channels=channels,
        bits=int(bits.max()),
        end=int(ends.max(initial=0)),
        mpp=_tiff_mpp(tags),
    )


def _tiff_whole(tags: Any, *, band_bytes: int, rows: int) -> str | None:
    if 322 in tags:
        return "it is tiled in a way that OpenSlide does not read"
    if tags.get(284, 1) != 1:
        return "its colours are stored one after the other"
    if 338 in tags or tags.get(262) not in _TIFF_COLOURS:
        return "it has other colours than red, green and blue"
    if band_bytes > _BAND_BYTES:
        return f"its strips are of {rows:,} rows"
    return None


def _tiff_mpp(tags: Any) -> MicronsPerPixel | None:
    """µm/px of TIFF's resolution tags, which scanners and microscope cameras do fill in."""
    unit = _TIFF_UNITS.get(tags.get(296, 2))
    x, y = (float(tags.get(tag, 0) or 0) for tag in (282, 283))
    return sane_mpp(unit / x, unit / y) if unit is not None and x > 0 and y > 0 else None


def _refuse_unread(
    header: FlatHeader, path: Path, slide_id: str, patient_id: str, max_px: int
) -> None:
    width, height = header.width, header.height
    if header.bits not in _BITS:
        raise SlideError(
            f"the flat image of slide {slide_id} has {header.bits} bits a colour; "
            f"{', '.join(map(str, _BITS[:-1]))} or {_BITS[-1]} are read.",
            "Save it with 8 bits a colour.",
            patient=patient_id,
            file=path,
        )
    refuse_over_limit((width, height), path, slide_id, patient_id, max_px)
    if header.whole is not None and width * height > MAX_WHOLE_PX:
        raise SlideError(
            f"the flat image of slide {slide_id} has {width:,} x {height:,} pixels and must be "
            f"decoded whole ({header.whole}), for which {MAX_WHOLE_PX:,} pixels are the limit.",
            "Save it as a tiled pyramidal TIFF, or cut it into regions.",
            patient=patient_id,
            file=path,
        )
    if width > MAX_WIDTH_PX:
        raise SlideError(
            f"the flat image of slide {slide_id} is {width:,} pixels wide; flat images may have "
            f"{MAX_WIDTH_PX:,}.",
            "Save it as a tiled pyramidal TIFF, or cut it into regions.",
            patient=patient_id,
            file=path,
        )


def refuse_over_limit(
    size: tuple[int, int], path: Path, slide_id: str, patient_id: str, max_px: int
) -> None:
    """Raise SlideError where an image has more pixels than the study allows."""
    if size[0] * size[1] > max_px:
        raise SlideError(
            f"slide {slide_id} says it has {size[0]:,} x {size[1]:,} pixels, more than the "
            f"{max_px:,} of `max_slide_px`.",
            "Raise max_slide_px in the study if the slide really is so large; else the file is "
            "damaged or was made to exhaust the machine.",
            patient=patient_id,
            file=path,
        )


def decode_flat(path: Path, *, slide_id: str, patient_id: str) -> NDArray[np.uint8]:
    """Decode a flat image to RGB uint8 [h, w, 3]; transparency is laid on white.

    JPEG goes through simplejpeg (305 megapixels/s on BCNB region images, OpenCV 237), the rest
    through OpenCV (PNG: 38 megapixels/s on UCSB images, Pillow 33), on one core.

    Raises
    ------
    SlideError
        The file cannot be decoded, or is cut short.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() in JPEG_SUFFIXES:
            *_, colours, _ = simplejpeg.decode_jpeg_header(data)
            if colours not in {"CMYK", "YCCK"}:
                return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"), dtype=np.uint8)
        # Stored pixels: IMREAD_UNCHANGED keeps transparency and does not turn the image.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, cv2.error) as error:
        raise damaged(path, slide_id, patient_id) from error
    if image is None:
        raise damaged(path, slide_id, patient_id)
    # OpenCV's blue, green, red.
    order = [2, 1, 0, 3][: image.shape[2]] if image.ndim == 3 else None
    return to_rgb(image[..., None] if order is None else image[..., order])


def to_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey, grey and alpha, RGB or RGBA of 8 or 16 bits [h, w, 1..4] to RGB uint8 [h, w, 3]."""
    pixels = (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image.astype(np.uint8)
    colours, alpha = (pixels, None) if pixels.shape[2] % 2 else (pixels[..., :-1], pixels[..., -1:])
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    if alpha is not None and alpha.min() < 255:
        share = alpha.astype(np.float32) / 255
        colours = np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)
    return np.ascontiguousarray(colours)


def require_end(path: Path, header: FlatHeader, *, slide_id: str, patient_id: str) -> None:
    """Raise SlideError where a JPEG or PNG lacks its end marker, or a TIFF its last strip.

    An image that streams is not decoded when it is opened; this finds the commonest damage then:
    a file that was not copied to its end.
    """
    if header.end > path.stat().st_size:
        raise damaged(path, slide_id, patient_id)
    end = {"jpeg": b"\xff\xd9", "png": b"IEND"}.get(header.kind)
    if end is None:
        return
    try:
        with path.open("rb") as file:
            file.seek(-min(_TAIL_BYTES, path.stat().st_size), 2)
            tail = file.read()
    except OSError as error:
        raise damaged(path, slide_id, patient_id) from error
    if end not in tail:
        raise damaged(path, slide_id, patient_id)


def damaged(path: Path, slide_id: str, patient_id: str) -> SlideError:
    """The error of a flat image that cannot be decoded."""
    return SlideError(
        f"the image of slide {slide_id} cannot be decoded: it is damaged, cut short, or not what "
        f"its ending `{path.suffix}` says.",
        "Copy or export it again.",
        patient=patient_id,
        file=path,
    )
