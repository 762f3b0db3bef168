"""Whether an annotation was drawn on the slide that it is given with, as far as can be known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely

from axilla.core.errors import Problem
from axilla.wsi.annotations import read_drawn_on
from axilla.wsi.regions import find_regions
from axilla.wsi.slides import open_slide, scanned_origin

if TYPE_CHECKING:
    from pathlib import Path

    from axilla.core.types import MicronsPerPixel, Region, Slide
    from axilla.wsi.outlines import DrawnOn
    from axilla.wsi.slide_images import OpenImage

_SAME = 0.01
"""Sizes that differ by less are the same image: viewers round to whole tiles."""
_SAME_MPP = 1.5
"""µm/px that differ by a smaller factor are the same magnification, measured twice."""
_CORNER = 0.25
"""Outlines that all end within this share of both sides may be in the pixels of a smaller copy."""
_GLASS = 0.05
"""Less tissue than this share under outlines: they lie on glass."""
_TWICE = 0.02
"""So much of the outlined area may lie in two outlines: pens meet."""
_LOOK = "Look at it with `axilla explain --audit`."


@dataclass(frozen=True, slots=True)
class Fit:
    """What speaks against an annotation, or against its slide."""

    problems: tuple[Problem, ...] = ()
    """It belongs to another image, or to a copy of another size."""
    notes: tuple[Problem, ...] = ()
    """It may be right, and somebody should look."""
    empty: bool = False
    """No region was found to be cut."""
    mpp: MicronsPerPixel | None = None
    """µm per level-0 pixel of the slide's first image, where somebody says it."""
    classes: tuple[str, ...] = ()
    """Of the outlines that count as tumour, each once."""


def check_fit(
    slide: Slide,
    regions: tuple[Region, ...],
    *,
    size: tuple[int, int],
    mpp: MicronsPerPixel | None,
    qupath_cropped: bool = True,
    open_image: OpenImage = open_slide,
) -> Fit:
    """Compare an annotation with its slide.

    Parameters
    ----------
    slide
        One image with an annotation that can be read.
    regions
        Of the annotation.
    size
        Width and height of the slide's level 0 in pixels.
    mpp
        µm per level-0 pixel, None where the slide does not say.
    qupath_cropped
        As of `read_annotation`.

    Returns
    -------
    Problems: the file says that it was drawn on an image of another size or µm/px; all outlines lie
    within a quarter of both sides, on glass, while there is tissue elsewhere. Notes: outlines that
    were repaired, or overlap; such a corner where it cannot be told; another image's name in the
    file; that QuPath's outlines were taken to count from another corner than the slide's.

    Raises
    ------
    SlideError
        The slide has to be searched for tissue, and cannot be read.
    """
    file = slide.annotation
    if file is None:
        return Fit()
    drawn_on = read_drawn_on(file)
    corner = scanned_origin(slide.images[0]) if drawn_on.by_qupath else (0, 0)
    cropped = qupath_cropped and corner != (0, 0)
    # Of a cropped slide the size tells nothing: its scanned part is smaller.
    other_size = None if cropped else _other_size(drawn_on, size)
    causes = [c for c in (other_size, _other_mpp(drawn_on, mpp)) if c]
    problems = [
        _problem(
            slide,
            file,
            cause,
            "Export the outlines in pixels of this slide's full resolution, or give the image "
            "that they were drawn on.",
        )
        for cause in causes
    ]
    notes = [
        *_repairs(slide, file, regions),
        *_overlaps(slide, file, regions),
        *_other_name(slide, file, drawn_on),
    ]
    if cropped:
        notes.append(_counted_from(slide, file, corner))
    if not problems and _in_the_corner(regions, size):
        on_glass = _on_glass(slide, regions, open_image)
        (problems if on_glass else notes).append(_corner(slide, file, on_glass=on_glass))
    return Fit(problems=tuple(problems), notes=tuple(notes))


def _other_size(drawn_on: DrawnOn, size: tuple[int, int]) -> str | None:
    if drawn_on.size is None:
        return None
    shares = [drawn / own for drawn, own in zip(drawn_on.size, size, strict=True)]
    if all(abs(share - 1) <= _SAME for share in shares):
        return None
    copy = abs(shares[0] / shares[1] - 1) <= _SAME
    of = f", a copy {shares[0]:.3g} times as wide" if copy else ", another image"
    return (
        f"the annotation says that it was drawn on an image of {drawn_on.size[0]:.0f} x "
        f"{drawn_on.size[1]:.0f} pixels; the slide has {size[0]} x {size[1]}{of}."
    )


