"""The course of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from axilla.analysis.plots.look import OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_LOOKS = {"training": (OKABE_ITO[0], "-"), "validation": (OKABE_ITO[1], "--")}


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """The epochs of one training; NaN where an epoch has no such figure."""

    epochs: NDArray[np.int64]
    """[epochs], counted from 1."""
    train_loss: NDArray[np.float64]
    val_loss: NDArray[np.float64]
    val_auc: NDArray[np.float64]
    kept: int | None
    """The epoch whose weights were kept; None where it is not known."""


def draw_training(losses: Axes, areas: Axes, runs: Sequence[TrainingRun]) -> None:
    """Draw the course of trainings: the losses on one axes, the area in validation on the other.

    Parameters
    ----------
    losses, areas
        Where to draw.
    runs
        One line each (folds, members of an ensemble); a dot marks the epoch that was kept.
    """
    width, alpha = (1.6, 1.0) if len(runs) == 1 else (0.7, 0.6)
    labelled: set[str] = set()
    for run in runs:
        for ax, name, values in (
            (losses, "training", run.train_loss),
            (losses, "validation", run.val_loss),
            (areas, "", run.val_auc),
        ):
            if np.isnan(values).all():
                continue
            colour, dash = _LOOKS[name or "validation"]
            label = "" if not name or name in labelled else name
            labelled.add(name)
            ax.plot(
                run.epochs, values, dash, color=colour, label=label, linewidth=width, alpha=alpha
            )
            here = run.epochs == run.kept
            if name != "training" and here.any():
                ax.plot(
                    run.epochs[here], values[here], "o", color=colour, markersize=4,
                    markeredgecolor="white", markeredgewidth=0.6,
                    label="epoch kept" if ax is losses and "kept" not in labelled else "",
                )  # fmt: skip
                labelled |= {"kept"} if ax is losses else set()
    for ax, title in ((losses, "Loss"), (areas, "AUC in validation")):
        ax.set(xlabel="Epoch", ylabel=title)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(ax)
    areas.set_ylim(0, 1.02)
    losses.set_ylim(bottom=0)
    if labelled - {""}:
        losses.legend(fontsize="small", frameon=True, framealpha=0.9)
