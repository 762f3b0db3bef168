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

    from axilla.core.types import MicronsPerPixel
    from axilla.wsi.slides import SlideReader

_THUMBNAIL_UM = 4.0
"""A finer thumbnail than this many µm per pixel shows cells, not tissue."""
_UNKNOWN_SIDE_UM = 10_000.0
"""Longer side that a slide of unknown µm/px is taken to have: an overview of a biopsy."""
_SMOOTH_UM, _BRIDGED_UM, _THINNEST_UM = 3.0, 12.0, 12.0
"""SD of the smoothing; radius of the gaps closed and of the threads and fringes opened away."""
_AROUND_INK_UM = 60.0
"""Side of the window that says what ink lies on."""
_LEAST_PIECE_UM2, _LEAST_HOLE_UM2 = 20_000.0, 2_500.0
"""Smaller pieces are dust; smaller holes are capillaries and gland lumina, larger ones are fat."""

_FAINTEST = 0.03
"""Least stain, as a difference of optical densities: Otsu splits noise too, on an empty slide."""
_GREY_RANGE, _GREY_BRIGHT, _GREY_SHARE = 30, 0.6, 0.01
"""Glass: channels this close together, this share of the brightest, at least so much of a slide."""
_INK_DENSITY = 0.15
_EVEN_DENSITY, _EVEN, _EVEN_UM = 0.4, 0.04, 120.0
"""Denser than the first, with a relative SD below the second in a window of the third: ink.

The least relative SD of tissue as dense, over five real slides at 4 to 5 µm/px, was 0.067.
"""
_BLACK_DENSITY, _BLACK_CHROMA = 0.3, 0.2
"""Denser than the first and with less colour, relative to density, than the second is black."""


def find_tissue(
    reader: SlideReader,
    *,
    image: Path,
    mpp: MicronsPerPixel | None = None,
    max_side: int = 2048,
) -> tuple[Region, ...]:
    """Outline the stained tissue of a slide; see `tissue_mask` for the rule.

    Parameters
    ----------
    reader
        The open slide.
    image
        Its file, for the regions.
    mpp
        µm per level-0 pixel where others than the slide say it. Where nobody does, its longer side
        counts as 10 mm, so that lengths are relative to the image.
    max_side
        Longer side, in pixels, of the thumbnail that is looked at; never finer than 4 µm/px.

    Returns
    -------
    One region a piece in level-0 pixels, from top to bottom; none where there is only glass.
    """
    longer = max(reader.size)
    um_level0 = mpp or reader.mpp or _UNKNOWN_SIDE_UM / longer
    side = min(max_side, max(1, round(longer * um_level0 / _THUMBNAIL_UM)))
    rgb, scale = reader.thumbnail(side)
    mask = tissue_mask(rgb, um_per_px=um_level0 * scale)
    polygons = [
        affinity.scale(affinity.translate(piece, 0.5, 0.5), xfact=scale, yfact=scale, origin=(0, 0))
        for piece in _outlines(mask)
    ]
    polygons.sort(key=lambda polygon: (polygon.bounds[1], polygon.bounds[0]))
    return tuple(
        Region(index=index, image=image, polygon=polygon, source="tissue")
        for index, polygon in enumerate(polygons)
    )