def _other_mpp(drawn_on: DrawnOn, mpp: MicronsPerPixel | None) -> str | None:
    if drawn_on.mpp is None or mpp is None:
        return None
    times = drawn_on.mpp / mpp
    if 1 / _SAME_MPP < times < _SAME_MPP:
        return None
    return (
        f"the annotation was drawn at {drawn_on.mpp:.3g} µm per pixel; the slide has {mpp:.3g}, "
        f"so the outlines would be {times:.3g} times as large as they are here."
    )


def _other_name(slide: Slide, file: Path, drawn_on: DrawnOn) -> list[Problem]:
    if drawn_on.image is None:
        return []
    # Windows paths as well, wherever this runs.
    named = drawn_on.image.replace("\\", "/").rsplit("/", 1)[-1][:80]
    known = {slide.slide_id.casefold(), slide.images[0].stem.casefold()}
    if named.casefold() in known or named.rsplit(".", 1)[0].casefold() in known:
        return []
    cause = f"the annotation names the image {named!r}, the slide is {slide.images[0].name}."
    return [_problem(slide, file, cause, f"Check that it belongs to this slide. {_LOOK}")]


def _repairs(slide: Slide, file: Path, regions: tuple[Region, ...]) -> list[Problem]:
    count = sum(region.repaired for region in regions)
    if not count:
        return []
    of = f"{count} of {len(regions)} regions of slide {slide.slide_id}"
    verb = "has an outline that crosses" if count == 1 else "have outlines that cross"
    cause = f"{of} {verb} itself; what it encloses was taken."
    return [_problem(slide, file, cause, f"{_LOOK}")]


def _overlaps(slide: Slide, file: Path, regions: tuple[Region, ...]) -> list[Problem]:
    drawn = [region.polygon for region in regions if region.polygon is not None]
    once = shapely.union_all(drawn).area
    twice = sum(polygon.area for polygon in drawn) / once - 1 if once else 0.0
    if twice < _TWICE:
        return []
    cause = f"outlines of slide {slide.slide_id} overlap: {twice:.0%} of their area counts again."
    remedy = "Merge them; or where one is what is not tumour in another, `annotations.keep`."
    return [_problem(slide, file, cause, f"{remedy} {_LOOK}")]


def _in_the_corner(regions: tuple[Region, ...], size: tuple[int, int]) -> bool:
    bounds = [region.polygon.bounds for region in regions if region.polygon is not None]
    if not bounds:
        return False
    right, bottom = max(b[2] for b in bounds), max(b[3] for b in bounds)
    return bool(right <= _CORNER * size[0] and bottom <= _CORNER * size[1])


def _on_glass(slide: Slide, regions: tuple[Region, ...], open_image: OpenImage) -> bool:
    """Whether the slide's tissue lies elsewhere; not where no tissue is found at all."""
    tissue = [r.polygon for r in find_regions(slide, mode="tissue", open_image=open_image)]
    if not tissue:
        return False
    drawn = shapely.union_all([region.polygon for region in regions])
    return bool(drawn.intersection(shapely.union_all(tissue)).area < _GLASS * drawn.area)


def _counted_from(slide: Slide, file: Path, corner: tuple[int, int]) -> Problem:
    x, y = corner
    return _problem(
        slide,
        file,
        f"the scanned part of slide {slide.slide_id} begins at x {x:,}, y {y:,}, and QuPath's "
        "outlines were taken to count from there.",
        "If the slide was opened in QuPath with --no-crop, set `annotations: {folder: ..., "
        f"qupath_cropped: false}}`. {_LOOK}",
    )


def _corner(slide: Slide, file: Path, *, on_glass: bool) -> Problem:
    where = f"all outlines of slide {slide.slide_id} lie in its top left corner"
    if on_glass:
        return _problem(
            slide,
            file,
            f"{where}, on glass: they look like those of a smaller copy of the slide.",
            "Export them in pixels of the slide's full resolution. " + _LOOK,
        )
    cause = f"{where}, as those of a smaller copy of the slide would."
    return _problem(
        slide, file, cause, f"If that is not where the tumour is, export again. {_LOOK}"
    )


def _problem(slide: Slide, file: Path, cause: str, remedy: str) -> Problem:
    return Problem(cause=cause, remedy=remedy, patient=slide.patient_id, file=file, fatal=False)
