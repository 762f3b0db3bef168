"""Decision curves, and what sparing the biopsy gives against what it costs."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from axilla.analysis.plots.look import DASHES, GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from axilla.analysis.decision import DecisionCurve
    from axilla.analysis.spared import Spared
    from axilla.core.types import Estimate

_MARKS = ("o", "s", "^", "D", "v")
"""A shape a threshold, the same for every model; a figure in the plot would lie on another's."""


def draw_net_benefit(
    ax: Axes,
    curves: Mapping[str, DecisionCurve],
    *,
    bands: bool | None = None,
    treat_all: str = "biopsy for all",
    treat_none: str = "biopsy for none",
) -> None:
    """Draw net benefit by threshold with the two strategies that need no model.

    Parameters
    ----------
    ax
        Where to draw.
    curves
        By the name that the legend prints, all of the same patients; biopsy for all is drawn from
        the first.
    bands
        Shade the 95% intervals; None does it for a single curve, where no other lies under them.
    treat_all, treat_none
        Names of the two strategies.
    """
    first = next(iter(curves.values()))
    everybody = _values([point.treat_all for point in first.points])
    ax.plot(
        100 * first.thresholds, everybody, color="black", linewidth=1, dashes=(6, 2, 1, 2),
        label=treat_all,
    )  # fmt: skip
    ax.axhline(0, color=GREY, linewidth=1, label=treat_none)
    looks = zip(cycle(OKABE_ITO), cycle(DASHES), strict=False)
    top = [float(np.max(everybody))]
    for (name, curve), (colour, dash) in zip(curves.items(), looks, strict=False):
        figures = [point.net_benefit for point in curve.points]
        values, at = _values(figures), 100 * curve.thresholds
        ax.plot(at, values, color=colour, linestyle=dash, linewidth=1.8, label=name)
        top.append(float(np.max(values)))
        if bands or (bands is None and len(curves) == 1):
            low, high = _bounds(figures)
            ax.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)
            top.append(float(np.max(high)))
    # Biopsy for all falls without end: what is far below nothing gained is not looked at.
    height = max(*top, 0.01)
    ax.set_ylim(-0.15 * height, 1.05 * height)
    ax.set_xlim(0, 100 * float(first.thresholds[-1]))
    ax.set(xlabel="Threshold: risk of positive nodes (%)", ylabel="Net benefit")
    tidy(ax)
    ax.legend(loc="best", fontsize="small", frameon=True, framealpha=0.9)


def draw_avoided_against_missed(
    ax: Axes, curves: Mapping[str, DecisionCurve], *, marked: Sequence[float] = (0.1, 0.2, 0.3)
) -> None:
    """Draw biopsies avoided against positives missed, of 100 patients, a line a model.

    Parameters
    ----------
    ax
        Where to draw.
    curves
        By the name that the legend prints, all of the same patients.
    marked
        Thresholds, 0 to 1, each with its own mark and its 95% intervals both ways; one at which a
        curve has no point is left out of it.
    """
    looks = zip(cycle(OKABE_ITO), cycle(DASHES), strict=False)
    for (name, curve), (colour, dash) in zip(curves.items(), looks, strict=False):
        missed = _values([point.spared.missed_per_100 for point in curve.points])
        avoided = _values([point.spared.avoided_per_100 for point in curve.points])
        ax.plot(missed, avoided, color=colour, linestyle=dash, linewidth=1.8, label=name)
        for threshold, mark in zip(marked, cycle(_MARKS), strict=False):
            for point in curve.points:
                if abs(point.threshold - threshold) < 1e-9:
                    _mark(ax, point.spared, colour=colour, mark=mark)
    for threshold, mark in zip(marked, cycle(_MARKS), strict=False):
        label = f"threshold {100 * threshold:g}%"
        ax.plot([], [], marker=mark, color=GREY, linestyle="none", markersize=6, label=label)
    first = next(iter(curves.values()))
    reach = max(ax.get_xlim()[1], 1)
    # Spared at random, as many of them are positive as of all.
    ax.plot(
        [0, 100 * first.positives / first.n], [0, 100], color=GREY, linewidth=0.8,
        linestyle=(0, (1, 3)), label="spared at random", zorder=1,
    )  # fmt: skip
    ax.set_xlim(-0.02 * reach, reach)
    ax.set_ylim(-1, 100)
    ax.set(xlabel="Positives missed per 100 patients", ylabel="Biopsies avoided per 100 patients")
    tidy(ax)
    ax.legend(loc="best", fontsize="small", frameon=True, framealpha=0.9)


def _mark(ax: Axes, spared: Spared, *, colour: str, mark: str) -> None:
    x, y = spared.missed_per_100, spared.avoided_per_100
    ax.errorbar(
        x.value,
        y.value,
        xerr=[[x.value - x.low], [x.high - x.value]],
        yerr=[[y.value - y.low], [y.high - y.value]],
        fmt=mark,
        color=colour,
        markersize=7,
        markeredgecolor="white",
        elinewidth=0.7,
        zorder=3,
    )


def _values(figures: Sequence[Estimate]) -> NDArray[np.float64]:
    return np.array([figure.value for figure in figures])


def _bounds(figures: Sequence[Estimate]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([f.low for f in figures]), np.array([f.high for f in figures])
