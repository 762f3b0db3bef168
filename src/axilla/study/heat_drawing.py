"""Heat maps of patch values over a slide: a picture, and an image that viewers lay over it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from axilla.analysis.heatmaps import draw_heatmap
from axilla.analysis.patch_raster import TILE_PX, patch_raster
from axilla.analysis.plots.look import in_print
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.progress import Reporter
from axilla.core.types import MicronsPerPixel, PatchGrid, Region, Slide
from axilla.study.fitting import Fitting
from axilla.study.heat_scales import (
    CohortLimits,
    Scale,
    Shown,
    cohort_limits,
    read_values,
    shown_attention,
    shown_contribution,
)
from axilla.study.held_patches import HeldPatches, overview_of
from axilla.study.layout import Layout
from axilla.study.tiling import Tiles, regions_of
from axilla.wsi.ready import region_overview
from axilla.wsi.regions import outline_rings
from axilla.wsi.scale import slide_mpp

DRAWING = 2
"""Counts up whenever the same values come to give other pictures."""
THUMBNAIL_PX = 1200
MAP_IN = (4.0, 3.2)
"""Width and height of a map: its text can be read where two stand side by side on a page."""
MAP_DPI = 200
Draw = Callable[[Slide, str, CohortLimits | None], list[Path]]
"""Draws a slide under a key, and returns what it wrote."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image of a slide, or a region whose patches are files, made small."""

    regions: tuple[Region, ...]
    thumbnail: NDArray[np.uint8]
    level0_per_px: float
    mpp: MicronsPerPixel | None
    """µm per level-0 pixel."""
    size: tuple[int, int] | None
    """Width and height of level 0; None where patches are all that there is."""


def draw_all(
    slides: Sequence[Slide],
    keys: Mapping[str, str],
    *,
    config: StudyConfig,
    draw: Draw,
    reporter: Reporter,
    beside: Sequence[Path] = (),
) -> set[str]:
    """Draw what is not drawn yet, and return the ids of these slides.

    Parameters
    ----------
    slides
        All that are shown; the table of each one's patches is written.
    keys
        What the table depends on, by slide id.
    beside
        Tables of further slides, whose range the colours share where that is the cohort's.
    """
    layout = Layout(config.out)
    limits = None
    if config.heatmaps.scale == "cohort" and slides:
        own = [layout.attention(slide.slide_id) for slide in slides]
        limits = cohort_limits([*own, *beside])
    todo = []
    for slide in slides:
        key = store.digest(
            "heatmaps", DRAWING, keys[slide.slide_id], config.heatmaps.model_dump(),
            None if limits is None else asdict(limits),
        )  # fmt: skip
        if not store.step_is_done(layout.out, f"heatmaps/{slide.slide_id}", key=key):
            todo.append((slide, key))
    for slide, key in reporter.track(todo, "Drawing heat maps"):
        step = f"heatmaps/{slide.slide_id}"
        before = [layout.out / name for name in store.step_files(layout.out, step)]
        files = draw(slide, key, limits)
        # What is not made any more would be taken for this model's.
        for path in set(before) - set(files):
            path.unlink(missing_ok=True)
        store.write_step(layout.out, step, key=key, files=files)
    return {slide.slide_id for slide, _ in todo}


def draw_slide(
    fitting: Fitting, tiles: Tiles, slide: Slide, key: str, limits: CohortLimits | None
) -> list[Path]:
    """Draw attention, and contributions where they are told, from the table of the patches."""
    config = fitting.config
    layout = Layout(config.out)
    grid = tiles.grids[slide.slide_id]
    table = read_values(layout.attention(slide.slide_id))
    pictures = slide_pictures(slide, regions_of(slide, config=config), grid)
    maps = shown_values(
        table, scale=config.heatmaps.scale, limits=limits, positive=fitting.cohort.classes[-1]
    )
    written = []
    for name, shown in maps.items():
        path = layout.map_of(slide.slide_id, name)
        with in_print():
            store.write_bytes(path, figure_png(_heatmap(pictures, grid, shown), dpi=MAP_DPI))
        written.append(path)
        if config.heatmaps.ome_tiff:
            # The values themselves, whatever the colours show.
            values = table[name].to_numpy()
            written += _write_overlays(
                layout, slide, pictures, grid, name=name, values=values, key=key
            )
    return written


