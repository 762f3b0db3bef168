"""Explain: where the model looks, over every slide of the test cohort."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from axilla.analysis.heatmaps import COLOURS, SIGNED_COLOURS, draw_gallery, draw_heatmap
from axilla.core import store
from axilla.core.methods import method_spec
from axilla.core.progress import Reporter
from axilla.core.qupath import patch_tiles
from axilla.core.types import Partition, PatchGrid, Patient, Region, Slide
from axilla.mil.bundle import Bundle
from axilla.study.fitting import Fitting
from axilla.study.instances import read_patches
from axilla.study.layout import Layout
from axilla.study.scoring import load_bundle, slide_attention, slide_contribution
from axilla.study.tiling import Tiles, regions_of
from axilla.wsi.ready import region_overview
from axilla.wsi.regions import outline_rings
from axilla.wsi.slides import open_slide

THUMBNAIL_PX = 1200
GALLERY = 8
"""Patches in each row of the gallery."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """Patch values with the colours that show them."""

    values: NDArray[np.float64]
    """[n], NaN where a patch has none."""
    label: str
    limits: tuple[float, float]
    colours: str


def explained_method(methods: tuple[str, ...]) -> str | None:
    """The method whose attention is drawn: DL-CNB where there is one, else DL-CNB+C."""
    shown = [name for name in methods if method_spec(name).images]
    return next((name for name in shown if not method_spec(name).clinical), next(iter(shown), None))


def explain_all(
    fitting: Fitting, tiles: Tiles, keys: Mapping[tuple[str, str], str], *, reporter: Reporter
) -> None:
    """Heat maps, gallery, table and QuPath tiles of attention and contribution, a test slide each.

    In cross-validation each patient is shown by the model of the first repeat that did not see the
    patient in training.
    """
    method = explained_method(fitting.config.methods)
    if method is None:
        reporter.done("explain", "not needed: no method looks at slides")
        return
    layout = Layout(fitting.config.out)
    shown = 0
    todo: list[tuple[Partition, Patient, Slide, str]] = []
    for partition in fitting.partitions:
        if partition.repeat > 0:
            continue
        for patient in fitting.patients(partition, "test"):
            for slide in patient.slides:
                if not len(tiles.grids[slide.slide_id]):
                    continue
                # With tiles and contributions, which earlier versions did not write.
                key = store.digest(
                    "explain, contributions",
                    keys[method, partition.name],
                    fitting.slide_keys[slide.slide_id],
                )
                shown += 1
                if not store.step_is_done(layout.out, f"explain/{slide.slide_id}", key=key):
                    todo.append((partition, patient, slide, key))
    bundles: dict[str, Bundle] = {}
    for partition, patient, slide, key in reporter.track(todo, "Drawing attention"):
        if partition.name not in bundles:
            bundles = {partition.name: load_bundle(fitting, method, partition)}
        files = _explain_slide(fitting, tiles, bundles[partition.name], patient, slide)
        store.write_step(layout.out, f"explain/{slide.slide_id}", key=key, files=files)
    reporter.done(
        "explain", f"{shown} test slides" + (f", {len(todo)} now" if todo else ", done before")
    )


def _explain_slide(
    fitting: Fitting, tiles: Tiles, bundle: Bundle, patient: Patient, slide: Slide
) -> list[Path]:
    if bundle.network is None or fitting.slides is None:
        raise ValueError("attention needs a network and slides")
    config = fitting.config
    attention = slide_attention(fitting, bundle, patient, slide.slide_id)
    layout = Layout(config.out)
    grid = tiles.grids[slide.slide_id]
    contribution = slide_contribution(fitting, bundle, patient, slide.slide_id)
    values = {"attention": attention}
    values |= {} if contribution is None else {"contribution": contribution}
    places = {"region": grid.region, "x": grid.xy[:, 0], "y": grid.xy[:, 1]}
    table = pd.DataFrame(places | values)
    store.write_text(layout.attention(slide.slide_id), table.to_csv(index=False))
    regions = regions_of(slide, config=config)
    positive = fitting.cohort.classes[-1]
    written = [layout.gallery(slide.slide_id), layout.attention(slide.slide_id)]
    for path, shown in _shown(layout, slide, attention, contribution, positive=positive):
        store.write_bytes(path, figure_png(_heatmap(slide, regions, tiles, shown), dpi=110))
        written.append(path)
    pixels = (
        np.asarray(fitting.slides[slide.slide_id])
        if config.encoder.trainable
        else read_patches(slide, tiles, config=config)
    )
    gallery = _gallery(pixels, attention)
    store.write_bytes(layout.gallery(slide.slide_id), figure_png(gallery, dpi=110))
    return [*written, *_write_tiles(layout, slide, regions, grid, values)]


def _shown(
    layout: Layout,
    slide: Slide,
    attention: NDArray[np.float64],
    contribution: NDArray[np.float64] | None,
    *,
    positive: str,
) -> Iterator[tuple[Path, _Shown]]:
    """What is drawn, where it goes, and its colours: attention from its least to its most."""
    seen = attention[np.isfinite(attention)]
    limits = float(seen.min()), float(seen.max())
    label = "Attention (1 = as if all patches weighed the same)"
    yield layout.heatmap(slide.slide_id), _Shown(attention, label, limits, COLOURS)
    if contribution is None or not np.isfinite(contribution).any():
        return
    # As far below zero as above, so that the pale middle is no contribution.
    most = max(float(np.nanmax(np.abs(contribution))), 1e-9)
    label = f"Contribution to the log-odds of {positive}: with the patch, less without it"
    yield (
        layout.contribution(slide.slide_id),
        _Shown(contribution, label, (-most, most), SIGNED_COLOURS),
    )


def _write_tiles(
    layout: Layout,
    slide: Slide,
    regions: tuple[Region, ...],
    grid: PatchGrid,
    values: Mapping[str, NDArray[np.float64]],
) -> list[Path]:
    """Write a file for QuPath of each image; none where patches are all that there is."""
    if any(region.files is not None for region in regions):
        return []
    attention = values["attention"]
    rank = rankdata(attention, method="average", nan_policy="omit") / np.isfinite(attention).sum()
    told = {name.capitalize(): own for name, own in values.items()} | {"Attention rank": rank}
    written = []
    for number, image in enumerate(slide.images, start=1):
        here = np.isin(grid.region, [region.index for region in regions if region.image == image])
        measurements = {name: own[here] for name, own in told.items()}
        path = layout.tiles(slide.slide_id, number if len(slide.images) > 1 else None)
        text = patch_tiles(grid.xy[here], size_level0=grid.size_level0, measurements=measurements)
        store.write_text(path, text)
        written.append(path)
    return written


def _heatmap(
    slide: Slide,
    regions: tuple[Region, ...],
    tiles: Tiles,
    shown: _Shown,
) -> Figure:
    """One panel an image of the slide."""
    grid = tiles.grids[slide.slide_id]
    pictures = _pictures(slide, regions)
    figure = Figure(figsize=(7.2 * len(pictures), 5.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(pictures)))
    # A patch in none of the given bags has no value: its tissue is shown bare.
    seen = np.isfinite(shown.values)
    for axes, (own, thumbnail, level0_per_px) in zip(panels, pictures, strict=True):
        here = np.isin(grid.region, [region.index for region in own]) & seen
        draw_heatmap(
            axes,
            thumbnail,
            xy=grid.xy[here],
            size_level0=grid.size_level0,
            values=shown.values[here],
            scale=1 / level0_per_px,
            outlines=[ring for region in own for ring in outline_rings(region)],
            limits=shown.limits,
            label=shown.label,
            colours=shown.colours,
        )
    return figure


def _pictures(
    slide: Slide, regions: tuple[Region, ...]
) -> list[tuple[list[Region], NDArray[np.uint8], float]]:
    """Regions, thumbnail and level-0 pixels a thumbnail's pixel: an image, or a region of files."""
    if any(region.files is not None for region in regions):
        return [
            ([region], *region_overview(region, slide=slide, max_side=THUMBNAIL_PX))
            for region in regions
        ]
    pictures = []
    for image in slide.images:
        with open_slide(
            image, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
        ) as reader:
            own = [region for region in regions if region.image == image]
            pictures.append((own, *reader.thumbnail(THUMBNAIL_PX)))
    return pictures


def _gallery(pixels: NDArray[np.uint8], attention: NDArray[np.float64]) -> Figure:
    order = np.argsort(-attention, kind="stable")[: np.isfinite(attention).sum()]
    # A slide with few patches shows each once: the rows share none.
    count = min(GALLERY, max(1, len(order) // 2))
    rows = [order[:count], order[::-1][:count]] if len(order) > 1 else [order]
    figure = Figure(figsize=(1.1 * GALLERY, 1.55 * len(rows)))
    draw_gallery(
        figure,
        [[pixels[i] for i in row] for row in rows],
        values=[[float(attention[i]) for i in row] for row in rows],
        titles=["Highest attention", "Lowest attention"][: len(rows)],
        label="{:.2f}",
    )
    return figure


def figure_png(figure: Figure, *, dpi: int) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
