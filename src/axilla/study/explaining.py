"""Explain: where the model looks, over every slide of the test cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from axilla.analysis.heatmaps import draw_gallery
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.methods import method_spec
from axilla.core.progress import Reporter
from axilla.core.qupath import patch_tiles
from axilla.core.types import Partition, PatchGrid, Patient, Region, Slide
from axilla.mil.bundle import Bundle
from axilla.study.fitting import Fitting
from axilla.study.heat_drawing import draw_all, draw_slide, figure_png
from axilla.study.heat_scales import attention_rank
from axilla.study.layout import Layout
from axilla.study.scoring import load_bundle, slide_attention, slide_contribution
from axilla.study.tiling import Tiles, open_patches, regions_of
from axilla.wsi.slides import scanned_origin

GALLERY = 8
"""Patches in each row of the gallery."""
MEASURING_IMPORTED = 3
"""Counts up whenever the same model and features made elsewhere come to give another table or other
tiles."""


def explained_method(methods: tuple[str, ...]) -> str | None:
    """The method whose attention is drawn: DL-CNB where there is one, else DL-CNB+C."""
    shown = [n for n in methods if method_spec(n).images and not method_spec(n).nuclei]
    return next((name for name in shown if not method_spec(name).clinical), next(iter(shown), None))


def shown_slides(fitting: Fitting) -> dict[str, tuple[Partition, Patient, Slide]]:
    """Slides of the test patients by id, each with the partition whose model did not see it."""
    return {
        slide.slide_id: (partition, patient, slide)
        for partition in fitting.partitions
        if partition.repeat == 0
        for patient in fitting.patients(partition, "test")
        for slide in patient.slides
    }


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Slides to explain."""

    slides: Mapping[str, tuple[Partition, Patient, Slide]]
    """By id, each with the partition whose model is asked."""
    out: Path
    """Under it lies what is written."""
    beside: tuple[Path, ...] = ()
    """Tables of further slides, whose range the colours share where that is the cohort's."""
    title: str = "test slides"


def default_selection(fitting: Fitting) -> Selection:
    """The slides of the test cohort.

    In cross-validation each patient is shown by the model of the first repeat that did not see the
    patient in training.
    """
    return Selection(shown_slides(fitting), fitting.config.out)


def table_key(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], slide_id: str, own: Partition
) -> str:
    """What the table of a slide's patches depends on, wherever its features were made."""
    method = explained_method(fitting.config.methods)
    if method is None:
        raise ValueError("a table of patches needs a method that looks at them")
    key = store.digest("explain, tables", keys[method, own.name], fitting.slide_keys[slide_id])
    return key if fitting.imported is None else store.digest(MEASURING_IMPORTED, key)


def explain_all(
    fitting: Fitting,
    tiles: Tiles,
    keys: Mapping[tuple[str, str], str],
    *,
    reporter: Reporter,
    selection: Selection | None = None,
) -> None:
    """Heat maps, gallery, table and QuPath tiles of attention and contribution, a slide each.

    `selection` is that of the test cohort where none is given.
    """
    method = explained_method(fitting.config.methods)
    if method is None:
        reporter.done("explain", "not needed: no method looks at patches")
        return
    chosen = selection or default_selection(fitting)
    out = chosen.out
    shown = {
        slide_id: found for slide_id, found in chosen.slides.items() if len(tiles.grids[slide_id])
    }
    own_keys = {
        slide_id: table_key(fitting, keys, slide_id, partition)
        for slide_id, (partition, _, _) in shown.items()
    }
    # Models lie in the study's folder, wherever the maps go.
    drawing = replace(fitting, config=fitting.config.model_copy(update={"out": out}))
    todo = [
        slide_id
        for slide_id, key in own_keys.items()
        if not store.step_is_done(out, f"explain/{slide_id}", key=key)
    ]
    bundles: dict[str, Bundle] = {}
    # All before the first is drawn: colours may be those of the whole cohort.
    for slide_id in reporter.track(todo, "Measuring attention"):
        partition, patient, slide = shown[slide_id]
        if partition.name not in bundles:
            bundles = {partition.name: load_bundle(fitting, method, partition)}
        files = _measure_slide(drawing, tiles, bundles[partition.name], patient, slide)
        store.write_step(out, f"explain/{slide_id}", key=own_keys[slide_id], files=files)
    drawn = draw_all(
        [slide for _, _, slide in shown.values()],
        own_keys,
        config=drawing.config,
        draw=partial(draw_slide, drawing, tiles),
        reporter=reporter,
        beside=chosen.beside,
    )
    now = len(drawn.union(todo))
    reporter.done(
        "explain", f"{len(shown)} {chosen.title}" + (f", {now} now" if now else ", done before")
    )


