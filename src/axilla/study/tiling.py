"""Tile: every slide's regions into a grid of kept patches."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, Problem
from axilla.core.progress import Reporter
from axilla.core.slide_files import files_of
from axilla.core.types import Cohort, PatchGrid, Region, Slide
from axilla.study.checking import CheckMemory
from axilla.study.inputs import drop_patients
from axilla.study.layout import Layout
from axilla.study.slide_checks import excludable, slides_of
from axilla.wsi.patches import cut_patches
from axilla.wsi.regions import find_regions


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """The patch grids of the cohort's slides."""

    cohort: Cohort
    """Without patients that could not be cut."""
    grids: dict[str, PatchGrid]
    keys: dict[str, str]
    """Key of each slide's grid: what any later step over the slide depends on."""

    def repaired(self) -> dict[str, int]:
        """Regions whose outline was repaired, by slide."""
        return {slide: grid.repaired for slide, grid in self.grids.items()}


READING = 2
"""Counts up whenever the same annotation comes to be read otherwise."""


def tile_key(slide: Slide, *, config: StudyConfig) -> str:
    """What a slide's grid depends on: its files, the way of finding regions, the patches."""
    return store.digest(
        "tile",
        store.SCHEMA_VERSION,
        [store.file_identity(file) for image in slide.images for file in files_of(image)],
        None if slide.annotation is None
        else store.file_identity(slide.annotation, content=True),
        config.regions,
        config.patches.model_dump(),
        # Only where said, so that grids cut before there was such a key keep theirs.
        *([slide.table_mpp, slide.study_mpp]
          if (slide.table_mpp, slide.study_mpp) != (None, None) else ()),
        *([] if slide.annotation is None else [READING, config.kept_classes]),
    )  # fmt: skip


def check_memory(config: StudyConfig) -> CheckMemory:
    """Which slides a check need not open: those it knows, and those that were cut since."""
    return CheckMemory(
        config.out,
        key_of=functools.partial(tile_key, config=config),
        known=functools.partial(is_cut, config=config),
    )


def is_cut(slide: Slide, *, config: StudyConfig) -> bool:
    """Whether the slide was cut as the study says, and did not change since."""
    grid = Layout(config.out).grid(slide.slide_id)
    return store.read_grid_key(grid) == tile_key(slide, config=config)


def tile_slides(
    cohort: Cohort, *, config: StudyConfig, exclude_failed: bool, reporter: Reporter
) -> Tiles:
    """Cut every slide that is not cut yet.

    Raises
    ------
    InputProblems
        Slides failed or gave no patch, all of them named, unless `exclude_failed`.
    """
    layout = Layout(config.out)
    slides = slides_of(cohort.patients)
    keys = {slide.slide_id: tile_key(slide, config=config) for slide in slides}
    todo = [
        slide
        for slide in slides
        if store.read_grid_key(layout.grid(slide.slide_id)) != keys[slide.slide_id]
    ]
    problems: list[Problem] = []
    # Closed at once where writing fails: slides still waiting to be cut are then let go.
    with closing(_cut_all(todo, config=config, reporter=reporter)) as results:
        for slide, result in results:
            if isinstance(result, Problem):
                problems.append(result)
            else:
                store.write_grid(layout.grid(slide.slide_id), result, key=keys[slide.slide_id])
    failed = {problem.patient for problem in problems}
    grids = {
        slide.slide_id: store.read_grid(layout.grid(slide.slide_id))
        for slide in slides
        if slide.patient_id not in failed
    }
    problems.extend(_without_patches(cohort, grids, failed))
    cohort = drop_patients(cohort, problems, step="tile", exclude_failed=exclude_failed)
    kept = {slide.slide_id for slide in slides_of(cohort.patients)}
    grids = {slide: grid for slide, grid in grids.items() if slide in kept}
    patches = sum(len(grid) for grid in grids.values())
    repaired = sum(grid.repaired for grid in grids.values())
    reporter.done(
        "tile",
        f"{patches:,} patches of {len(grids):,} slides"
        + (f", outlines repaired: {repaired:,}" if repaired else "")
        + (f", {len(todo):,} slides cut now" if todo else ", done before"),
    )
    return Tiles(cohort=cohort, grids=grids, keys={s: keys[s] for s in grids})


def regions_of(slide: Slide, *, config: StudyConfig) -> tuple[Region, ...]:
    """The regions that patches are cut from."""
    return find_regions(slide, mode=config.regions, keep=config.kept_classes)


def _cut_all(
    slides: list[Slide], *, config: StudyConfig, reporter: Reporter
) -> Generator[tuple[Slide, PatchGrid | Problem]]:
    """Slides with their grid or what went wrong, in order, some at a time."""

    def cut(slide: Slide) -> PatchGrid | Problem:
        try:
            regions = regions_of(slide, config=config)
            return cut_patches(slide, regions, config=config.patches)
        except AxillaError as error:
            return excludable(error, slide)

    if not slides:
        return
    # Decoders and OpenCV release the interpreter's lock; slides are large, so few at a time.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        futures = [pool.submit(cut, slide) for slide in slides]
        pairs = list(zip(slides, futures, strict=True))
        try:
            for slide, future in reporter.track(pairs, "Cutting patches"):
                yield slide, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _without_patches(
    cohort: Cohort, grids: dict[str, PatchGrid], failed: set[str | None]
) -> Iterator[Problem]:
    for patient in cohort.patients:
        if patient.patient_id in failed:
            continue
        if not any(len(grids[slide.slide_id]) for slide in patient.slides):
            dropped = sum(grids[slide.slide_id].dropped for slide in patient.slides)
            yield Problem(
                cause=f"no patch is left: all {dropped} are too white.",
                remedy="Check the annotation, lower patches.size or raise patches.max_blank, or "
                "run with --exclude-failed.",
                patient=patient.patient_id,
                fatal=False,
            )
