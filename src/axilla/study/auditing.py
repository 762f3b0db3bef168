"""Audit: what was cut, over every slide of every cohort, before anything is learned from it."""

from __future__ import annotations

import io
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from axilla.analysis.grid_view import DROPPED, KEPT, draw_grid
from axilla.core import store
from axilla.core.cohort import is_generated
from axilla.core.cohort_union import read_everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, InputProblems, Problem
from axilla.core.progress import Reporter
from axilla.core.types import Cohort, PatchGrid, Region, Slide, SlidePixels
from axilla.report.audit import AuditCard, AuditPage, render_audit
from axilla.study.inputs import check_inputs
from axilla.study.layout import Layout, write_if_new
from axilla.study.slide_checks import slides_of
from axilla.study.tiling import check_memory, is_cut, regions_of, tile_key, tile_slides
from axilla.study.unannotated import without_annotation
from axilla.wsi.grid import grid_origins
from axilla.wsi.ready import region_overview
from axilla.wsi.regions import outline_rings
from axilla.wsi.slides import open_slide

PICTURE_PX = 1200
"""Longer side of a slide in its picture; several cut regions share it."""
VERSION = 1
"""Counts up whenever the same slide comes to be drawn otherwise."""
WORKERS = 4


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One image of a slide, with what was found and cut in it."""

    thumbnail: NDArray[np.uint8]
    """RGB uint8 [h, w, 3]."""
    scale: float
    """Thumbnail pixels per level-0 pixel."""
    regions: tuple[Region, ...]
    kept: NDArray[np.int32]
    """Level-0 pixels [n, 2]."""
    dropped: NDArray[np.int32]
    """Level-0 pixels [n, 2]."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What could be read of a slide."""

    views: tuple[View, ...]
    """None where the slide itself cannot be opened."""
    problem: Problem | None = None
    """Why there are no regions in the views, or no views."""


def audit_slides(config: StudyConfig, *, reporter: Reporter) -> Path | None:
    """Draw regions and patches of every slide, and write the page that shows them all.

    Slides are cut first where they are not. Slides with problems of their own are drawn as far as
    can be, for that is what an audit is for: one whose annotation cannot be read alone, without
    outlines; one that cannot be opened not at all. The page names each problem.

    Returns
    -------
    The page; None where no method looks at slides.

    Raises
    ------
    InputProblems
        Something is wrong with the study as a whole.
    BusyError
        Another run works in the same output folder.
    AxillaError
        The table cannot be read.
    """
    if not config.uses_slides or config.imported is not None:
        reporter.done("audit", "not needed: no method looks at slides")
        return None
    with store.locked(config.out):
        store.sweep(config.out)
        return _audit(config, reporter=reporter)


def _audit(config: StudyConfig, *, reporter: Reporter) -> Path:
    memory = check_memory(config)
    checked = check_inputs(config, reporter=reporter, memory=memory, slides_only=True)
    memory.save()  # so that the next audit opens only what changed
    fatal = tuple(problem for problem in checked.problems if problem.fatal)
    if fatal or checked.cohort is None:
        raise InputProblems(fatal)
    tiles = tile_slides(checked.cohort, config=config, exclude_failed=True, reporter=reporter)
    everybody = read_everybody(config)
    slides = slides_of((*everybody.cohort.patients, *everybody.unusable))
    failed, alone, drawn_now = _draw_all(slides, config=config, reporter=reporter)
    layout = Layout(config.out)
    reasons = _reasons(checked.problems, tiles.cohort)
    for slide in slides:
        if (problem := alone.get(slide.slide_id)) is not None:
            reasons.setdefault(slide.patient_id, [_sentence(problem)])
    page = _page(slides, reasons, failed, config)
    write_if_new(layout.audit_index, render_audit(page))
    reporter.done(
        "audit",
        f"{len(slides) - len(failed):,} slides"
        + (f", {len(failed):,} cannot be drawn" if failed else "")
        + (f", {drawn_now:,} drawn now" if drawn_now else ", done before"),
    )
    return layout.audit_index


