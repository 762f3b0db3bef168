"""ROC curves, confusion matrices, and scores by class."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from axilla.analysis.plots.look import DASHES, GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from axilla.analysis.roc import RocCurve
    from axilla.core.types import Estimate

_NO_AREAS: Mapping[str, Estimate] = {}


def draw_roc(
    ax: Axes, curves: Mapping[str, RocCurve], *, areas: Mapping[str, Estimate] = _NO_AREAS
) -> None:
    """Draw ROC curves in a square with the line of chance; the legend gives each area.

    Parameters
    ----------
    ax
        Where to draw.
    curves
        By the name that the legend prints.
    areas
        Areas by the same names; printed as `0.816 [0.758, 0.865]`, without bounds if they are NaN.
    """
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
    looks = zip(cycle(OKABE_ITO), cycle(DASHES), strict=False)
    # Lines differ in dash as well as in colour: they must survive a black-and-white printer.
    for (name, curve), (colour, dash) in zip(curves.items(), looks, strict=False):
        label = f"{name}: {_area_text(areas[name])}" if name in areas else name
        ax.plot(curve.fpr, curve.tpr, color=colour, linestyle=dash, linewidth=1.8, label=label)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="1 − specificity", ylabel="Sensitivity")
    ticks = np.linspace(0, 1, 6)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    tidy(ax)
    if curves:
        ax.legend(loc="lower right", fontsize="small", frameon=True, framealpha=0.9)


def draw_confusion(ax: Axes, matrix: ArrayLike, *, classes: Sequence[str]) -> None:
    """Draw a confusion matrix: counts, with the percent of the true class, shaded by that.

    Parameters
    ----------
    ax
        Where to draw.
    matrix
        Whole numbers [classes, classes]; rows are the true class, columns the called one.
    classes
        Names in order.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count}\n{100 * shares[row, column]:.1f}%" if totals[row, 0] else f"{count}"
        colour = "white" if shares[row, column] > 0.55 else "black"
        ax.text(column, row, text, ha="center", va="center", color=colour)
    ax.set_xticks(range(len(classes)), labels=list(classes))
    ax.set_yticks(range(len(classes)), labels=list(classes), rotation=90, va="center")
    ax.set(xlabel="Predicted", ylabel="True")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def draw_score_boxes(
    ax: Axes,
    scores: Mapping[str, NDArray[np.float64]],
    *,
    threshold: float | None = None,
    ylabel: str = "Predicted probability",
) -> None:
    """Draw a box a group over its single patients.

    Parameters
    ----------
    ax
        Where to draw.
    scores
        Values [n] by the group's name; boxes are quartiles, whiskers the 5th and 95th percentile.
    threshold
        Marked by a dashed line.
    ylabel
        What the values are.
    """
    for index, (values, colour) in enumerate(zip(scores.values(), cycle(OKABE_ITO), strict=False)):
        # Spread sideways by the golden ratio: even, and the same each time.
        offsets = (np.arange(len(values)) * 0.6180339887 % 1 - 0.5) * 0.45
        ax.scatter(index + offsets, values, s=8, color=colour, alpha=0.45, linewidths=0, zorder=2)
    filled = {index: values for index, values in enumerate(scores.values()) if len(values)}
    if filled:
        ax.boxplot(
            list(filled.values()),
            positions=list(filled),
            widths=0.55,
            whis=(5, 95),
            showfliers=False,
            medianprops={"color": "black", "linewidth": 1.8},
            zorder=3,
        )
    if threshold is not None:
        ax.axhline(threshold, color=GREY, linewidth=1, linestyle="--", zorder=1)
        ax.annotate(
            # Outside, where no box and no patient can be under it.
            f"threshold\n{threshold:.2f}",
            (1.01, threshold),
            xycoords=("axes fraction", "data"),
            ha="left",
            va="center",
            fontsize="small",
            color=GREY,
        )
    names = [f"{name}\n(n = {len(values)})" for name, values in scores.items()]
    ax.set_xticks(range(len(names)), labels=names)
    ax.set(xlim=(-0.6, len(names) - 0.4), ylabel=ylabel)
    tidy(ax)


def _area_text(area: Estimate) -> str:
    if np.isnan(area.value):
        return "AUC undefined"
    bounds = "" if np.isnan(area.low) else f" [{area.low:.3f}, {area.high:.3f}]"
    return f"{area.value:.3f}{bounds}"
