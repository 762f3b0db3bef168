"""Files that come in: what they are is told by their bytes, never by their name."""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from axilla.core.errors import AnnotationError, CohortError, SlideError, WriteError
from axilla.core.slide_files import IMAGE_SUFFIXES, first_of_series
from axilla.core.types import Slide
from axilla.wsi.annotations import check_regions, read_annotation
from axilla.wsi.flat import FLAT_SUFFIXES
from axilla.wsi.regions import outline_rings
from axilla.wsi.slides import slide_size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

    from axilla.core.types import Region

MAX_UPLOAD_BYTES = 4 * 2**30
"""Of all files of one case, unless the server's owner says otherwise."""
MAX_OUTLINE_BYTES = 16 * 2**20
"""An outline of tumour has kilobytes; what is larger holds a slide's detected cells."""
PATIENCE_S = 60.0
"""A file that does not go on for so long is given up."""
FREE_BYTES = 2**30
"""Left on the disk, whatever comes in."""
_WRITE_BYTES = 2**20
_DENSE_PX = 400
"""Pixels that a byte of a flat image may stand for: tissue has 5 to 20, blank glass 200."""
_SMALL_PX = 2**26
"""Up to here a flat image costs little however small its file."""
_STARTS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"BM", ".bmp"),
    (b"II*\x00", ".tif"), (b"MM\x00*", ".tif"), (b"II+\x00", ".tif"), (b"MM\x00+", ".tif"),
)  # fmt: skip
_BLANK = b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"


@dataclass(frozen=True, slots=True)
class Outline:
    """The tumour of a slide as it was drawn or uploaded."""

    path: Path
    rings: tuple[list[list[float]], ...]
    """In level-0 pixels."""
    regions: int
    repaired: int
    """Regions whose outline crossed itself."""


@dataclass(frozen=True, slots=True)
class GivenSlide:
    """A slide of a new case, opened once so that it is known to be one."""

    number: int
    path: Path
    """What `axilla predict-case` would be given."""
    slide: Slide
    size: tuple[int, int]
    own_bytes: int
    """That were uploaded; 0 for one that was picked."""
    title: str
    outline: Outline | None = None

    @property
    def name(self) -> str:
        """How it is called in the case's record."""
        return f"slide-{self.number}"


def slide_suffix(start: bytes) -> str:
    """The ending of a slide's file, from its first bytes.

    A scanner's own TIFF (SVS, NDPI, SCN, BIF) gets `.tif`: OpenSlide knows it by what is in it.

    Raises
    ------
    SlideError
        They are those of no slide that comes in one file.
    """
    for magic, suffix in _STARTS:
        if start.startswith(magic):
            return suffix
    if start[128:132] == b"DICM":
        return ".dcm"
    raise SlideError(
        "this is no slide: its first bytes are those of no JPEG, PNG, BMP, TIFF or DICOM.",
        "Upload SVS, NDPI, SCN, BIF, TIFF, DICOM, JPEG, PNG or BMP; a slide of several files "
        "(MRXS, VMS) can be picked from a folder that the server's owner names with --pick.",
    )


def announced_bytes(request: Request, *, most: int) -> int:
    """Bytes that a request says it brings.

    Raises
    ------
    CohortError
        There are more than allowed.
    """
    announced = int(request.headers["content-length"])
    if announced > most:
        raise too_large(most)
    return announced


async def receive(request: Request, part: Path, *, most: int) -> int:
    """Write a request's body into a file, counting as it comes.

    Returns
    -------
    int
        Its bytes.

    Raises
    ------
    CohortError
        There are more than allowed, fewer than announced, or none.
    WriteError
        The disk is full, or cannot be written to.
    """
    announced = announced_bytes(request, most=most)
    if shutil.disk_usage(part.parent).free - announced < FREE_BYTES:
        raise _unwritten()
    count, waiting = 0, bytearray()
    try:
        with part.open("xb") as file:
            async for chunk in _chunks(request):
                count += len(chunk)
                if count > most:
                    raise too_large(most)
                waiting += chunk
                if len(waiting) >= _WRITE_BYTES:
                    await run_in_threadpool(file.write, bytes(waiting))
                    waiting.clear()
            file.write(waiting)
    except OSError as error:
        raise _unwritten(error) from error
    if count == 0:
        raise CohortError("the file is empty.", "Choose another one.")
    if count != announced:
        raise _cut_short()
    return count


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield await anext(stream)
        except StopAsyncIteration:
            return
        except (ClientDisconnect, TimeoutError) as error:
            raise _cut_short() from error


