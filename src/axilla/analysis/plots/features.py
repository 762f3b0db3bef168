"""Figures of nucleus features: their values by class, and what the attention weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from axilla.analysis.plots.classification import draw_score_boxes
from axilla.analysis.plots.look import GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_COLUMNS = 4


def draw_features(
    figure: Figure,
    values: Mapping[str, Mapping[str, NDArray[np.float64]]],
    *,
    p: Mapping[str, float],
    units: Mapping[str, str],
) -> None:
    """Draw a panel a feature: a box a class over its single patients (paper, figure 6c).

    Parameters
    ----------
    figure
        Empty.
    values
        By the feature's title, values [n] by class.
    p
        By title, of the test between the classes.
    units
        By title.
    """
    rows = -(-len(values) // _COLUMNS)
    panels = np.atleast_1d(figure.subplots(rows, _COLUMNS, squeeze=False)).ravel()
    for ax, (title, groups) in zip(panels, values.items(), strict=False):
        unit = units[title]
        draw_score_boxes(ax, groups, p=p[title], ylabel=f"{title} ({unit})" if unit else title)
    for ax in panels[len(values) :]:
        ax.set_axis_off()


def draw_weights(ax: Axes, weights: NDArray[np.float64], *, titles: Sequence[str]) -> None:
    """Draw how much the attention weighs each feature, a box over single patients.

    Parameters
    ----------
    ax
        Where to draw.
    weights
        [patients, features], 1 where a feature weighs as if all weighed the same.
    titles
        Of the features.
    """
    order = np.argsort(np.median(weights, axis=0), kind="stable")
    for place, index in enumerate(order):
        own = weights[:, index]
        offsets = (np.arange(len(own)) * 0.6180339887 % 1 - 0.5) * 0.45
        ax.scatter(own, place + offsets, s=6, color=OKABE_ITO[0], alpha=0.45, linewidths=0)
    ax.boxplot(
        [weights[:, index] for index in order], positions=range(len(order)),
        orientation="horizontal", widths=0.55, whis=(5, 95), showfliers=False,
        medianprops={"color": "black", "linewidth": 1.4},
    )  # fmt: skip
    ax.axvline(1, color=GREY, linewidth=1, linestyle="--", zorder=1)
    ax.set_yticks(range(len(order)), labels=[titles[index] for index in order])
    ax.set(xlabel="Attention (1 = as if all features weighed the same)")
    tidy(ax)
