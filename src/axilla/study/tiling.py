"""Tile: every slide's regions into a grid of kept patches."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, Problem
from axilla.core.progress import Reporter
from axilla.core.slide_files import files_of
from axilla.core.types import MAX_SLIDE_PX, Cohort, PatchGrid, Region, Slide
from axilla.study.checking import CheckMemory
from axilla.study.held_patches import HeldPatches, HeldReader, Reads
from axilla.study.inputs import drop_patients
from axilla.study.layout import Layout
from axilla.study.slide_checks import excludable, slides_of, without_tissue
from axilla.wsi.patches import PatchReader, cut_patches
from axilla.wsi.regions import find_regions


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """The patch grids of the cohort's slides."""

    cohort: Cohort
    """Without patients that could not be cut."""
    grids: Mapping[str, PatchGrid]
    """By slide id, each read when it is asked for: a cohort's patches may be tens of millions."""
    keys: dict[str, str]
    """Key of each slide's grid: what any later step over the slide depends on."""
    held: HeldPatches | None = None
    """Patches of slides that were cut now, where they are held."""

    def repaired(self) -> dict[str, int]:
        """Regions whose outline was repaired, by slide."""
        return {slide: grid.repaired for slide, grid in self.grids.items()}


READING = 4
"""Counts up whenever the same annotation or tissue comes to be found otherwise."""


class StoredGrids(Mapping[str, PatchGrid]):
    """The grids as `tile` wrote them; none is held."""

    def __init__(self, slide_ids: list[str], layout: Layout) -> None:
        self._ids = dict.fromkeys(slide_ids)
        self._layout = layout

    def __getitem__(self, slide_id: str) -> PatchGrid:
        if slide_id not in self._ids:
            raise KeyError(slide_id)
        return store.read_grid(self._layout.grid(slide_id))

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


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
        *([slide.max_px] if slide.max_px != MAX_SLIDE_PX else []),
        *([] if slide.annotation is None and config.regions == "whole"
          else [READING, config.kept_classes, config.qupath_cropped]),
    )  # fmt: skip


def check_memory(config: StudyConfig) -> CheckMemory:
    """Which slides a check need not open: those that it knows and that did not change."""
    return CheckMemory(config.out, key_of=functools.partial(tile_key, config=config))


def is_cut(slide: Slide, *, config: StudyConfig) -> bool:
    """Whether the slide was cut as the study says, and did not change since."""
    grid = Layout(config.out).grid(slide.slide_id)
    return store.read_grid_key(grid) == tile_key(slide, config=config)