def _unwritten(error: OSError | None = None) -> WriteError:
    full = error is None or error.errno in {errno.ENOSPC, errno.EDQUOT}
    cause = "the server's disk has no room for" if full else "the server could not write"
    return WriteError(f"{cause} this file.", "Tell the server's owner.")


def _cut_short() -> CohortError:
    return CohortError("the file did not come to its end.", "Upload it again.")


def too_large(most: int) -> CohortError:
    """What is said of a file with more bytes than allowed."""
    size = f"{most / 2**20:,.0f} MB" if most >= 2**20 else f"{most:,} bytes"
    return CohortError(
        f"the file is larger than what may still be uploaded for this case ({size}).",
        "Pick it from the server's folder, or have the server's owner raise --max-upload.",
    )


def check_slide(path: Path, *, number: int, own_bytes: int, title: str) -> GivenSlide:
    """See whether a file can be opened as a slide, from its header.

    Raises
    ------
    SlideError
        It cannot, or is too large.
    """
    name = f"slide-{number}"
    image = first_of_series(path) or path
    slide = Slide(slide_id=name, patient_id="the case", images=(image,))
    width, height = slide_size(image, slide_id=name, patient_id="the case")
    size = image.stat().st_size
    too_many = width * height > slide.max_px
    hollow = (
        image.suffix.lower() in FLAT_SUFFIXES
        and width * height > _SMALL_PX
        and width * height > _DENSE_PX * size
    )
    if too_many or hollow:
        raise SlideError(
            f"this image claims {width:,} x {height:,} pixels"
            + (f", and its file has {size:,} bytes." if hollow else "."),
            "It is no scan of tissue: export the slide again.",
        )
    return GivenSlide(number, path, slide, (width, height), own_bytes, title)


def outline_suffix(start: bytes) -> str:
    """The ending of an annotation's file, from its first bytes.

    Raises
    ------
    AnnotationError
        They are those of neither JSON nor XML.
    """
    first = start.lstrip(_BLANK)[:1]
    if first == b"<":
        return ".xml"
    if first in {b"{", b"["}:
        return ".json"
    raise AnnotationError(
        "this is no annotation: it is neither JSON nor XML.",
        "Upload BCNB JSON, GeoJSON of QuPath, or XML of ASAP or ImageScope.",
    )


def read_outline(path: Path, *, given: GivenSlide) -> Outline:
    """The regions of an annotation, if they lie on the slide.

    Raises
    ------
    AnnotationError
        The file holds no outline, or one that is not of this slide.
    """
    image = given.slide.images[0]
    found = read_annotation(path, slide_id=given.name, patient_id="the case", image=image)
    wrong = check_regions(found, size=given.size, patient_id="the case")
    if wrong:
        raise AnnotationError(" ".join(one.cause for one in wrong), wrong[0].remedy)
    return Outline(path, tuple(rings_of(found)), len(found), sum(r.repaired for r in found))


def rings_of(regions: tuple[Region, ...]) -> list[list[list[float]]]:
    """Rings of all regions, to be drawn."""
    return [ring.round(1).tolist() for region in regions for ring in outline_rings(region)]


def pickable(folder: Path | None) -> tuple[Path, ...]:
    """Slides of the folder that the server's owner named; below it nothing is looked at."""
    if folder is None:
        return ()
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES)
        or first_of_series(path) is not None
    )


def link_picked(picked: Path, folder: Path, *, number: int) -> Path:
    """A link under a case's own folder to a slide that was picked; the slide stays where it is."""
    # Of the name only a known ending is kept.
    ending = re.fullmatch(r"\.[a-z]{3,8}", picked.suffix.lower())
    link = folder / f"slide-{number}{ending[0] if ending and picked.is_file() else ''}"
    link.symlink_to(picked.resolve())
    beside = picked.with_suffix("")
    if picked.suffix.lower() == ".mrxs" and beside.is_dir():
        (folder / f"slide-{number}").symlink_to(beside.resolve())
    return link
