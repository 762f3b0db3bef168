"""Reliability diagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from axilla.analysis.plots.look import GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from axilla.analysis.reliability import ReliabilityCurve

_NO_PREDICTIONS: Mapping[str, NDArray[np.float64]] = {}


def draw_calibration(
    ax: Axes,
    curve: ReliabilityCurve,
    *,
    predictions: Mapping[str, NDArray[np.float64]] = _NO_PREDICTIONS,
    label: str | None = None,
    legend: bool = True,
) -> list[Artist]:
    """Draw observed against predicted shares in a square with the diagonal of perfect calibration.

    Parameters
    ----------
    ax
        Where to draw; the histogram lies in a strip beneath it.
    curve
        From `reliability_curve`; groups become points with their intervals, the smooth curve a
        line with its band.
    predictions
        Predicted probabilities [n] by the class's name, negative before positive; the histogram
        counts the positive upwards and the negative downwards.
    label
        Printed in the corner, such as the intercept and the slope.
    legend
        Whether it stands above the square; False leaves it to whoever has several squares.

    Returns
    -------
    list of Artist
        The legend's entries.
    """
    blue, vermilion = OKABE_ITO[:2]
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), label="ideal")
    if curve.smooth is not None:
        smooth = curve.smooth
        ax.fill_between(
            smooth.predicted, smooth.low, smooth.high, color=blue, alpha=0.18, linewidth=0
        )
        ax.plot(
            smooth.predicted, smooth.observed, color=blue, linewidth=1.8, label="smooth, 95% band"
        )
    predicted = [group.predicted for group in curve.groups]
    shares = np.array([group.observed.value for group in curve.groups])
    bounds = np.array([(group.observed.low, group.observed.high) for group in curve.groups])
    ax.errorbar(
        predicted,
        shares,
        # A bound of rounding error on the wrong side of its share would be refused.
        yerr=np.maximum(np.abs(bounds.T - shares), 0.0),
        fmt="o",
        markersize=4.5,
        color=vermilion,
        elinewidth=1,
        capsize=2,
        label="groups, 95% interval",
    )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="Predicted probability", ylabel="Observed share")
    ticks = np.linspace(0, 1, 6)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    tidy(ax)
    if label is not None:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2}
        ax.text(0.98, 0.03, label, ha="right", va="bottom", fontsize="small", bbox=box)
    handles = list(ax.get_legend_handles_labels()[0])
    if predictions:
        handles += _draw_histogram(ax, predictions)
    if legend:
        # Above, where no interval can be under it.
        ax.legend(
            handles=handles,
            fontsize="small",
            frameon=False,
            ncols=2,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
        )
    return handles


def _draw_histogram(ax: Axes, predictions: Mapping[str, NDArray[np.float64]]) -> list[Artist]:
    strip = ax.inset_axes((0, -0.3, 1, 0.26), sharex=ax)
    # Hatched as well as coloured: the classes must survive a black-and-white printer.
    looks = zip((-1, 1), OKABE_ITO[2:4], ("", "////"), strict=True)
    for (name, values), (sign, colour, hatch) in zip(predictions.items(), looks, strict=True):
        strip.hist(
            values,
            bins=np.linspace(0, 1, 21).tolist(),
            weights=np.full(len(values), sign),
            histtype="stepfilled",
            facecolor=(colour, 0.35),
            edgecolor=colour,
            linewidth=1,
            hatch=hatch,
            label=f"{name} (n = {len(values)})",
        )
    strip.axhline(0, color=GREY, linewidth=0.8)
    strip.set(xlabel=ax.get_xlabel(), ylabel="Patients")
    strip.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    strip.yaxis.set_major_formatter(lambda count, _: f"{abs(count):.0f}")
    ax.set_xlabel("")
    ax.tick_params(labelbottom=False)
    tidy(strip)
    return list(strip.get_legend_handles_labels()[0])
