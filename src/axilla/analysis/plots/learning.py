"""Learning curves."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from axilla.analysis.plots.look import DASHES, GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from axilla.analysis.learning_curve import LearningCurve


_BEYOND = "extrapolated, 95% interval"


def draw_learning_curves(ax: Axes, curves: Mapping[str, LearningCurve]) -> None:
    """Draw mean and standard deviation over the training patients, and each law with its end.

    The law is a line as far as there are patients and dotted beyond; its extrapolation stands at
    the end of the dots, with its interval.

    Parameters
    ----------
    ax
        Where to draw.
    curves
        By the name that the legend prints.
    """
    looks = zip(cycle(OKABE_ITO), cycle(DASHES), strict=False)
    for (name, curve), (colour, dash) in zip(curves.items(), looks, strict=False):
        sizes = [point.n for point in curve.points]
        spread = [point.sd for point in curve.points]  # of a single training NaN, and no bar
        means = [point.mean for point in curve.points]
        joined = dash if curve.law is None else "none"
        ax.errorbar(
            sizes, means, yerr=spread, color=colour, linestyle=joined, marker="o", markersize=4,
            capsize=3, linewidth=1.6, label=name,
        )  # fmt: skip
        if curve.law is None:
            continue
        law = curve.law
        seen = np.linspace(sizes[0], sizes[-1], 100)
        beyond = np.linspace(sizes[-1], law.n, 50)
        ax.plot(seen, law.at(seen), color=colour, linestyle=dash, linewidth=1.6)
        ax.plot(beyond, law.at(beyond), color=colour, linestyle=":", linewidth=1.2)
        told = law.extrapolated
        ax.vlines(law.n, told.low, told.high, color=colour, linewidth=1.2)
        ax.plot(law.n, told.value, marker="o", markersize=4, color=colour, markerfacecolor="white")
    if any(curve.law is not None for curve in curves.values()):
        ax.plot(
            [], [], color=GREY, linestyle=":", linewidth=1.2, marker="o", markersize=4,
            markerfacecolor="white", label=_BEYOND,
        )  # fmt: skip
    ax.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.set(xlabel="Training patients", ylabel="AUC, validation cohort (mean ± SD)")
    ax.set_xlim(left=0)
    tidy(ax)
    if curves:
        # matplotlib puts lines before bars.
        found = sorted(
            zip(*ax.get_legend_handles_labels(), strict=True), key=lambda entry: entry[1] == _BEYOND
        )
        handles, labels = zip(*found, strict=True)
        ax.legend(
            handles,
            labels,
            fontsize="small",
            frameon=False,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
        )
