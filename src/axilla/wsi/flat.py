"""Flat images (JPEG, PNG, BMP, plain TIFF) to RGB: decoding, size bounds and their errors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import simplejpeg
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from axilla.core.errors import SlideError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
"""Flat only where OpenSlide does not know them."""
FLAT_SUFFIXES = JPEG_SUFFIXES | {".png", ".bmp"}
MAX_FLAT_PX = 2**30
"""Largest flat image in pixels (3 GiB once decoded); OpenCV refuses larger ones itself."""


def flat_size(path: Path, *, slide_id: str, patient_id: str) -> tuple[int, int]:
    """Width and height of a flat image in pixels, from its header.

    Raises
    ------
    SlideError
        The header cannot be read, or the image is over `MAX_FLAT_PX`.
    """
    suffix = path.suffix.lower()
    # The format's own class, because Image.open warns of, then refuses, a large region image.
    kind = (
        JpegImageFile
        if suffix in JPEG_SUFFIXES
        else {".png": PngImageFile, ".bmp": BmpImageFile}.get(suffix, TiffImageFile)
    )
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            # Damage in metadata that nobody reads; damage that matters is an error below.
            warnings.simplefilter("ignore")
            with kind(file) as image:
                width, height = image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, slide_id, patient_id) from error
    if width * height > MAX_FLAT_PX:
        raise SlideError(
            f"the flat image of slide {slide_id} has {width:,} x {height:,} pixels, more than the "
            f"{MAX_FLAT_PX:,} that are held in memory at once.",
            "Save it as a tiled pyramidal TIFF, or cut it into regions.",
            patient=patient_id,
            file=path,
        )
    return width, height


def decode_flat(path: Path, *, slide_id: str, patient_id: str) -> NDArray[np.uint8]:
    """Decode a flat image to RGB uint8 [h, w, 3]; transparency is laid on white.

    JPEG goes through simplejpeg (305 megapixels/s on BCNB region images, OpenCV 237), the rest
    through OpenCV (PNG: 38 megapixels/s on UCSB images, Pillow 33), on one core.

    Raises
    ------
    SlideError
        The file cannot be decoded, is cut short, or is over `MAX_FLAT_PX`.
    """
    flat_size(path, slide_id=slide_id, patient_id=patient_id)
    try:
        data = path.read_bytes()
        if path.suffix.lower() in JPEG_SUFFIXES:
            *_, colours, _ = simplejpeg.decode_jpeg_header(data)
            if colours not in {"CMYK", "YCCK"}:
                return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"), dtype=np.uint8)
        # Stored pixels: IMREAD_UNCHANGED keeps transparency and does not turn the image.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, cv2.error) as error:
        raise _damaged(path, slide_id, patient_id) from error
    if image is None:
        raise _damaged(path, slide_id, patient_id)
    return _to_rgb(image)


def _to_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """OpenCV's grey, BGR or BGRA, of 8 or 16 bits, to RGB uint8 [h, w, 3]."""
    pixels = (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image.astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    rgb = np.ascontiguousarray(pixels[..., 2::-1])
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        share = pixels[..., 3:].astype(np.float32) / 255
        rgb = np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)
    return rgb


def _damaged(path: Path, slide_id: str, patient_id: str) -> SlideError:
    return SlideError(
        f"the image of slide {slide_id} cannot be decoded: it is damaged, cut short, or not what "
        f"its ending `{path.suffix}` says.",
        "Copy or export it again.",
        patient=patient_id,
        file=path,
    )
