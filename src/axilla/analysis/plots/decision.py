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
    from axilla.core.types import Estimate


def draw_net_benefit(
    ax: Axes,
    curves: Mapping[str, DecisionCurve],
    *,
    bands: bool = True,
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
        Shade each 95% interval.
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
        if bands:
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
        Thresholds, 0 to 1, that get a dot with its 95% intervals both ways; those that a curve
        has no point at are left out.
    """
    looks = zip(cycle(OKABE_ITO), cycle(DASHES), strict=False)
    offsets = cycle(((6, -11), (-8, 8)))
    for (name, curve), (colour, dash), offset in zip(curves.items(), looks, offsets, strict=False):
        missed = _values([point.spared.missed_per_100 for point in curve.points])
        avoided = _values([point.spared.avoided_per_100 for point in curve.points])
        ax.plot(missed, avoided, color=colour, linestyle=dash, linewidth=1.8, label=name)
        for point in curve.points:
            if not any(abs(point.threshold - threshold) < 1e-9 for threshold in marked):
                continue
            x, y = point.spared.missed_per_100, point.spared.avoided_per_100
            ax.errorbar(
                x.value,
                y.value,
                xerr=[[x.value - x.low], [x.high - x.value]],
                yerr=[[y.value - y.low], [y.high - y.value]],
                fmt="o",
                color=colour,
                markersize=4.5,
                elinewidth=0.8,
                alpha=0.85,
            )
            ax.annotate(
                f"{100 * point.threshold:g}%",
                (x.value, y.value),
                xytext=offset,
                textcoords="offset points",
                ha="left" if offset[0] > 0 else "right",
                fontsize="small",
                color=colour,
            )
    prevalence = _chance(next(iter(curves.values())))
    reach = max(ax.get_xlim()[1], 1)
    # Spared by lot, the missed among them are as many as among all.
    ax.plot(
        [0, 100 * prevalence], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (1, 3)),
        label="spared by lot", zorder=1,
    )  # fmt: skip
    ax.set_xlim(-0.02 * reach, reach)
    ax.set_ylim(bottom=0, top=min(100, ax.get_ylim()[1]))
    ax.set(xlabel="Positives missed per 100 patients", ylabel="Biopsies avoided per 100 patients")
    tidy(ax)
    ax.legend(loc="lower right", fontsize="small", frameon=True, framealpha=0.9)


def _chance(curve: DecisionCurve) -> float:
    return curve.positives / curve.n


def _values(figures: Sequence[Estimate]) -> NDArray[np.float64]:
    return np.array([figure.value for figure in figures])


def _bounds(figures: Sequence[Estimate]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([f.low for f in figures]), np.array([f.high for f in figures])
