"""Explain a study of features made elsewhere: over the coordinates, without the slide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from axilla.analysis.heatmaps import draw_heatmap
from axilla.analysis.plots.look import in_print
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.progress import Reporter
from axilla.core.qupath import patch_tiles
from axilla.core.types import MicronsPerPixel, Patient, Slide, SlidePixels
from axilla.features.imported import SlideFeatures, patch_side
from axilla.mil.bundle import Bundle
from axilla.study.explaining import (
    Selection,
    default_selection,
    explained_method,
    table_key,
    told_in_qupath,
)
from axilla.study.fitting import Fitting
from axilla.study.heat_drawing import (
    MAP_DPI,
    THUMBNAIL_PX,
    draw_all,
    figure_png,
    map_figure,
    shown_values,
    write_overlay,
)
from axilla.study.heat_scales import CohortLimits, Shown, read_values
from axilla.study.imported import read_features_of
from axilla.study.layout import Layout
from axilla.study.scoring import load_bundle, slide_attention, slide_contribution


def explain_imported(
    fitting: Fitting,
    keys: Mapping[tuple[str, str], str],
    *,
    reporter: Reporter,
    selection: Selection | None = None,
) -> None:
    """Table of attention and contribution of each slide; maps and tiles where it has coordinates.

    `selection` is that of the test cohort where none is given.
    """
    method = explained_method(fitting.config.methods)
    if method is None or fitting.imported is None:
        reporter.done("explain", "not needed: no method looks at slides")
        return
    chosen = selection or default_selection(fitting)
    shown, layout = chosen.slides, Layout(chosen.out)
    own_keys = {
        slide_id: table_key(fitting, keys, slide_id, part)
        for slide_id, (part, _, _) in shown.items()
    }
    # Models lie in the study's folder, wherever the maps go.
    drawing = replace(fitting, config=fitting.config.model_copy(update={"out": chosen.out}))
    todo = [
        slide_id
        for slide_id, key in own_keys.items()
        if not store.step_is_done(layout.out, f"explain/{slide_id}", key=key)
    ]
    bundles: dict[str, Bundle] = {}
    for slide_id in reporter.track(todo, "Measuring attention"):
        part, patient, slide = shown[slide_id]
        if part.name not in bundles:
            bundles = {part.name: load_bundle(fitting, method, part)}
        files = _measure_slide(drawing, bundles[part.name], patient, slide)
        store.write_step(layout.out, f"explain/{slide_id}", key=own_keys[slide_id], files=files)
    slides = [slide for _, _, slide in shown.values()]
    scales = {slide.slide_id: told_mpp(slide, config=fitting.config) for slide in slides}
    draw_all(
        slides,
        {slide_id: store.digest(own_keys[slide_id], mpp) for slide_id, mpp in scales.items()},
        config=drawing.config,
        draw=partial(_draw_slide, drawing),
        reporter=reporter,
        beside=chosen.beside,
    )
    reporter.done("explain", f"{len(shown)} {chosen.title}{_undrawn(drawing, shown)}")


def _undrawn(fitting: Fitting, shown: Iterable[str]) -> str:
    """Of how many of the slides there is no heat map or no overlay, and why; empty where of none.

    As the records of what was drawn have it: files that did not change are not read again.
    """
    if fitting.imported is None:
        raise ValueError("there are no features made elsewhere")
    facts, told = fitting.imported.facts, ""
    placed = [slide_id for slide_id in shown if facts[slide_id].coords]
    bare = sum(not facts[slide_id].coords for slide_id in shown)
    if bare:
        told += f"; no heat map of {bare}, whose files hold no coordinates"
    flat = sum(not _has_overlay(Layout(fitting.config.out), slide_id) for slide_id in placed)
    if flat and fitting.config.heatmaps.ome_tiff:
        told += (
            f"; no OME-TIFF of {flat}, whose files do not give corners and side of the patches in "
            "whole pixels"
        )
    return told


def _has_overlay(layout: Layout, slide_id: str) -> bool:
    overlay = layout.overlay(slide_id, "attention", None).relative_to(layout.out)
    return overlay.as_posix() in store.step_files(layout.out, f"heatmaps/{slide_id}")


def _measure_slide(fitting: Fitting, bundle: Bundle, patient: Patient, slide: Slide) -> list[Path]:
    """A table of the patches; and tiles for QuPath where the file says where they lie in pixels."""
    if bundle.network is None or fitting.slides is None:
        raise ValueError("attention needs a network and features")
    values = {"attention": slide_attention(fitting, bundle, patient, slide.slide_id)}
    contribution = slide_contribution(fitting, bundle, patient, slide.slide_id)
    values |= {} if contribution is None else {"contribution": contribution}
    found = read_features_of(slide, config=fitting.config)
    table = pd.DataFrame(values)
    if found.coords is not None:
        unit = {"px": "", "µm": "_um"}[found.unit]
        table.insert(0, f"y{unit}", found.coords[:, 1])
        table.insert(0, f"x{unit}", found.coords[:, 0])
    layout = Layout(fitting.config.out)
    written = [layout.attention(slide.slide_id)]
    store.write_text(written[0], table.to_csv(index=False))
    tiles = imported_tiles(found, values)
    if tiles is not None:
        written.append(layout.tiles(slide.slide_id, None))
        store.write_text(written[1], tiles)
    return written


def imported_tiles(found: SlideFeatures, values: Mapping[str, NDArray[np.float64]]) -> str | None:
    """Patches with their values [n] as QuPath opens them; None where no pixels are told.

    Where the scanned part of the slide begins is not known without the slide.
    """
    side = patch_side(found)
    if found.coords is None or found.unit != "px" or side is None:
        return None
    return patch_tiles(
        found.coords, size_level0=SlidePixels(round(side)), measurements=told_in_qupath(values)
    )


def _draw_slide(
    fitting: Fitting, slide: Slide, key: str, limits: CohortLimits | None
) -> list[Path]:
    """Draw what has coordinates, on white; an overlay for the slide where these are pixels."""
    config = fitting.config
    layout = Layout(config.out)
    found = read_features_of(slide, config=config)
    if found.coords is None:
        return []
    table = read_values(layout.attention(slide.slide_id))
    maps = shown_values(
        table, scale=config.heatmaps.scale, limits=limits, positive=fitting.cohort.classes[-1]
    )
    mpp = told_mpp(slide, config=config)
    unit_um = mpp if found.unit == "px" else MicronsPerPixel(1.0)
    side = patch_side(found)
    written = []
    for name, shown in maps.items():
        path = layout.map_of(slide.slide_id, name)
        with in_print():
            picture = figure_png(_heatmap(found, shown, side=side, mpp=unit_um), dpi=MAP_DPI)
        store.write_bytes(path, picture)
        written.append(path)
    if not config.heatmaps.ome_tiff or found.unit != "px" or side is None:
        return written
    # An overlay's pixels are whole ones of the slide; `_undrawn` counts those that have none.
    if (np.append(found.coords, side) % 1).any():
        return written
    # From the slide's corner to the last patch: how far the slide goes on is not known.
    width, height = (found.coords.max(axis=0) + side).astype(int).tolist()
    for name in maps:
        overlay = layout.overlay(slide.slide_id, name, None)
        write_overlay(
            overlay, name=name, xy=found.coords, values=table[name].to_numpy(),
            size_level0=int(side), size=(width, height), mpp=mpp, key=key,
        )  # fmt: skip
        written.append(overlay)
    return written


def told_mpp(slide: Slide, *, config: StudyConfig) -> MicronsPerPixel | None:
    """µm per level-0 pixel as the table says, else the study: files of features do not."""
    if slide.table_mpp is not None or config.slide_mpp is None:
        return slide.table_mpp
    return MicronsPerPixel(config.slide_mpp)


def _heatmap(
    found: SlideFeatures, shown: Shown, *, side: float | None, mpp: MicronsPerPixel | None
) -> Figure:
    """The patches on white: there is no picture of the slide."""
    if found.coords is None:
        raise ValueError("a heat map needs coordinates")
    if side is None:
        # Neither file nor neighbours tell the side, so there is one patch: any side will do.
        side, mpp = 1.0, None
    first = found.coords.min(axis=0)
    width, height = found.coords.max(axis=0) - first + side
    scale = min(THUMBNAIL_PX / max(width, height), 1.0)
    blank = np.full((max(1, round(height * scale)), max(1, round(width * scale)), 3), 255, np.uint8)
    figure = map_figure(1)
    draw_heatmap(
        figure.subplots(),
        blank,
        xy=found.coords - first,
        # In the file's unit, as the corners are.
        size_level0=SlidePixels(side),  # type: ignore[arg-type]
        values=shown.values,
        scale=scale,
        mpp=mpp,
        limits=shown.limits,
        label=shown.label,
        colours=shown.colours,
        opacity=1.0,
    )
    return figure