def tissue_mask(rgb: NDArray[np.uint8], *, um_per_px: float) -> NDArray[np.uint8]:
    """Find the tissue of a thumbnail.

    Haematoxylin and eosin both absorb green most (Ruifrok and Johnston 2001), so stain is the
    optical density of green less that of the channel that passes best, both relative to the
    slide's own glass. Glass, dust, shadows, coverslip edges and black ink are grey and have none,
    whatever their brightness; green ink has less than none; blue and red ink are told by the
    direction of their density, and take the side of what surrounds them: tissue under a thin line
    stays, a stroke on glass goes. Stain is split by hysteresis: a piece is tissue that holds some
    stain above Otsu's threshold, as far as it is stained at all, so that pale tissue that hangs
    together with stained tissue is kept.

    Parameters
    ----------
    rgb
        uint8 [h, w, 3].
    um_per_px
        What a pixel spans, in µm.

    Returns
    -------
    ndarray
        uint8 [h, w], 1 where there is tissue.

    Notes
    -----
    A lake of fresh blood has the colour of red ink and is left out where it is wider than some
    60 µm. A pale or streaky stroke of violet ink, which has haematoxylin's colour, is not told
    from tissue.
    """
    # The median takes single odd pixels without moving an edge.
    density, grey = _densities(np.asarray(cv2.medianBlur(rgb, 3), dtype=np.uint8))
    ink = _ink(density, um_per_px=um_per_px)
    red, green, blue = cv2.split(density)
    stain = green - np.minimum(red, blue)
    stain[ink > 0] = 0
    # Beside true grey lies noise of both signs; what is below zero is noise alone.
    below = stain[grey & (stain < 0)]
    noise = float(np.sqrt(np.mean(below**2))) if below.size else 0.0
    smooth = cv2.GaussianBlur(stain, (0, 0), max(0.5, _SMOOTH_UM / um_per_px))
    mask = _hysteresis(np.asarray(smooth, dtype=np.float32), noise=noise)
    mask = _under_ink(mask, ink, side_px=_AROUND_INK_UM / um_per_px)
    mask = _morph(mask, cv2.MORPH_CLOSE, radius_px=_BRIDGED_UM / um_per_px)
    mask = _morph(mask, cv2.MORPH_OPEN, radius_px=_THINNEST_UM / um_per_px)
    mask = _without_small(mask, least_px=_LEAST_PIECE_UM2 / um_per_px**2)
    if not mask.any():
        return mask  # a very small image is no hole in tissue
    holes = _without_small(1 - mask, least_px=_LEAST_HOLE_UM2 / um_per_px**2)
    return np.asarray(1 - holes, dtype=np.uint8)


