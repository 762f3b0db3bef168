"""Explain a study of features made elsewhere: attention over the coordinates, without the slide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from axilla.analysis.heatmaps import draw_heatmap
from axilla.core import store
from axilla.core.progress import Reporter
from axilla.core.types import Partition, Patient, Slide, SlidePixels
from axilla.features.imported import SlideFeatures, patch_side
from axilla.mil.bundle import Bundle
from axilla.study.explaining import THUMBNAIL_PX, explained_method, figure_png
from axilla.study.fitting import Fitting
from axilla.study.imported import read_features_of
from axilla.study.layout import Layout
from axilla.study.scoring import load_bundle, slide_attention


def explain_imported(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], *, reporter: Reporter
) -> list[Path]:
    """Table of attention of each test slide, and a heat map where the file has coordinates."""
    method = explained_method(fitting.config.methods)
    if method is None or fitting.imported is None:
        reporter.done("explain", "not needed: no method looks at slides")
        return []
    layout = Layout(fitting.config.out)
    shown: list[tuple[Partition, Patient, Slide]] = [
        (partition, patient, slide)
        for partition in fitting.partitions
        if partition.repeat == 0
        for patient in fitting.patients(partition, "test")
        for slide in patient.slides
    ]
    written: list[Path] = []
    bundles: dict[str, Bundle] = {}
    bare = 0
    for partition, patient, slide in reporter.track(shown, "Drawing attention"):
        has_coords = fitting.imported.facts[slide.slide_id].coords
        bare += not has_coords
        files = [layout.attention(slide.slide_id)]
        if has_coords:
            files.append(layout.heatmap(slide.slide_id))
        else:
            layout.heatmap(slide.slide_id).unlink(missing_ok=True)  # of a file that had some before
        written += files
        step = f"explain/{slide.slide_id}"
        key = store.digest(
            "explain", keys[method, partition.name], fitting.slide_keys[slide.slide_id]
        )
        if store.step_is_done(layout.out, step, key=key):
            continue
        if partition.name not in bundles:
            bundles = {partition.name: load_bundle(fitting, method, partition)}
        _explain_slide(fitting, bundles[partition.name], patient, slide)
        store.write_step(layout.out, step, key=key, files=files)
    reporter.done(
        "explain",
        f"{len(shown)} test slides"
        + (f"; no heat map of {bare}, whose files hold no coordinates" if bare else ""),
    )
    return written


def _explain_slide(fitting: Fitting, bundle: Bundle, patient: Patient, slide: Slide) -> None:
    if bundle.network is None or fitting.slides is None:
        raise ValueError("attention needs a network and features")
    config = fitting.config
    attention = slide_attention(fitting, bundle, patient, slide.slide_id)
    layout = Layout(config.out)
    found = read_features_of(slide, config=config)
    table = pd.DataFrame({"attention": attention})
    if found.coords is not None:
        unit = {"px": "", "µm": "_um"}[found.unit]
        table.insert(0, f"y{unit}", found.coords[:, 1])
        table.insert(0, f"x{unit}", found.coords[:, 0])
        heatmap = figure_png(_heatmap(found, attention), dpi=110)
        store.write_bytes(layout.heatmap(slide.slide_id), heatmap)
    store.write_text(layout.attention(slide.slide_id), table.to_csv(index=False))


def _heatmap(found: SlideFeatures, attention: NDArray[np.float64]) -> Figure:
    """The patches on white: there is no picture of the slide."""
    if found.coords is None:
        raise ValueError("a heat map needs coordinates")
    # Where neither file nor neighbours tell the side of a patch there is one patch: any will do.
    side = patch_side(found) or 1.0
    first = found.coords.min(axis=0)
    width, height = found.coords.max(axis=0) - first + side
    scale = min(THUMBNAIL_PX / max(width, height), 1.0)
    blank = np.full((max(1, round(height * scale)), max(1, round(width * scale)), 3), 255, np.uint8)
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    draw_heatmap(
        figure.subplots(),
        blank,
        xy=found.coords - first,
        # In the file's unit, as the corners are.
        size_level0=SlidePixels(side),  # type: ignore[arg-type]
        values=attention,
        scale=scale,
        limits=(float(attention.min()), float(attention.max())),
        label="Attention (1 = as if all patches weighed the same)",
        opacity=1.0,
    )
    return figure
