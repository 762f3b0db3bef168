"""Figures of three classes or more: calibration class by class, and the decision on any nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from axilla.analysis.class_use import any_nodes
from axilla.analysis.plots.calibration import draw_calibration
from axilla.analysis.plots.look import PAGE_IN
from axilla.analysis.reliability import reliability_curve
from axilla.study.evaluation_figures import Drawn
from axilla.study.figure_numbers import reliability_numbers

COLUMNS = 3
"""Classes that stand side by side on a page's width."""
_OTHERS, _OWN = "patients of other classes", "patients of the class"
_TITLE_CHARACTERS = 30


def class_reliability_drawn(
    method: str, labels: pd.Series[int], scores: pd.DataFrame, *, title: str
) -> Drawn | None:
    """Observed against predicted shares, a panel a class; None where no class can be shown.

    Parameters
    ----------
    method
        As in the file's name.
    labels
        The class's number of each patient.
    scores
        Probabilities, a column a class under its name.
    title
        Over the panels.
    """
    present = {name: labels == index for index, name in enumerate(scores.columns)}
    present = {name: own for name, own in present.items() if own.any() and not own.all()}
    if not present:
        return None
    columns = min(COLUMNS, len(present))
    rows = math.ceil(len(present) / columns)
    figure = Figure(figsize=(PAGE_IN, rows * 0.46 * PAGE_IN + 0.2))
    # The strips hang beneath their panels, where the layout does not look.
    figure.set_layout_engine("constrained", h_pad=0.04 if rows == 1 else 0.13)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    handles: dict[str, Artist] = {}
    numbers = []
    for axes, (name, own) in zip(panels, present.items(), strict=False):
        values = scores[name].to_numpy()
        curve = reliability_curve(own.to_numpy(), values)
        predictions = {_OTHERS: values[~own.to_numpy()], _OWN: values[own.to_numpy()]}
        for handle in draw_calibration(axes, curve, predictions=predictions, legend=False):
            # A class that is too rare for a smooth curve lacks its line, not the others.
            handles.setdefault(str(handle.get_label()).partition(" (n")[0], handle)
        counted = f"{name}: {int(own.sum())} of {len(own)} patients"
        axes.set_title(fill(counted, _TITLE_CHARACTERS), fontsize="small")
        numbers.append(reliability_numbers(curve).assign(**{"class": name}))
    for axes in panels[len(present) :]:
        axes.set_axis_off()
    figure.legend(
        handles=list(handles.values()), labels=list(handles), loc="outside upper center",
        ncols=3, fontsize="small", frameon=False, title=title, title_fontsize="large",
    )  # fmt: skip
    table = pd.concat(numbers, ignore_index=True)
    return Drawn(f"calibration_{method}", figure, table[["class", *table.columns.drop("class")]])


def decided_scores(
    pooled: Mapping[str, tuple[pd.Series[int], pd.DataFrame]],
    metrics: Mapping[str, Any],
    *,
    cohort: str,
) -> dict[str, pd.DataFrame]:
    """Label and score of any nodes by method, as of two classes; of those with a decision curve."""
    found = {}
    for method, (labels, scores) in pooled.items():
        if "points" in metrics["methods"][method][cohort].get("decision_curve", {}):
            positive, risks = any_nodes(np.asarray(labels, np.int64), scores.to_numpy())
            if len(set(positive.tolist())) == 2:
                found[method] = pd.DataFrame({"label": positive, "score": risks})
    return found


def undecided(metrics: Mapping[str, Any], cohort: str) -> Iterator[str]:
    """Why methods have no decision curve in a cohort, each reason once."""
    reasons = (
        by[cohort].get("decision_curve", {}).get("reason")
        for by in metrics["methods"].values()
        if cohort in by
    )
    yield from dict.fromkeys(reason for reason in reasons if reason)
