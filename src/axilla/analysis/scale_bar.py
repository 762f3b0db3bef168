"""A scale bar of a round length, over any picture whose µm per pixel are known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib import patheffects
from matplotlib.patches import Rectangle

from axilla.core.types import Microns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARE = 0.2
"""Of the picture's width, about."""
_MARGIN = 0.04
"""Between bar and edge, as a share of the picture's smaller side."""
_THICKNESS = 0.012
_TEXT_POINTS = 8.0
HALO = [patheffects.Stroke(linewidth=2.6, foreground="white"), patheffects.Normal()]
"""White under black: seen on dark and on pale tissue alike."""


def round_length(width_um: float) -> Microns:
    """The length of 1, 2 or 5 x 10^k µm that comes nearest, by its ratio, to a fifth of a width."""
    wanted = width_um * SHARE
    power = math.floor(math.log10(wanted))
    candidates = (digit * 10.0**k for k in (power, power + 1) for digit in (1, 2, 5))
    return Microns(min(candidates, key=lambda length: abs(math.log(length / wanted))))


def length_text(length: Microns) -> str:
    """How a length is printed: in mm from 1,000 µm on."""
    return f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"


def draw_scale_bar(ax: Axes, *, width: float, height: float, microns_per_px: float) -> None:
    """Draw a bar into the lower left corner of a picture, its length beside it.

    Parameters
    ----------
    ax
        Its data coordinates are the picture's pixels, y down.
    width, height
        Of the picture, in its pixels.
    microns_per_px
        µm that a pixel of the picture spans (not of the slide).
    """
    length = round_length(width * microns_per_px)
    margin = _MARGIN * min(width, height)
    thickness = _THICKNESS * max(width, height)
    corner = (margin, height - margin - thickness)
    bar = Rectangle(corner, length / microns_per_px, thickness, color="black", linewidth=0)
    bar.set_path_effects(HALO)
    # Over patches (1) and outlines (2).
    bar.set_zorder(3)
    ax.add_patch(bar)
    text = ax.annotate(
        length_text(length),
        xy=(margin, corner[1]),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=_TEXT_POINTS,
        fontweight="bold",
        va="bottom",
        zorder=3,
    )
    text.set_path_effects(HALO)
