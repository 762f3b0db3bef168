"""Figure of one patient's features: where they lie among others, and what the model made of them.

Each feature has its own unit, and so each row its own scale: from the lowest 10th to the highest
90th percentile of the groups of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from axilla.analysis.plots.look import GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from axilla.analysis.reference_ranges import ReferenceRange

_BEYOND = 0.3
"""Farther than so much of a feature's scale beyond its ends, a value is an arrow at the edge."""
_BAR = 0.26
_POSITIVE, _NEGATIVE = "#8c510a", "#01665e"
"""Brown above zero and teal below, as the heat maps of contributions (BrBG)."""


@dataclass(frozen=True, slots=True)
class PatientFeature:
    """One feature of one patient."""

    title: str
    value: float
    """NaN where the patient has none."""
    ranges: tuple[ReferenceRange, ...]
    """Of the reference; the same groups for all features, or none."""
    attention: float
    """1 where it weighs as if all features weighed the same."""
    contribution: float | None
    """To the log-odds of the positive class; None where it cannot be told."""


def draw_patient_features(
    figure: Figure, features: Sequence[PatientFeature], *, positive: str
) -> None:
    """Draw a row a feature: value among the reference, attention, and contribution where told.

    Parameters
    ----------
    figure
        Empty.
    features
        In the order in which they are listed, from the top.
    positive
        Name of the class whose log-odds the contributions are of.
    """
    told = any(feature.contribution is not None for feature in features)
    widths = [2.1, 1, 1] if told else [2.1, 1]
    panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    _draw_values(panels[0], features)
    rows = range(len(features))
    attention = [feature.attention for feature in features]
    panels[1].barh(rows, attention, height=0.5, color=OKABE_ITO[0])
    panels[1].axvline(1, color=GREY, linewidth=1, linestyle="--")
    panels[1].set(xlabel="Attention: no evidence\n1 = as if all weighed the same")
    if told:
        given = [np.nan if f.contribution is None else f.contribution for f in features]
        colours = [_POSITIVE if value > 0 else _NEGATIVE for value in given]
        panels[2].barh(rows, given, height=0.5, color=colours)
        panels[2].axvline(0, color=GREY, linewidth=1)
        panels[2].set(xlabel=f"Contribution to the\nlog-odds of {positive}")
    for panel in panels:
        tidy(panel)
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)


def _draw_values(ax: Axes, features: Sequence[PatientFeature]) -> None:
    ax.set_yticks(range(len(features)), labels=[feature.title for feature in features])
    ax.set_ylim(len(features) - 0.4, -0.6)
    groups = next((feature.ranges for feature in features if feature.ranges), ())
    if not groups:
        ax.text(
            0.5, 0.5, "Too few training patients\nto be told", transform=ax.transAxes,
            ha="center", va="center", color=GREY,
        )  # fmt: skip
        ax.set(xticks=[])
        return
    named = False
    for place, feature in enumerate(features):
        low = min(own.wide[0] for own in feature.ranges)
        span = max(own.wide[1] for own in feature.ranges) - low
        if span == 0:
            continue  # all alike: there is no distance to draw
        offsets = (np.arange(len(feature.ranges)) - (len(feature.ranges) - 1) / 2) * (_BAR + 0.06)
        for index, (own, offset) in enumerate(zip(feature.ranges, offsets, strict=True)):
            ends = [(end - low) / span for end in (*own.wide, *own.middle, own.median)]
            label = None if named else own.group
            colour, y = OKABE_ITO[index], place + offset
            ax.plot(ends[:2], [y, y], color=colour, linewidth=1, solid_capstyle="butt")
            ax.barh(
                y, ends[3] - ends[2], left=ends[2], height=_BAR, color=colour, alpha=0.55,
                label=label,
            )  # fmt: skip
            ax.plot([ends[4]] * 2, [y - _BAR / 2, y + _BAR / 2], color="black", linewidth=1)
        where = (feature.value - low) / span
        marker = "<" if where < -_BEYOND else ">" if where > 1 + _BEYOND else "D"
        ax.plot(
            np.clip(where, -_BEYOND, 1 + _BEYOND), place, marker=marker, color="black",
            markersize=5.5, markeredgecolor="white", linestyle="", zorder=5,
            label=None if named else "This patient",
        )  # fmt: skip
        named = True
    ax.set(
        xlim=(-_BEYOND - 0.05, 1.05 + _BEYOND), xticks=[0, 1], xticklabels=["low", "high"],
        xlabel="Each on its own scale: lowest 10th to highest\n"
        "90th percentile of the training patients",
    )  # fmt: skip
    if named:
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, borderaxespad=0.1,
            handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
