"""Tissue found without a pathologist, for slides that have no annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from shapely import affinity

from axilla.core.types import Region
from axilla.wsi.outlines import to_polygon

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

    from axilla.wsi.slides import SlideReader

_FAINTEST = 8
"""Least difference between glass and stain (of 255): Otsu splits noise too, on an empty slide."""
_CLOSE_SHARE = 0.004
"""Gaps up to this share of the longer side are bridged: fat and tears inside a core."""


def find_tissue(
    reader: SlideReader, *, image: Path, max_side: int = 2048, min_share: float = 5e-4
) -> tuple[Region, ...]:
    """Outline the stained tissue of a slide.

    Haematoxylin and eosin both absorb green most, so that tissue is where red and blue both
    exceed green; glass is grey, and ink (blue, green, black) has green above red or no colour.
    The difference is smoothed and split by Otsu's threshold.

    Parameters
    ----------
    reader
        The open slide.
    image
        Its file, for the regions.
    max_side
        Longer side, in pixels, of the thumbnail that is looked at.
    min_share
        Least area of a piece, as share of the slide; smaller ones, and smaller holes, are ignored.

    Returns
    -------
    One region a piece in level-0 pixels, from top to bottom; none where there is only glass.
    """
    rgb, scale = reader.thumbnail(max_side)
    mask = tissue_mask(rgb)
    pieces = _outlines(mask, min_area=min_share * mask.size)
    polygons = [
        affinity.scale(affinity.translate(piece, 0.5, 0.5), xfact=scale, yfact=scale, origin=(0, 0))
        for piece in pieces
    ]
    polygons.sort(key=lambda polygon: (polygon.bounds[1], polygon.bounds[0]))
    return tuple(
        Region(index=index, image=image, polygon=polygon, source="tissue")
        for index, polygon in enumerate(polygons)
    )


def tissue_mask(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tissue of a thumbnail RGB uint8 [h, w, 3]: uint8 [h, w], 1 where there is tissue."""
    smooth = cv2.medianBlur(rgb, 5).astype(np.int16)
    red, green, blue = smooth[..., 0], smooth[..., 1], smooth[..., 2]
    stain = np.clip(np.minimum(red, blue) - green, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(stain, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    mask = (stain > max(threshold, _FAINTEST)).astype(np.uint8)
    side = max(3, round(_CLOSE_SHARE * max(mask.shape)) | 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # A border of glass, or closing would glue the tissue to the slide's edge.
    wide = cv2.copyMakeBorder(mask, side, side, side, side, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc)
    small = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, small)
    return np.asarray(opened[side:-side, side:-side], dtype=np.uint8)


def _outlines(mask: NDArray[np.uint8], *, min_area: float) -> list[Polygon | MultiPolygon]:
    """Pieces of a mask with their holes, in its pixels."""
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if tree is None:
        return []
    large = {
        index
        for index, contour in enumerate(contours)
        if len(contour) >= 3 and cv2.contourArea(contour) >= max(min_area, 1)
    }
    parents = np.asarray(tree)[0, :, 3]
    pieces = []
    for index in sorted(large):
        if parents[index] >= 0:
            continue
        shell, *holes = (
            contours[ring][:, 0].astype(np.float64)
            for ring in (index, *(hole for hole in sorted(large) if parents[hole] == index))
        )
        pieces.append(to_polygon(shell, holes, name=f"tissue {index}"))
    return pieces
