"""Where on the slide a score comes from: patch values over the thumbnail, and the patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize

from axilla.analysis.scale_bar import HALO, draw_scale_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from axilla.core.types import MicronsPerPixel, SlidePixels

COLOURS = "cividis"
"""Blue to yellow, even in lightness, made for the colour-blind (doi:10.1371/journal.pone.0199239),
and without the stain's pink and purple, which the low end of viridis would be lost in."""
SIGNED_COLOURS = "BrBG_r"
"""Teal below zero, brown above, both told apart by the colour-blind and from the stain."""


def draw_heatmap(
    ax: Axes,
    thumbnail: NDArray[np.uint8],
    *,
    xy: ArrayLike,
    size_level0: SlidePixels,
    values: ArrayLike,
    scale: float,
    mpp: MicronsPerPixel | None = None,
    outlines: Sequence[ArrayLike] = (),
    limits: tuple[float, float] | None = None,
    label: str = "Attention",
    opacity: float = 0.6,
    colours: str = COLOURS,
) -> None:
    """Draw patch values over a thumbnail, aligned to the pixel, with the tumour's outline.

    Parameters
    ----------
    ax
        Where to draw; its axes become the thumbnail's pixels, y down, pixel edges whole numbers.
    thumbnail
        uint8 [height, width, 3].
    xy
        [n, 2], top left corner of each patch in level-0 pixels.
    size_level0
        Side of a patch in level-0 pixels.
    values
        [n], what the colours show.
    scale
        Thumbnail pixels per level-0 pixel, for example 1/32.
    mpp
        µm per level-0 pixel; None draws no scale bar.
    outlines
        Rings [k, 2] of (x, y) in level-0 pixels, closed here.
    limits
        Values of the first and the last colour; None takes the smallest and largest value.
    label
        What the colour bar says.
    opacity
        Of the patches over the thumbnail, 0 to 1.
    colours
        Name of the colour map.
    """
    height, width = thumbnail.shape[:2]
    ax.imshow(thumbnail, extent=(0, width, height, 0), interpolation="nearest")
    numbers = np.asarray(values, dtype=np.float64)
    low, high = limits or (
        (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    )
    patches = PolyCollection(
        patch_squares(xy, size_level0=size_level0, scale=scale),
        array=numbers,
        cmap=colours,
        norm=Normalize(low, high),
        alpha=opacity,
        # Smoothed edges of see-through neighbours would leave a grid of seams.
        antialiaseds=False,
        linewidths=0,
        rasterized=True,
    )
    ax.add_collection(patches, autolim=False)
    draw_outlines(ax, outlines, scale=scale)
    if mpp is not None:
        draw_scale_bar(ax, width=width, height=height, microns_per_px=mpp / scale)
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
    figure: Any = ax.figure
    bar = figure.colorbar(patches, ax=ax, fraction=0.046, pad=0.02, label=label)
    bar.outline.set_visible(False)


def patch_squares(
    xy: ArrayLike, *, size_level0: SlidePixels, scale: float
) -> list[NDArray[np.float64]]:
    """Corners [4, 2] of each patch in thumbnail pixels; arguments as of `draw_heatmap`."""
    corners = np.asarray(xy, dtype=np.float64).reshape(-1, 1, 2)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    return list((corners + square * size_level0) * scale)


def draw_outlines(ax: Axes, outlines: Sequence[ArrayLike], *, scale: float) -> None:
    """Draw rings over a thumbnail; arguments as of `draw_heatmap`."""
    for ring in outlines:
        points = np.asarray(ring, dtype=np.float64) * scale
        closed = np.vstack([points, points[:1]])
        ax.plot(closed[:, 0], closed[:, 1], color="black", linewidth=1.2, path_effects=HALO)


def draw_gallery(
    figure: Figure,
    patches: Sequence[Sequence[NDArray[np.uint8]]],
    *,
    values: Sequence[Sequence[float]],
    titles: Sequence[str],
    label: str = "{:.3f}",
) -> None:
    """Draw rows of patches, such as those with the highest and those with the lowest attention.

    Parameters
    ----------
    figure
        An empty figure, about 1.2 inches wide a patch.
    patches
        Rows of uint8 [height, width, 3] images; rows may differ in length.
    values
        A number under each patch, in the same rows.
    titles
        One a row.
    label
        How a value is printed.
    """
    columns = max((len(row) for row in patches), default=0)
    if columns == 0:
        return
    bands = figure.subfigures(len(patches), 1, squeeze=False)[:, 0]
    for band, row, numbers, title in zip(bands, patches, values, titles, strict=True):
        band.suptitle(title, x=0.01, ha="left", fontsize="medium")
        axes = band.subplots(1, columns, squeeze=False)[0]
        for ax in axes:
            ax.set_axis_off()
        for ax, image, number in zip(axes, row, numbers, strict=False):
            ax.imshow(image, interpolation="nearest")
            ax.set_title(label.format(number), y=-0.10, va="top", fontsize="small")
        band.subplots_adjust(left=0.01, right=0.99, bottom=0.14, top=0.84, wspace=0.06)
