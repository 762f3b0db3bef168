"""The course of a training."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from axilla.analysis.plots.look import GREY, OKABE_ITO, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes


def draw_training(
    ax: Axes, history: Mapping[str, Sequence[float]], *, best_epoch: int | None = None
) -> None:
    """Draw a training's course: losses on the left axis, shares such as the AUC on the right.

    Parameters
    ----------
    ax
        Where to draw; a twin is laid over it where the history has shares.
    history
        One value an epoch by name; a name that ends in `loss` is a loss, `epoch` holds the epochs'
        numbers (else 1, 2, ...), and every other is a share between 0 and 1.
    best_epoch
        The epoch whose weights were kept, marked by a line.
    """
    series = {name: values for name, values in history.items() if name != "epoch"}
    losses = {name: values for name, values in series.items() if name.endswith("loss")}
    shares = {name: values for name, values in series.items() if name not in losses}
    right = ax.twinx() if shares and losses else ax
    lines = []
    colours = cycle(OKABE_ITO)
    for panel, group, dash in ((ax, losses, "-"), (right, shares, "--")):
        for name, values in group.items():
            epochs = history.get("epoch", range(1, len(values) + 1))
            title = name.replace("_", " ").replace("auc", "AUC")
            lines += panel.plot(
                epochs, values, dash, color=next(colours), linewidth=1.6, label=title
            )
    ax.set(xlabel="Epoch", ylabel="Loss" if losses else "Share")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(ax)
    if shares:
        right.set(ylim=(0, 1.02))
    if right is not ax:
        right.set_ylabel("AUC, accuracy")
        right.spines[["top", "left"]].set_visible(False)
    if best_epoch is not None:
        mark = ax.axvline(best_epoch, color=GREY, linewidth=1, linestyle=":")
        mark.set_label(f"kept: epoch {best_epoch}")
        lines.append(mark)
    if lines:
        ax.legend(
            handles=lines,
            fontsize="small",
            frameon=False,
            ncols=len(lines) if len(lines) < 4 else 2,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
        )
