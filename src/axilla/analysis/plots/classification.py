"""ROC curves, confusion matrices, and scores by class."""

from __future__ import annotations

from itertools import cycle
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.transforms import ScaledTranslation

from axilla.analysis.plots.look import DASHES, GREY, OKABE_ITO, tidy
from axilla.analysis.tables.printed import format_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from axilla.analysis.roc import RocCurve
    from axilla.core.types import Estimate

_NO_AREAS: Mapping[str, Estimate] = {}


MOST_INSIDE = 4
"""Curves whose legend has room under them; that of more stands below the axes."""
_LEGEND_CHARACTERS = 40
_NAME_CHARACTERS = 18
_LABEL_LINES = 3.8
"""Height of an axis with its ticks, numbers and label, in sizes of the label's letters."""


def draw_roc(
    ax: Axes,
    curves: Mapping[str, RocCurve],
    *,
    areas: Mapping[str, Estimate] = _NO_AREAS,
    below: bool | None = None,
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
    below
        Whether the legend stands below the axes; None puts it there from five curves on.
    """
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
    looks = zip(cycle(OKABE_ITO), cycle(DASHES), strict=False)
    # Lines differ in dash as well as in colour: they must survive a black-and-white printer.
    for (name, curve), (colour, dash) in zip(curves.items(), looks, strict=False):
        label = legend_text(name, areas.get(name))
        ax.plot(curve.fpr, curve.tpr, color=colour, linestyle=dash, linewidth=1.4, label=label)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="1 − specificity", ylabel="Sensitivity")
    ticks = np.linspace(0, 1, 6)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    tidy(ax)
    if not curves:
        return
    if below if below is not None else len(curves) > MOST_INSIDE:
        # Points, not shares of the axes: the labels above it are as high in small axes.
        figure = ax.get_figure(root=True)
        assert figure is not None  # noqa: S101 - axes that are drawn on are in a figure
        height_pt = _LABEL_LINES * float(ax.xaxis.label.get_fontsize())
        lower = ScaledTranslation(0, -height_pt / 72, figure.dpi_scale_trans)
        place: dict[str, Any] = {
            "loc": "upper center", "bbox_to_anchor": (0.5, 0),
            "bbox_transform": ax.transAxes + lower,
        }  # fmt: skip
    else:
        place = {"loc": "lower right", "framealpha": 0.9, "borderaxespad": 0.3}
    ax.legend(
        **place,
        frameon=place["loc"] == "lower right",
        fontsize="small",
        title="AUC [95% CI]" if areas else None,
        title_fontsize="small",
        # A dash needs this length to be told from another.
        handlelength=3,
    )


def legend_text(name: str, area: Estimate | None = None) -> str:
    """What the legend says of a curve, in lines that a third of a page's width holds."""
    said = name if area is None else f"{name}: {_area_text(area)}"
    return fill(said, _LEGEND_CHARACTERS)


def draw_confusion(ax: Axes, matrix: ArrayLike, *, classes: Sequence[str]) -> None:
    """Draw a confusion matrix: counts, with the percent of the true class, shaded by that.

    The classes' names carry how many are of the class, and how many were called so.

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
    called = _counted(classes, counts.sum(axis=0))
    ax.set_xticks(range(len(classes)), labels=called)
    true = _counted(classes, counts.sum(axis=1))
    ax.set_yticks(range(len(classes)), labels=true, rotation=90, va="center", ma="center")
    ax.set(xlabel="Predicted", ylabel="True")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def draw_score_boxes(
    ax: Axes,
    scores: Mapping[str, NDArray[np.float64]],
    *,
    threshold: float | None = None,
    p: float | None = None,
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
    p
        Of the test between the groups, Mann-Whitney of two and Kruskal-Wallis of more (see
        `rank_test`); printed above the boxes, as a dash where it is NaN.
    ylabel
        What the values are.
    """
    for index, (values, colour) in enumerate(zip(scores.values(), cycle(OKABE_ITO), strict=False)):
        # Spread sideways by the golden ratio: even, and the same each time.
        offsets = (np.arange(len(values)) * 0.6180339887 % 1 - 0.5) * 0.45
        ax.scatter(index + offsets, values, s=6, color=colour, alpha=0.45, linewidths=0, zorder=2)
    filled = {index: values for index, values in enumerate(scores.values()) if len(values)}
    if filled:
        ax.boxplot(
            list(filled.values()),
            positions=list(filled),
            widths=0.55,
            whis=(5, 95),
            showfliers=False,
            medianprops={"color": "black", "linewidth": 1.4},
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
    if p is not None:
        test = "Mann–Whitney" if len(scores) == 2 else "Kruskal–Wallis"
        ax.set_title(f"{test} {_p_text(p)}")
    names = _counted(list(scores), [len(values) for values in scores.values()])
    ax.set_xticks(range(len(names)), labels=names)
    ax.set(xlim=(-0.6, len(names) - 0.4), ylabel=ylabel)
    tidy(ax)


def _counted(names: Sequence[str], counts: ArrayLike) -> list[str]:
    shown = [fill(name, _NAME_CHARACTERS) for name in names]
    return [f"{name}\n(n = {n})" for name, n in zip(shown, np.asarray(counts), strict=True)]


def _p_text(p: float) -> str:
    shown = format_p(p)
    return f"p {shown[0]} {shown[1:]}" if shown.startswith("<") else f"p = {shown}"


def _area_text(area: Estimate) -> str:
    if np.isnan(area.value):
        return "AUC undefined"
    bounds = "" if np.isnan(area.low) else f" [{area.low:.3f}, {area.high:.3f}]"
    return f"{area.value:.3f}{bounds}"