def shown_values(
    table: pd.DataFrame, *, scale: Scale, limits: CohortLimits | None, positive: str
) -> dict[str, Shown]:
    """What is drawn of a slide's table: attention, and contributions where they are told."""
    maps = {"attention": shown_attention(table["attention"].to_numpy(), scale=scale, limits=limits)}
    if "contribution" in table and table["contribution"].notna().any():
        maps["contribution"] = shown_contribution(
            table["contribution"].to_numpy(), limits=limits, positive=positive
        )
    return maps


def _write_overlays(
    layout: Layout,
    slide: Slide,
    pictures: Sequence[Picture],
    grid: PatchGrid,
    *,
    name: str,
    values: NDArray[np.float64],
    key: str,
) -> list[Path]:
    """An OME-TIFF of each image; none where patches are all that there is."""
    written = []
    for number, picture in enumerate(pictures, start=1):
        if picture.size is None:
            continue
        here = _within(grid, picture)
        path = layout.overlay(slide.slide_id, name, number if len(pictures) > 1 else None)
        write_overlay(
            path, name=name, xy=grid.xy[here], values=values[here],
            size_level0=grid.size_level0, size=picture.size, mpp=picture.mpp, key=key,
        )  # fmt: skip
        written.append(path)
    return written


def write_overlay(
    path: Path,
    *,
    name: str,
    xy: ArrayLike,
    values: ArrayLike,
    size_level0: int,
    size: tuple[int, int],
    mpp: MicronsPerPixel | None,
    key: str,
) -> None:
    """Write patch values as an OME-TIFF whose pixels lie on those of the slide.

    Parameters
    ----------
    name
        Of the values: attention or contribution.
    xy, values, size_level0
        Patches, as of `patch_raster`.
    size
        Width and height of the slide in level-0 pixels.
    mpp
        µm per level-0 pixel; None where nobody knows.
    key
        Of the step.
    """
    raster = patch_raster(xy, values=values, size_level0=size_level0, width=size[0], height=size[1])
    finest = raster.downsamples[0]
    store.write_overlay(
        path,
        [(raster.shape(i), raster.tiles(i)) for i in range(len(raster.downsamples))],
        tile=TILE_PX,
        channel=name.capitalize(),
        description=f"{name.capitalize()} of patches of {size_level0} level-0 pixels. A pixel of "
        f"the first level spans {finest} level-0 pixels; NaN where there is no patch.",
        identity=store.digest(key, path.name),
        microns_per_px=None if mpp is None else mpp * finest,
    )


def _heatmap(pictures: Sequence[Picture], grid: PatchGrid, shown: Shown) -> Figure:
    """One panel a picture."""
    figure = map_figure(len(pictures))
    panels = np.atleast_1d(figure.subplots(1, len(pictures)))
    # A patch in none of the given bags has no value: its tissue is shown bare.
    seen = np.isfinite(shown.values)
    for axes, picture in zip(panels, pictures, strict=True):
        here = _within(grid, picture) & seen
        draw_heatmap(
            axes,
            picture.thumbnail,
            xy=grid.xy[here],
            size_level0=grid.size_level0,
            values=shown.values[here],
            scale=1 / picture.level0_per_px,
            mpp=picture.mpp,
            outlines=[ring for region in picture.regions for ring in outline_rings(region)],
            limits=shown.limits,
            label=shown.label,
            colours=shown.colours,
        )
    return figure


def map_figure(panels: int) -> Figure:
    """An empty figure of so many maps beside one another."""
    return Figure(figsize=(MAP_IN[0] * panels, MAP_IN[1]), layout="constrained")


def _within(grid: PatchGrid, picture: Picture) -> NDArray[np.bool_]:
    return np.isin(grid.region, [region.index for region in picture.regions])


def slide_pictures(
    slide: Slide,
    regions: tuple[Region, ...],
    grid: PatchGrid,
    *,
    held: HeldPatches | None = None,
) -> list[Picture]:
    """Each image of the slide; where patches are files, each region of them.

    What was seen when patches were cut, and is `held`, is not read again.
    """
    if any(region.files is not None for region in regions):
        return [
            Picture(
                (region,),
                *region_overview(region, slide=slide, max_side=THUMBNAIL_PX),
                mpp=grid.mpp,
                size=None,
            )
            for region in regions
        ]
    pictures = []
    for image in slide.images:
        seen = None if held is None else held.overview(image)
        seen = seen or overview_of(slide, image, max_side=THUMBNAIL_PX)
        pictures.append(
            Picture(
                tuple(region for region in regions if region.image == image),
                seen.thumbnail,
                seen.level0_per_px,
                mpp=slide_mpp(slide, seen.mpp, image=image),
                size=seen.size,
            )
        )
    return pictures


def figure_png(figure: Figure, *, dpi: int) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
