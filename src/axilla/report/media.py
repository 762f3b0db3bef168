"""Pictures and downloads as `data:` addresses, so that a report needs no file but its own."""

from __future__ import annotations

import base64
import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axilla.report.contents import Figure

_SVG_ROOT = re.compile(rb"<svg\b[^>]*>", re.DOTALL)
_SVG_LENGTH = re.compile(
    rb"""\b(width|height)\s*=\s*["']\s*([0-9.]+)\s*(?:px|pt|mm|cm|in)?\s*["']"""
)
_SVG_VIEW_BOX = re.compile(rb"""\bviewBox\s*=\s*["']([^"']+)["']""")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WORD_UNSAFE = re.compile(r"[^a-z0-9]+")


def data_uri(content: bytes, media_type: str) -> str:
    """Write `content` into an address that no request leaves the page for."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def csv_uri(text: str) -> str:
    """Offer a table's text as a download.

    A byte order mark goes first: without it Excel reads µ and ± in the computer's old code page.
    """
    return data_uri(text.encode("utf-8-sig"), "text/csv;charset=utf-8")


def csv_name(name: str, title: str) -> str:
    """Give a download a file name: its own, or one made from the title."""
    if name:
        return name
    words = _WORD_UNSAFE.sub("-", title.lower()).strip("-")
    return f"{words or 'numbers'}.csv"


def aspect_ratio(figure: Figure) -> float | None:
    """Width over height of a picture, read from its head.

    Returns
    -------
    float or None
        None where the head does not say; such a picture is laid out like a square one.
    """
    if figure.media_type == "image/svg+xml":
        size = _svg_size(figure.image)
    elif figure.media_type == "image/png":
        size = _png_size(figure.image)
    else:
        size = _jpeg_size(figure.image)
    if size is None or not (size[0] > 0 and size[1] > 0):
        return None
    return size[0] / size[1]


def _svg_size(image: bytes) -> tuple[float, float] | None:
    root = _SVG_ROOT.search(image)
    if root is None:
        return None
    lengths = {name: float(value) for name, value in _SVG_LENGTH.findall(root[0])}
    if len(lengths) == 2:
        return lengths[b"width"], lengths[b"height"]
    view_box = _SVG_VIEW_BOX.search(root[0])
    if view_box is None:
        return None
    numbers = view_box[1].replace(b",", b" ").split()
    return (float(numbers[2]), float(numbers[3])) if len(numbers) == 4 else None


def _png_size(image: bytes) -> tuple[float, float] | None:
    if not image.startswith(_PNG_SIGNATURE) or len(image) < 24:
        return None
    width, height = struct.unpack(">II", image[16:24])
    return float(width), float(height)


def _jpeg_size(image: bytes) -> tuple[float, float] | None:
    """Walk the segments up to the frame header, which holds the size."""
    position = 2
    while position + 9 <= len(image) and image[position] == 0xFF:
        marker, length = image[position + 1], struct.unpack_from(">H", image, position + 2)[0]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", image, position + 5)
            return float(width), float(height)
        position += 2 + length
    return None