def tile_slides(
    cohort: Cohort,
    *,
    config: StudyConfig,
    exclude_failed: bool,
    reporter: Reporter,
    held: HeldPatches | None = None,
) -> Tiles:
    """Cut every slide that is not cut yet; the patches are `held` where there is a place for them.

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
    with closing(_cut_all(todo, config=config, reporter=reporter, held=held)) as results:
        for slide, result in results:
            if isinstance(result, Problem):
                problems.append(result)
            else:
                store.write_grid(layout.grid(slide.slide_id), result, key=keys[slide.slide_id])
    failed = {problem.patient for problem in problems}
    cut = [slide.slide_id for slide in slides if slide.patient_id not in failed]
    counts = {
        slide: (len(grid), grid.dropped, grid.repaired)
        for slide, grid in StoredGrids(cut, layout).items()
    }
    problems.extend(_without_patches(cohort, counts, failed))
    tiles = keep_patients(
        Tiles(cohort=cohort, grids=StoredGrids(cut, layout), keys=keys, held=held),
        problems,
        step="tile",
        config=config,
        exclude_failed=exclude_failed,
    )
    for slide in slides_of(tiles.cohort.patients):
        if counts[slide.slide_id][0] == 0:
            why = why_empty(tiles.grids[slide.slide_id])
            reporter.say(
                f"note      slide {slide.slide_id} of patient {slide.patient_id} gives no patch "
                f"({why}): the patient is judged by the others alone. Check it, or its annotation."
            )
    patches, _, repaired = (sum(counts[slide][i] for slide in tiles.grids) for i in range(3))
    reporter.done(
        "tile",
        f"{patches:,} patches of {len(tiles.grids):,} slides"
        + (f", outlines repaired: {repaired:,}" if repaired else "")
        + (f", {len(todo):,} slides cut now" if todo else ", done before"),
    )
    return tiles


def keep_patients(
    tiles: Tiles,
    problems: list[Problem],
    *,
    step: str,
    config: StudyConfig,
    exclude_failed: bool,
) -> Tiles:
    """The patients, and the slides, that no problem takes out.

    Raises
    ------
    InputProblems
        There are problems and the user did not ask to go on without these patients.
    """
    cohort = drop_patients(tiles.cohort, problems, step=step, exclude_failed=exclude_failed)
    kept = [slide.slide_id for slide in slides_of(cohort.patients)]
    return Tiles(
        cohort=cohort,
        grids=StoredGrids(kept, Layout(config.out)),
        keys={slide: tiles.keys[slide] for slide in kept},
        held=tiles.held,
    )


def tiles_of(tiles: Tiles, cohort: Cohort, config: StudyConfig) -> Tiles:
    """Those of some of the patients; `config` is of the study in whose folder they lie."""
    some = replace(tiles, cohort=cohort)
    return keep_patients(some, [], step="tile", config=config, exclude_failed=False)


@contextmanager
def open_patches(slide: Slide, tiles: Tiles, *, config: StudyConfig) -> Iterator[Reads]:
    """What reads a slide's patches: from memory where they are held, else from the slide."""
    known = None if tiles.held is None else tiles.held.of(slide.slide_id)
    if known is not None:
        yield HeldReader(known)
        return
    grid, regions = tiles.grids[slide.slide_id], regions_of(slide, config=config)
    with PatchReader(slide, grid, regions, config=config.patches) as reader:
        yield reader


def regions_of(slide: Slide, *, config: StudyConfig) -> tuple[Region, ...]:
    """The regions that patches are cut from."""
    return find_regions(
        slide, mode=config.regions, keep=config.kept_classes, qupath_cropped=config.qupath_cropped
    )


def _cut_all(
    slides: list[Slide], *, config: StudyConfig, reporter: Reporter, held: HeldPatches | None
) -> Generator[tuple[Slide, PatchGrid | Problem]]:
    """Slides with their grid or what went wrong, in order, some at a time."""

    def cut(slide: Slide) -> PatchGrid | Problem:
        try:
            regions = regions_of(slide, config=config)
            if held is not None:
                return held.cut(slide, regions, config=config.patches)
            return cut_patches(slide, regions, config=config.patches)
        except AxillaError as error:
            return excludable(error, slide)

    if not slides:
        return
    # Decoders and OpenCV release the interpreter's lock; slides are large, so few at a time.
    workers = min(os.cpu_count() or 1, 8)
    ahead: deque[tuple[Slide, Future[PatchGrid | Problem]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for slide in reporter.track(slides, "Cutting patches"):
                ahead.append((slide, pool.submit(cut, slide)))
                # What is done is handed on and let go of, however many slides there are.
                if len(ahead) > 2 * workers:
                    done, result = ahead.popleft()
                    yield done, result.result()
            for slide, result in ahead:
                yield slide, result.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _all_of(count: int) -> str:
    return "the only one is" if count == 1 else f"all {count:,} are"


def why_empty(grid: PatchGrid) -> str:
    """Why no patch of a slide was kept."""
    if not grid.dropped:
        return "no tissue was found on it"
    return f"{_all_of(grid.dropped)} too white"


def _without_patches(
    cohort: Cohort, counts: Mapping[str, tuple[int, int, int]], failed: set[str | None]
) -> Iterator[Problem]:
    for patient in cohort.patients:
        if patient.patient_id in failed:
            continue
        if not any(counts[slide.slide_id][0] for slide in patient.slides):
            dropped = sum(counts[slide.slide_id][1] for slide in patient.slides)
            if dropped == 0:
                yield without_tissue(patient)
                continue
            yield Problem(
                cause=f"no patch is left: {_all_of(dropped)} too white, as what lies outside an "
                "outline counts as white.",
                remedy="Check the annotation, lower patches.size or raise patches.max_blank, or "
                "run with --exclude-failed.",
                patient=patient.patient_id,
                fatal=False,
            )
