"""How many µm a pixel spans: from the table, the file or the study, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axilla.core.errors import SlideError
from axilla.core.types import SANE_MPP, MicronsPerPixel

if TYPE_CHECKING:
    from pathlib import Path

    from axilla.core.config import Patches
    from axilla.core.types import Slide

_CONTRADICTION = 0.2
"""Scanners of one magnification differ by some percent; 20x and 40x by a factor of two."""


def sane_mpp(x: float, y: float) -> MicronsPerPixel | None:
    """Mean of both axes in µm/px; None where either is no microscope's."""
    low, high = SANE_MPP
    if not (low <= x <= high and low <= y <= high):
        return None
    return MicronsPerPixel((x + y) / 2)


def slide_mpp(
    slide: Slide, found: MicronsPerPixel | None, *, image: Path
) -> MicronsPerPixel | None:
    """µm per level-0 pixel of an image: the table's, else the file's, else the study's.

    Parameters
    ----------
    found
        What the image's own metadata say, in µm/px.
    image
        For the error.

    Raises
    ------
    SlideError
        Table and file differ by more than 20 %: one of them is wrong, and every patch would be
        cut at the wrong scale.
    """
    told = slide.table_mpp
    if told is None:
        return slide.study_mpp if found is None else found
    if found is not None and max(told, found) > (1 + _CONTRADICTION) * min(told, found):
        raise SlideError(
            f"the table's `mpp` of slide {slide.slide_id} is {told:g} µm/px, but the file says "
            f"{found:g} µm/px.",
            "Correct the column `mpp`, or empty the cell to use what the file says.",
            patient=slide.patient_id,
            file=image,
        )
    return told


def patch_side_level0(
    slide: Slide, mpp: MicronsPerPixel | None, *, config: Patches, image: Path
) -> int:
    """Side of a patch in level-0 pixels: its own size, or what spans as many µm as asked.

    Raises
    ------
    SlideError
        `patches.mpp` is set, and nobody says the slide's µm/px.
    """
    if config.mpp is None:
        return config.size
    if mpp is None:
        raise SlideError(
            f"slide {slide.slide_id} does not say its µm per pixel, so patches of "
            f"{config.mpp:g} µm/px cannot be cut.",
            "Give it in a column `mpp` of the table, for all slides as `slide_mpp` of the study, "
            "or export the slide with µm/px in its metadata. `patches.mpp: null` cuts at native "
            "resolution.",
            patient=slide.patient_id,
            file=image,
        )
    return max(1, round(config.size * config.mpp / mpp))
