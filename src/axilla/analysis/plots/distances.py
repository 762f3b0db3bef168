"""How far patients lie from a training cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from axilla.analysis.plots.look import DASHES, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

BINS = 24


def distance_bins(distances: ArrayLike, quantiles: Mapping[str, float]) -> NDArray[np.float64]:
    """Edges of the histogram's bins, from 0 to beyond the largest distance and every quantile."""
    values = np.asarray(distances, dtype=np.float64)
    reach = max([float(values.max()), *quantiles.values()])
    return np.linspace(0.0, 1.02 * reach, BINS + 1)


def draw_distances(ax: Axes, distances: ArrayLike, quantiles: Mapping[str, float]) -> None:
    """Draw the distances as a histogram, and where the training cohort's quantiles lie.

    Parameters
    ----------
    ax
        Where to draw.
    distances
        [n], 0 or more.
    quantiles
        Distances of the training cohort by the share of its patients that lies below.
    """
    ax.hist(
        np.asarray(distances, dtype=np.float64), bins=distance_bins(distances, quantiles).tolist(),
        color=(OKABE_ITO[0], 0.45), edgecolor=OKABE_ITO[0], linewidth=0.8, label="patients here",
    )  # fmt: skip
    for (share, value), dash in zip(quantiles.items(), DASHES[1:], strict=False):
        ax.axvline(
            value, color=OKABE_ITO[1], linestyle=dash, linewidth=1.2,
            label=f"{100 * float(share):g}% would lie below",
        )  # fmt: skip
    ax.set(xlabel="Distance from the training cohort", ylabel="Patients")
    ax.set_xlim(left=0)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(ax)
    ax.legend(fontsize="small", frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