def _draw_all(
    slides: Sequence[Slide], *, config: StudyConfig, reporter: Reporter
) -> tuple[dict[str, Problem], dict[str, Problem], int]:
    """Draw what is not drawn yet.

    Returns
    -------
    tuple
        Problems of slides that cannot be drawn, of those drawn alone just now, and how many were
        drawn.
    """
    layout = Layout(config.out)
    todo: list[tuple[Slide, str]] = []
    for slide in slides:
        key = store.digest("audit", VERSION, tile_key(slide, config=config), _cut(slide, config))
        if not store.step_is_done(layout.out, f"audit/{slide.slide_id}", key=key):
            todo.append((slide, key))
    failed: dict[str, Problem] = {}
    alone: dict[str, Problem] = {}
    # Decoders release the interpreter's lock, so slides are read in threads while one is drawn.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, WORKERS)) as pool:
        read = partial(_read, config=config)
        ahead = _ahead(pool, read, [slide for slide, _ in todo])
        for slide, key in reporter.track(todo, "Drawing patches"):
            opened = next(ahead)
            if opened.problem is not None:
                (alone if opened.views else failed)[slide.slide_id] = opened.problem
            if not opened.views:
                continue
            grid = _grid(slide, config)
            side = grid.size_level0 if grid is not None else SlidePixels(config.patches.size)
            path = layout.audit(slide.slide_id)
            store.write_bytes(path, _picture(opened.views, size_level0=side))
            store.write_step(layout.out, f"audit/{slide.slide_id}", key=key, files=[path])
    return failed, alone, len(todo) - len(failed)


def _ahead(
    pool: ThreadPoolExecutor,
    read: Callable[[Slide], Opened],
    slides: Sequence[Slide],
) -> Iterator[Opened]:
    """Results in order, no more than a few of them held."""
    waiting: deque[Future[Opened]] = deque()
    for slide in slides:
        waiting.append(pool.submit(read, slide))
        if len(waiting) > WORKERS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(slide: Slide, *, config: StudyConfig) -> Opened:
    try:
        regions, grid = regions_of(slide, config=config), _grid(slide, config)
        if config.regions == "patches":
            return Opened(tuple(_view_of_files(slide, region, grid) for region in regions))
        return Opened(_views(slide, regions, grid, config=config))
    except AxillaError as error:
        return _alone(slide, error.problem, config=config)


def _alone(slide: Slide, problem: Problem, *, config: StudyConfig) -> Opened:
    """The slide without regions, if it can be opened, for whoever looks for what went wrong."""
    if config.regions == "patches":
        return Opened((), problem)
    try:
        return Opened(_views(slide, (), None, config=config), problem)
    except AxillaError:
        # The slide's own trouble is the one that was met first, or stands behind it.
        return Opened((), problem)


def _views(
    slide: Slide, regions: tuple[Region, ...], grid: PatchGrid | None, *, config: StudyConfig
) -> tuple[View, ...]:
    return tuple(_view(slide, image, regions, grid, config=config) for image in slide.images)


def _view_of_files(slide: Slide, region: Region, grid: PatchGrid | None) -> View:
    """A region of ready patches: nothing was cut, so nothing was dropped."""
    thumbnail, level0_per_px = region_overview(region, slide=slide, max_side=PICTURE_PX)
    none = np.empty((0, 2), np.int32)
    return View(
        thumbnail=thumbnail,
        scale=1 / level0_per_px,
        regions=(region,),
        kept=none if grid is None else grid.xy[grid.region == region.index],
        dropped=none,
    )


