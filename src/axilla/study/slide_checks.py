"""Each slide checked: its files, its scale, its annotation, and whether these fit one another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, Problem
from axilla.core.progress import Reporter
from axilla.core.types import MicronsPerPixel, Patient, Region, Slide
from axilla.study.checking import Checked, CheckMemory
from axilla.wsi.annotation_fit import Fit, check_fit
from axilla.wsi.annotations import check_regions
from axilla.wsi.ready import check_ready, ready_patches
from axilla.wsi.regions import find_regions
from axilla.wsi.scale import patch_side_level0, slide_mpp
from axilla.wsi.slides import open_slide


def slides_of(patients: tuple[Patient, ...]) -> list[Slide]:
    """All slides, in the patients' order."""
    return [slide for patient in patients for slide in patient.slides]


def excludable(error: AxillaError, slide: Slide) -> Problem:
    """A problem of one slide as a problem of its patient."""
    return Problem(
        cause=error.problem.cause,
        remedy=error.problem.remedy,
        patient=slide.patient_id,
        file=error.problem.file,
        fatal=False,
        slide=slide.slide_id,
        code=error.problem.code,
    )


def without_tissue(patient: Patient) -> Problem:
    """Nothing was there to be cut: the search for tissue found none on any slide."""
    names = ", ".join(slide.slide_id for slide in patient.slides)
    return Problem(
        cause=f"no tissue was found on slide {names}: it shows glass, dust or ink alone, or the "
        "stain is too faint to be told from glass.",
        remedy="Look at the slide; where there is tissue, outline it in an annotation or set "
        "regions: whole; or run with --exclude-failed.",
        patient=patient.patient_id,
        file=patient.slides[0].images[0],
        fatal=False,
    )


def check_slides(
    patients: tuple[Patient, ...], config: StudyConfig, *, reporter: Reporter, memory: CheckMemory
) -> Iterator[Fit]:
    """What is wrong with each slide, in their order, some slides looked at at a time.

    A slide without tissue is a problem where its patient has no other.
    """

    def look(slide: Slide) -> Fit:
        known = memory.recall(slide)
        if known is not None:
            return Fit(notes=known.notes, mpp=known.mpp, empty=known.empty, classes=known.classes)
        return _check_slide(slide, config)

    slides = slides_of(patients)
    if not slides:
        return
    bare: set[str] = set()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        futures = [pool.submit(look, slide) for slide in slides]
        pairs = list(zip(slides, futures, strict=True))
        try:
            for slide, future in reporter.track(pairs, "Checking slides"):
                found = future.result()
                if found.empty:
                    bare.add(slide.slide_id)
                if not found.problems:
                    told = Checked(found.mpp, found.notes, empty=found.empty, classes=found.classes)
                    memory.remember(slide, told)
                yield found
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for patient in patients:
        if patient.slides and all(slide.slide_id in bare for slide in patient.slides):
            yield Fit(problems=(replace(without_tissue(patient), code="slide"),))


def _check_slide(slide: Slide, config: StudyConfig) -> Fit:
    if config.regions == "patches":
        return _check_ready_slide(slide, config)
    problems: list[Problem] = []
    notes: list[Problem] = []
    regions: tuple[Region, ...] = ()
    scales: list[MicronsPerPixel | None] = []
    try:
        regions = find_regions(
            slide,
            mode=config.regions,
            keep=config.kept_classes,
            qupath_cropped=config.qupath_cropped,
        )
    except AxillaError as error:
        problems.append(excludable(error, slide))
    for image in slide.images:
        drawn = tuple(region for region in regions if region.image == image)
        try:
            with open_slide(
                image, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
            ) as reader:
                size, said = reader.size, reader.mpp
        except AxillaError as error:
            problems.append(excludable(error, slide))
            continue
        try:
            mpp = slide_mpp(slide, said, image=image)
            side = patch_side_level0(slide, mpp, config=config.patches, image=image)
            scales.append(mpp)
            notes.extend(_too_small(slide, drawn, side=side, config=config))
        except AxillaError as error:
            problems.append(excludable(error, slide))
            mpp = said
        outside = check_regions(
            drawn, size=size, patient_id=slide.patient_id, file=slide.annotation or image
        )
        problems.extend(replace(p, slide=slide.slide_id, code="annotation") for p in outside)
        if any(region.source == "annotation" for region in drawn):
            fit = check_fit(slide, drawn, size=size, mpp=mpp, qupath_cropped=config.qupath_cropped)
            problems.extend(
                replace(p, slide=slide.slide_id, code="annotation") for p in fit.problems
            )
            notes.extend(replace(p, slide=slide.slide_id, code="annotation") for p in fit.notes)
    # A search for tissue opens the image as well, and then both say the same.
    return Fit(
        problems=tuple(dict.fromkeys(problems)),
        notes=tuple(notes),
        empty=not regions and not problems,
        mpp=scales[0] if scales else None,
        classes=tuple(dict.fromkeys(r.drawn_as for r in regions if r.drawn_as is not None)),
    )


def _too_small(
    slide: Slide, drawn: tuple[Region, ...], *, side: int, config: StudyConfig
) -> list[Problem]:
    """A note where every outline encloses less than a patch must show to be kept."""
    areas = [region.polygon.area for region in drawn if region.polygon is not None]
    least = (1 - config.patches.max_blank) * side**2
    if not areas or len(areas) < len(drawn) or max(areas) > least:
        return []
    cause = (
        f"no outline of slide {slide.slide_id} encloses {least:,.0f} of the {side**2:,} pixels of "
        "a patch, so that none of it will be kept."
    )
    return [
        Problem(
            cause=cause,
            remedy="Check the annotation, lower patches.size or raise patches.max_blank.",
            patient=slide.patient_id,
            file=slide.annotation or slide.images[0],
            fatal=False,
            slide=slide.slide_id,
            code="annotation",
        )
    ]


def _check_ready_slide(slide: Slide, config: StudyConfig) -> Fit:
    try:
        ready_patches(slide)
        return Fit(problems=check_ready(slide, config=config.patches))
    except AxillaError as error:
        return Fit(problems=(excludable(error, slide),))
