"""Pathologists' outlines, in whichever file they come, to regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import shapely
from shapely.affinity import translate

from axilla.core.errors import AnnotationError, Problem
from axilla.core.types import Region
from axilla.wsi.outlines import DrawnOn, OutlineError, Outlines
from axilla.wsi.outlines_json import parse_json
from axilla.wsi.outlines_xml import parse_xml
from axilla.wsi.slides import scanned_origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_MAX_BYTES = 256 * 2**20
"""Larger files hold a whole slide's detected cells, not outlines of tumour."""
_MAX_OUTSIDE = 0.01
"""Share of a region's area that may lie outside the slide: a pen slips over the edge."""
_SUSPECT_SCALE = 1.5
"""An outline that reaches so many times as far as the slide is in another copy's pixels."""


def read_annotation(
    path: Path,
    *,
    slide_id: str,
    patient_id: str,
    image: Path,
    keep: Sequence[str] | None = None,
    qupath_cropped: bool = True,
) -> tuple[Region, ...]:
    """Read the annotated regions of a slide, in the order of the file.

    Parameters
    ----------
    path
        BCNB JSON, ASAP XML, QuPath GeoJSON or Aperio ImageScope XML; told apart by their content.
        Coordinates are level-0 pixels. What the file marks as not tumour is cut out of the
        regions: BCNB's `negative`, ASAP's groups such as `exclusion` and those of CAMELYON,
        ImageScope's `NegativeROA`, QuPath's classes `Ignore*`. QuPath detections are left out.
        Outlines that are not used are not looked at.
    slide_id, patient_id
        Whose annotation it is, for the errors.
    image
        The slide's file, for the regions.
    keep
        Classes whose outlines are taken, whatever their case: QuPath classifications, ASAP groups,
        names and descriptions of ImageScope layers, BCNB's positive and negative. None takes all
        but those named above. What is marked as not tumour, and not named here, is cut out.
    qupath_cropped
        Whether QuPath showed the scanned part only, as it does unless a slide is opened with
        `--no-crop`: then GeoJSON that it wrote counts from that part's corner (`scanned_origin`).

    Returns
    -------
    One region an outline; self-intersecting outlines repaired (`shapely.make_valid`) and marked.

    Raises
    ------
    AnnotationError
        The file is missing, empty, too large, no JSON or XML, has a document type declaration or
        no outline (of the kept classes), or an outline has fewer than 3 vertices, no area, or
        coordinates that are not finite.
    """
    try:
        outlines = _parse(_content(path))
        areas = outlines.areas(keep)
    except OutlineError as error:
        raise AnnotationError(
            f"the annotation of slide {slide_id} {error.cause}",
            error.remedy,
            patient=patient_id,
            file=path,
        ) from error
    x, y = scanned_origin(image) if outlines.drawn_on.by_qupath and qupath_cropped else (0, 0)
    return tuple(
        Region(
            index=index,
            image=image,
            polygon=translate(area.polygon, x, y) if (x, y) != (0, 0) else area.polygon,
            source="annotation",
            repaired=area.repaired,
            drawn_as=area.drawn_as,
        )
        for index, area in enumerate(areas)
    )


def read_drawn_on(path: Path) -> DrawnOn:
    """What an annotation says of the image it was drawn on; nothing where it cannot be read."""
    try:
        return _parse(_content(path)).drawn_on
    except OutlineError:
        return DrawnOn()


def check_regions(
    regions: Iterable[Region],
    *,
    size: tuple[int, int],
    patient_id: str,
    file: Path | None = None,
) -> tuple[Problem, ...]:
    """Find the regions that do not fit their slide.

    Parameters
    ----------
    size
        Width and height of the slide's level 0 in pixels.
    patient_id, file
        Whose regions they are, and the file that they come from.

    Returns
    -------
    A problem for every region with more than 1 % of its area outside the slide.
    """
    width, height = size
    slide = shapely.box(0, 0, width, height)
    problems = []
    for region in regions:
        if region.polygon is None:
            continue
        outside = 1 - region.polygon.intersection(slide).area / region.polygon.area
        if outside <= _MAX_OUTSIDE:
            continue
        where = "wholly" if outside >= 1 else f"to {outside:.0%}"
        left, top, right, bottom = region.polygon.bounds
        times = max(right / width, bottom / height)
        scale = (
            f" It reaches {times:.1f} times as far as the slide: it may have been drawn on a "
            "larger copy."
            if times >= _SUSPECT_SCALE
            else ""
        )
        problems.append(
            Problem(
                cause=f"region {region.index} (x {left:.0f} to {right:.0f}, y {top:.0f} to "
                f"{bottom:.0f}) lies {where} outside the slide of {width} x {height} pixels."
                + scale,
                remedy="Check that the annotation belongs to this slide and is in pixels of its "
                "full resolution.",
                patient=patient_id,
                file=file,
                fatal=False,
            )
        )
    return tuple(problems)


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise OutlineError(
                f"is {size / 2**20:.0f} MiB large; at most {_MAX_BYTES // 2**20} MiB are read.",
                "Export the outlines of the tumour only, without detected cells.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise OutlineError(
            f"cannot be read ({error.strerror}).", "Put the file there, or correct `annotations:`."
        ) from error
    if not data.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise OutlineError("is empty.", "Export it again.")
    return data


def _parse(data: bytes) -> Outlines:
    # Byte order marks, and the zeros of UTF-16, may stand before the first character.
    start = data.lstrip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n")[:1]
    if start == b"<":
        return parse_xml(data)
    return parse_json(data)