def _densities(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Optical densities relative to glass, float32 [h, w, 3], and which pixels are grey [h, w]."""
    red, green, blue = cv2.split(rgb)
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    bright = _GREY_BRIGHT * float(np.percentile(highest[::4, ::4], 99))
    grey = (highest - lowest < _GREY_RANGE) & (highest > bright)
    glass = np.full(3, 255.0)
    if grey.mean() >= _GREY_SHARE:
        glass = np.maximum(np.median(rgb[grey], axis=0), 1)
    # Below 4 of 255 a camera gives no colour any more.
    levels = np.maximum(np.arange(256.0), 4)[:, None]
    table = (-np.log10(levels / glass)).astype(np.float32)  # [256, 3]
    return np.asarray(cv2.LUT(rgb, table[None]), dtype=np.float32), np.asarray(grey)


def _ink(density: NDArray[np.float32], *, um_per_px: float) -> NDArray[np.uint8]:
    """Ink, by hue, or for its evenness: uint8 [h, w].

    Relative to green, H&E lies between (red 0.9, blue 0.6) and (red 0.1, blue 0.1 to 0.7) on the
    slides that were looked at, of five scanners. Blue ink lets blue pass and stops red; green ink
    lets green pass; red ink stops blue as well as green and lets red pass; black stops all. Ink of
    the stains' own hues (violet, navy, crimson) is told where it is dense and even, as tissue with
    its nuclei never is over 120 µm.
    """
    red, green, blue = cv2.split(density)
    is_blue = red - blue > 0.9 * green
    is_green = green < 0.8 * np.maximum(red, blue)
    is_red = (blue > 0.75 * green) & (red < 0.35 * green)
    chroma = green - np.minimum(red, blue)
    is_black = (green > _BLACK_DENSITY) & (chroma < _BLACK_CHROMA * green)
    dense = np.maximum(np.maximum(red, green), blue) > _INK_DENSITY
    is_even = _even(density[..., 1], um_per_px=um_per_px)
    ink = (dense & (is_blue | is_green | is_red | is_black | is_even)).astype(np.uint8)
    # A pixel more: at its edge, ink mixes with what lies beside it.
    return np.asarray(cv2.dilate(ink, np.ones((3, 3), np.uint8)), dtype=np.uint8)


def _even(green: NDArray[np.float32], *, um_per_px: float) -> NDArray[np.bool_]:
    """Windows of dense and even colour, each as a whole: bool [h, w]."""
    side = (max(9, 2 * round(_EVEN_UM / um_per_px / 2) + 1),) * 2
    mean = cv2.blur(green, side)
    variance = cv2.blur(green * green, side) - mean * mean
    even = (mean > _EVEN_DENSITY) & (variance < (_EVEN * mean) ** 2)
    return np.asarray(cv2.dilate(even.astype(np.uint8), np.ones(side, np.uint8)) > 0)


def _hysteresis(stain: NDArray[np.float32], *, noise: float) -> NDArray[np.uint8]:
    """Connected pieces of the stained that hold some of the well stained."""
    levels = np.clip(stain * 512, 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    high = max(otsu / 512, _FAINTEST)
    low = min(max(_FAINTEST, 4 * noise), high / 2)
    count, labels = cv2.connectedComponents((stain > low).astype(np.uint8))
    holds = np.bincount(labels[stain > high], minlength=count) > 0
    holds[0] = False
    return np.asarray(holds[labels], dtype=np.uint8)


def _under_ink(
    mask: NDArray[np.uint8], ink: NDArray[np.uint8], *, side_px: float
) -> NDArray[np.uint8]:
    """Add the ink whose surroundings are tissue for the greater part."""
    if not ink.any():
        return mask
    side = (2 * round(side_px / 2) + 3,) * 2
    tissue = cv2.blur(mask.astype(np.float32), side)
    free = cv2.blur((1 - ink).astype(np.float32), side)
    # Deep inside a stroke nothing free is near, and nothing is known.
    on_tissue = (ink > 0) & (tissue > 0.5 * np.maximum(free, 0.05))
    return np.asarray(mask | on_tissue, dtype=np.uint8)


def _morph(mask: NDArray[np.uint8], how: int, *, radius_px: float) -> NDArray[np.uint8]:
    """Open or close with a disc; the border counts as continued (open) or as glass (close)."""
    radius = max(1, round(radius_px))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    border = cv2.BORDER_REPLICATE if how == cv2.MORPH_OPEN else cv2.BORDER_CONSTANT
    wide = cv2.copyMakeBorder(mask, *(radius + 1,) * 4, border, value=0)
    changed = cv2.morphologyEx(wide, how, disc)
    return np.asarray(changed[radius + 1 : -radius - 1, radius + 1 : -radius - 1], dtype=np.uint8)


def _without_small(mask: NDArray[np.uint8], *, least_px: float) -> NDArray[np.uint8]:
    """The mask without pieces of fewer pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    large = stats[:, cv2.CC_STAT_AREA] >= max(least_px, 2)
    large[0] = False
    return np.asarray(large[labels], dtype=np.uint8)


def _outlines(mask: NDArray[np.uint8]) -> list[Polygon | MultiPolygon]:
    """Pieces of a mask with their holes, in its pixels."""
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if tree is None:
        return []
    parents = np.asarray(tree)[0, :, 3]
    rings = {
        index: contour[:, 0].astype(np.float64)
        for index, contour in enumerate(contours)
        if len(contour) >= 3 and cv2.contourArea(contour) >= 1
    }
    holes: dict[int, list[NDArray[np.float64]]] = {}
    for index, ring in rings.items():
        holes.setdefault(int(parents[index]), []).append(ring)
    return [
        to_polygon(shell, holes.get(index, []), name=f"tissue {index}")
        for index, shell in rings.items()
        if parents[index] < 0
    ]
