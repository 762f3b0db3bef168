"""Tile: every slide's regions into a grid of kept patches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, Problem
from axilla.core.progress import Reporter
from axilla.core.types import Cohort, PatchGrid, Region, Slide
from axilla.study.inputs import drop_patients, excludable, slides_of
from axilla.study.layout import Layout
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


def tile_key(slide: Slide, *, config: StudyConfig) -> str:
    """What a slide's grid depends on: its files, the way of finding regions, the patches."""
    return store.digest(
        "tile",
        store.SCHEMA_VERSION,
        [store.file_identity(image) for image in slide.images],
        None if slide.annotation is None
        else store.file_identity(slide.annotation, content=True),
        config.regions,
        config.patches.model_dump(),
    )  # fmt: skip


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
    for slide, result in _cut_all(todo, config=config, reporter=reporter):
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
    tiles = keep_patients(
        Tiles(cohort=cohort, grids=grids, keys=keys),
        problems,
        step="tile",
        exclude_failed=exclude_failed,
    )
    patches = sum(len(grid) for grid in tiles.grids.values())
    reporter.done(
        "tile",
        f"{patches:,} patches of {len(tiles.grids):,} slides"
        + (f", {len(todo):,} slides cut now" if todo else ", done before"),
    )
    return tiles


def keep_patients(
    tiles: Tiles, problems: list[Problem], *, step: str, exclude_failed: bool
) -> Tiles:
    """The patients, and the slides, that no problem takes out.

    Raises
    ------
    InputProblems
        There are problems and the user did not ask to go on without these patients.
    """
    cohort = drop_patients(tiles.cohort, problems, step=step, exclude_failed=exclude_failed)
    kept = {slide.slide_id for slide in slides_of(cohort.patients)}
    return Tiles(
        cohort=cohort,
        grids={slide: grid for slide, grid in tiles.grids.items() if slide in kept},
        keys={slide: key for slide, key in tiles.keys.items() if slide in kept},
    )


def regions_of(slide: Slide, *, config: StudyConfig) -> tuple[Region, ...]:
    """The regions that patches are cut from."""
    return find_regions(slide, mode=config.regions)


def _cut_all(
    slides: list[Slide], *, config: StudyConfig, reporter: Reporter
) -> Iterator[tuple[Slide, PatchGrid | Problem]]:
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
        for slide, future in reporter.track(pairs, "Cutting patches"):
            yield slide, future.result()


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
