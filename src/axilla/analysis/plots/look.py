"""What the figures share: colours, dashes, and quiet axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart with every common colour blindness (Okabe and Ito 2008); yellow left out, too pale."""
DASHES = ("-", "--", "-.", ":")
GREY = "#666666"


def tidy(ax: Axes) -> None:
    """Take away what says nothing; a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="#DDDDDD", linewidth=0.5)
    ax.set_axisbelow(True)
