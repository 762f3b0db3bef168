"""What the figures share: colours, dashes, and quiet axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from matplotlib.axes import Axes

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart with every common colour blindness (Okabe and Ito 2008); yellow left out, too pale."""
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 3)))
"""One fewer than the colours, so that colour and dash together repeat only after 42 lines."""
GREY = "#666666"
COLUMN_IN = 85 / 25.4
"""Width in inches of a journal's column; figures are drawn at the size in which they are read."""
PAGE_IN = 174 / 25.4
"""Width in inches of a journal's page: two columns."""


def in_print() -> AbstractContextManager[None]:
    """Sizes for figures of these widths; what is drawn within has no text under 6 pt."""
    return mpl.rc_context(
        {
            "font.size": 7.5,  # `small` is then 6.2 pt
            "axes.titlesize": 8,
            "figure.titlesize": 8,
            "axes.labelsize": 7.5,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "axes.linewidth": 0.6,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
        }
    )


def tidy(ax: Axes) -> None:
    """Take away what says nothing; a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="#DDDDDD", linewidth=0.5)
    ax.set_axisbelow(True)
