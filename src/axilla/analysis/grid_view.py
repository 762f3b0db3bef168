"""What was cut from a slide: outlines and the grid of patches, kept and dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection

from axilla.analysis.heatmaps import draw_outlines, patch_squares

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from axilla.core.types import SlidePixels

KEPT = "#0072b2"
DROPPED = "#d55e00"
"""Blue and vermilion, told apart by the colour-blind (Okabe and Ito)."""
_FINE_PX = 6
"""Smaller patches, in thumbnail pixels, are tinted without lines: these would hide the tissue."""


def draw_grid(
    ax: Axes,
    thumbnail: NDArray[np.uint8],
    *,
    kept: ArrayLike,
    dropped: ArrayLike,
    size_level0: SlidePixels,
    scale: float,
    outlines: Sequence[ArrayLike] = (),
) -> None:
    """Draw outlines and patches over a thumbnail: kept ones framed, dropped ones shaded.

    Parameters
    ----------
    ax
        Where to draw; its axes become the thumbnail's pixels, y down, pixel edges whole numbers.
    thumbnail
        uint8 [height, width, 3].
    kept, dropped
        [n, 2], top left corner of each patch in level-0 pixels.
    size_level0
        Side of a patch in level-0 pixels.
    scale
        Thumbnail pixels per level-0 pixel, for example 1/32.
    outlines
        Rings [k, 2] of (x, y) in level-0 pixels, closed here.
    """
    height, width = thumbnail.shape[:2]
    ax.imshow(thumbnail, extent=(0, width, height, 0), interpolation="nearest")
    line = 1.2 if size_level0 * scale >= _FINE_PX else 0.0
    for xy, colour, shade in ((dropped, DROPPED, 0.30), (kept, KEPT, 0.0 if line else 0.25)):
        ax.add_collection(
            PolyCollection(
                patch_squares(xy, size_level0=size_level0, scale=scale),
                facecolors=(colour, shade),
                edgecolors=colour,
                linewidths=line,
                antialiaseds=bool(line),
            ),
            autolim=False,
        )
    draw_outlines(ax, outlines, scale=scale)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