def _view(
    slide: Slide,
    image: Path,
    regions: tuple[Region, ...],
    grid: PatchGrid | None,
    *,
    config: StudyConfig,
) -> View:
    here = tuple(region for region in regions if region.image == image)
    columns = math.ceil(math.sqrt(len(slide.images)))
    with open_slide(
        image, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
    ) as reader:
        thumbnail, level0_per_px = reader.thumbnail(PICTURE_PX // columns)
        size = reader.size
    kept: list[NDArray[np.int32]] = [np.empty((0, 2), np.int32)]
    dropped = kept.copy()
    for region in here:
        if grid is None:
            continue
        own = grid.xy[grid.region == region.index]
        full = grid_origins(region, size=size, side=grid.size_level0, edge=config.patches.edge)
        taken = set(map(tuple, own.tolist()))
        left = [corner for corner in full.tolist() if tuple(corner) not in taken]
        kept.append(own)
        dropped.append(np.array(left, np.int32).reshape(-1, 2))
    return View(
        thumbnail=thumbnail,
        scale=1 / level0_per_px,
        regions=here,
        kept=np.concatenate(kept),
        dropped=np.concatenate(dropped),
    )


def _picture(views: tuple[View, ...], *, size_level0: SlidePixels) -> bytes:
    """One panel an image, a figure's pixel for a thumbnail's."""
    columns = math.ceil(math.sqrt(len(views)))
    rows = math.ceil(len(views) / columns)
    height = max(view.thumbnail.shape[0] for view in views)
    width = max(view.thumbnail.shape[1] for view in views)
    figure = Figure(figsize=(columns * width / 100, rows * height / 100), dpi=100)
    canvas: Any = FigureCanvasAgg(figure)
    for place, view in enumerate(views):
        row, column = divmod(place, columns)
        axes = figure.add_axes((column / columns, 1 - (row + 1) / rows, 1 / columns, 1 / rows))
        draw_grid(
            axes,
            view.thumbnail,
            kept=view.kept,
            dropped=view.dropped,
            size_level0=size_level0,
            scale=view.scale,
            outlines=[ring for region in view.regions for ring in outline_rings(region)],
        )
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    buffer = io.BytesIO()
    # 256 colours are enough to judge an outline by, and a third of the bytes.
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="png")
    return buffer.getvalue()


def _cut(slide: Slide, config: StudyConfig) -> bool:
    return is_cut(slide, config=config)


def _grid(slide: Slide, config: StudyConfig) -> PatchGrid | None:
    """The slide's patches; None where it could not be cut."""
    if not _cut(slide, config):
        return None
    return store.read_grid(Layout(config.out).grid(slide.slide_id))


def _sentence(problem: Problem) -> str:
    text = f"{problem.cause} {problem.remedy}"
    return text[:1].upper() + text[1:]


def _reasons(problems: Sequence[Problem], cohort: Cohort) -> dict[str, list[str]]:
    """Why patients would leave the study, by patient."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        if problem.patient is not None:
            found.setdefault(problem.patient, []).append(_sentence(problem))
    for exclusion in cohort.excluded:
        if exclusion.step == "tile":
            found.setdefault(exclusion.patient_id, []).append(exclusion.reason)
    return found


def _page(
    slides: Sequence[Slide],
    reasons: dict[str, list[str]],
    failed: dict[str, Problem],
    config: StudyConfig,
) -> AuditPage:
    cards = [
        _card(slide, tuple(reasons.get(slide.patient_id, ())), failed.get(slide.slide_id), config)
        for slide in slides
    ]
    shown = {card.patient_id for card in cards}
    missing = [
        (patient, cause)
        for patient, causes in reasons.items()
        if patient not in shown
        for cause in causes
    ]
    return AuditPage(
        name=config.name,
        generated=is_generated(config.cohort),
        cards=tuple(cards),
        missing=tuple(missing),
        kept_colour=KEPT,
        dropped_colour=DROPPED,
    )


def _card(
    slide: Slide, reasons: tuple[str, ...], failure: Problem | None, config: StudyConfig
) -> AuditCard:
    grid = _grid(slide, config)
    remarks = list(reasons)
    caption = "Not cut into patches."
    if failure is not None and not remarks:
        remarks.append(_sentence(failure))
    if grid is not None:
        caption = f"Patches: {len(grid):,} kept, {grid.dropped:,} dropped."
        if without_annotation([slide], config=config):
            remarks.append("No annotation: all tissue that is found was taken.")
        if grid.repaired:
            remarks.append(f"Repaired: outlines that cross themselves ({grid.repaired}).")
        if len(grid) < config.bags.size:
            remarks.append(f"Fewer patches than a bag holds ({config.bags.size}).")
    path = Layout(config.out).audit(slide.slide_id)
    return AuditCard(
        slide_id=slide.slide_id,
        patient_id=slide.patient_id,
        picture=None if failure is not None else path.name,
        caption=caption,
        remarks=tuple(remarks),
    )
