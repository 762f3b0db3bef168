"""What would stop the nuclei from being found or compared, told before any slide is cut."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from axilla.core.errors import AxillaError, Problem, StatisticsError
from axilla.core.types import MicronsPerPixel
from axilla.nuclei.segmentation import working_zoom
from axilla.wsi.scale import patch_side_level0, slide_mpp
from axilla.wsi.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from axilla.core.config import StudyConfig
    from axilla.core.types import Slide


def check_nuclei(slides: Sequence[Slide], *, config: StudyConfig) -> list[Problem]:
    """Weights that do not open; slides too coarse; slides that alone do not say their scale.

    A slide that cannot be opened is left to its own check.
    """
    if not config.uses_nuclei:
        return []
    problems = list(_check_weights(config))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        scales = list(pool.map(lambda slide: _scale_of(slide, config), slides))
    known = [(slide, mpp) for slide, (opens, mpp) in zip(slides, scales, strict=True) if opens]
    for slide, mpp in known:
        try:
            working_zoom(mpp or 1.0)
        except StatisticsError as error:
            told = f"slide {slide.slide_id}: {error.problem.cause}"
            problems.append(_problem(slide, told, error.problem.remedy))
    without = [slide for slide, mpp in known if mpp is None]
    if len(without) < len(known):
        problems.extend(
            _problem(
                slide,
                f"slide {slide.slide_id} does not say its µm per pixel, as {len(without):,} of "
                f"{len(known):,} do not, so nuclei cannot be measured alike.",
                "Give it in a column `mpp` of the table, or for all such slides as `slide_mpp`.",
            )
            for slide in without
        )
    return problems


def _check_weights(config: StudyConfig) -> Iterator[Problem]:
    """The shipped network always opens."""
    own = config.nuclei
    if own.classical or (own.weights is None and own.tool is None):
        return
    from axilla.study.nuclei_segmenting import Way, fixed_segmenter

    try:
        fixed_segmenter(Way(weights=own.weights, tool=own.tool, tool_mpp=own.tool_mpp))
    except AxillaError as error:
        yield error.problem


def _scale_of(slide: Slide, config: StudyConfig) -> tuple[bool, MicronsPerPixel | None]:
    """Whether the slide opens, and µm per pixel of its patches."""
    image = slide.images[0]
    try:
        if config.regions == "patches":
            mpp = slide_mpp(slide, None, image=image)
        else:
            with open_slide(
                image, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
            ) as reader:
                mpp = slide_mpp(slide, reader.mpp, image=image)
        side = patch_side_level0(slide, mpp, config=config.patches, image=image)
    except AxillaError:
        return False, None
    return True, None if mpp is None else MicronsPerPixel(mpp * side / config.patches.size)


def _problem(slide: Slide, cause: str, remedy: str) -> Problem:
    return Problem(
        cause=cause,
        remedy=remedy,
        patient=slide.patient_id,
        file=slide.images[0],
        fatal=False,
        slide=slide.slide_id,
        code="slide",
    )