def _measure_slide(
    fitting: Fitting, tiles: Tiles, bundle: Bundle, patient: Patient, slide: Slide
) -> list[Path]:
    """Attention and contribution of every patch: a table, tiles for QuPath, and the extremes."""
    if bundle.network is None or fitting.slides is None:
        raise ValueError("attention needs a network and slides")
    config = fitting.config
    layout = Layout(config.out)
    grid = tiles.grids[slide.slide_id]
    attention = slide_attention(fitting, bundle, patient, slide.slide_id)
    contribution = slide_contribution(fitting, bundle, patient, slide.slide_id)
    values = {"attention": attention}
    values |= {} if contribution is None else {"contribution": contribution}
    places = {"region": grid.region, "x": grid.xy[:, 0], "y": grid.xy[:, 1]}
    table = pd.DataFrame(places | values)
    store.write_text(layout.attention(slide.slide_id), table.to_csv(index=False))
    rows = _gallery_rows(attention)
    gallery = _gallery(rows, _patches_of(slide, rows, fitting, tiles), attention)
    store.write_bytes(layout.gallery(slide.slide_id), figure_png(gallery, dpi=110))
    written = [layout.gallery(slide.slide_id), layout.attention(slide.slide_id)]
    return [*written, *_write_tiles(slide, grid, values, config=config)]


def _write_tiles(
    slide: Slide,
    grid: PatchGrid,
    values: Mapping[str, NDArray[np.float64]],
    *,
    config: StudyConfig,
) -> list[Path]:
    """Write a file for QuPath of each image."""
    written = []
    tiles = qupath_tiles(
        slide, regions_of(slide, config=config), grid, values, cropped=config.qupath_cropped
    )
    for number, text in tiles.items():
        path = Layout(config.out).tiles(slide.slide_id, number)
        store.write_text(path, text)
        written.append(path)
    return written


def qupath_tiles(
    slide: Slide,
    regions: tuple[Region, ...],
    grid: PatchGrid,
    values: Mapping[str, NDArray[np.float64]],
    *,
    cropped: bool = True,
) -> dict[int | None, str]:
    """Patches with their values as QuPath opens them, by the image's number.

    None is the number of the only image. Nothing where patches are all that there is. `cropped`
    says that QuPath shows the scanned part of a slide only, and counts from its corner.
    """
    if any(region.files is not None for region in regions):
        return {}
    told = told_in_qupath(values)
    found: dict[int | None, str] = {}
    for number, image in enumerate(slide.images, start=1):
        here = np.isin(grid.region, [region.index for region in regions if region.image == image])
        measurements = {name: own[here] for name, own in told.items()}
        found[number if len(slide.images) > 1 else None] = patch_tiles(
            grid.xy[here],
            size_level0=grid.size_level0,
            measurements=measurements,
            origin=scanned_origin(image) if cropped else (0, 0),
        )
    return found


def told_in_qupath(
    values: Mapping[str, NDArray[np.float64]],
) -> dict[str, NDArray[np.float64]]:
    """Values of patches by the name that QuPath shows, with the rank of the attention."""
    told = {name.capitalize(): own for name, own in values.items()}
    return told | {"Attention rank": attention_rank(values["attention"])}


def _gallery_rows(attention: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Patches with the highest and with the lowest attention, a row each; no patch is in both."""
    order = np.argsort(-attention, kind="stable")[: np.isfinite(attention).sum()]
    # A slide with few patches shows each once: the rows share none.
    count = min(GALLERY, max(1, len(order) // 2))
    return [order[:count], order[::-1][:count]] if len(order) > 1 else [order]


def _patches_of(
    slide: Slide, rows: list[NDArray[np.int64]], fitting: Fitting, tiles: Tiles
) -> list[NDArray[np.uint8]]:
    """The patches of each row and no others: all of a slide may be gigabytes."""
    wanted = np.concatenate(rows)
    if fitting.config.encoder.trainable and fitting.slides is not None:
        # As the model sees them, with their stain normalised.
        pixels = fitting.slides[slide.slide_id][wanted]
    else:
        with open_patches(slide, tiles, config=fitting.config) as reader:
            pixels = reader.read(wanted)
    return np.split(pixels, np.cumsum([len(row) for row in rows])[:-1])


def _gallery(
    rows: list[NDArray[np.int64]], patches: list[NDArray[np.uint8]], attention: NDArray[np.float64]
) -> Figure:
    figure = Figure(figsize=(1.1 * GALLERY, 1.55 * len(rows)))
    draw_gallery(
        figure,
        [list(row) for row in patches],
        values=[attention[row].tolist() for row in rows],
        titles=["Highest attention", "Lowest attention"][: len(rows)],
        label="{:.2f}",
    )
    return figure
