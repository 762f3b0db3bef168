"""Precision against recall."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from axilla.analysis.plots.look import DASHES, GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from axilla.analysis.precision_recall import PrecisionRecall
    from axilla.core.types import Estimate


def draw_precision_recall(ax: Axes, curves: Mapping[str, PrecisionRecall]) -> None:
    """Draw the curves in a square; the legend gives each average precision and the baseline.

    Parameters
    ----------
    ax
        Where to draw.
    curves
        By the name that the legend prints; each share of positives is a dotted line.
    """
    looks = zip(cycle(OKABE_ITO), cycle(DASHES), strict=False)
    for (name, curve), (colour, dash) in zip(curves.items(), looks, strict=False):
        # Steps, as the average precision adds them up: a straight line between would promise more.
        ax.step(
            curve.recall, curve.precision, where="post", color=colour, linestyle=dash,
            linewidth=1.8, label=f"{name}: {_figure_text(curve.average)}",
        )  # fmt: skip
    for share in dict.fromkeys(curve.prevalence.value for curve in curves.values()):
        ax.axhline(
            share, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1,
            label=f"chance: {share:.3f}",
        )  # fmt: skip
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="Recall (sensitivity)", ylabel="Precision (PPV)")
    ticks = np.linspace(0, 1, 6)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    tidy(ax)
    if curves:
        ax.legend(
            loc="lower left", fontsize="small", title_fontsize="small", frameon=True,
            framealpha=0.9, title="Average precision [95% CI]",
        )  # fmt: skip


def _figure_text(figure: Estimate) -> str:
    bounds = "" if np.isnan(figure.low) else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.3f}{bounds}"
