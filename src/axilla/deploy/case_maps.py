"""Where on the slides a case's number comes from: maps, top patches, tiles for QuPath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from axilla.analysis.scale_bar import length_text, round_length
from axilla.core.config import StudyConfig
from axilla.core.types import MicronsPerPixel, PatchGrid, Region, Slide
from axilla.deploy.asking import PreparedCase, patch_values
from axilla.features.imported import SlideFeatures, patch_side
from axilla.study.explaining import qupath_tiles
from axilla.study.explaining_imported import imported_tiles, told_mpp
from axilla.study.heat_drawing import Picture, slide_pictures
from axilla.study.heat_scales import Scale, Shown, shown_attention, shown_contribution
from axilla.study.imported import read_features_of
from axilla.study.tiling import open_patches, regions_of
from axilla.wsi.regions import outline_rings

MAP_PX = 1100
"""Width of a slide's map, in pixels; as high at most."""
GAP_PX = 12
TOP_PATCHES = 8
PATCH_PX = 160
_OF_THE_COHORT = (
    "In the study one colour of the heat maps meant one value on all slides. The model does not "
    "hold the values of those slides, so that here the colours are of each slide alone."
)
_ONE_ROW = 4
"""So many images of a slide stand side by side, as they lie on the glass."""
_OPACITY = 0.55
_JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A bar of a round length."""

    text: str
    share: float
    """Of the picture's width."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Patch values over a slide, and what its colours mean."""

    name: str
    """attention or contribution."""
    jpeg: bytes
    width: int
    height: int
    bar: ScaleBar | None
    low: float
    high: float
    ramp: bytes
    """The colours from low to high, a PNG one pixel high."""
    label: str
    ranked: bool
    """Whether attention is shown by its rank within the slide."""


@dataclass(frozen=True, slots=True, eq=False)
class TopPatch:
    """A patch with much attention."""

    index: int
    image: str
    x: int
    y: int
    attention: float
    contribution: float | None
    jpeg: bytes


@dataclass(frozen=True, slots=True, eq=False)
class SlideMaps:
    """All of one slide."""

    slide: Slide
    grid: PatchGrid | None
    """None for features made elsewhere."""
    values: Mapping[str, NDArray[np.float64]]
    """attention and perhaps contribution, [n]."""
    maps: tuple[HeatMap, ...]
    top: tuple[TopPatch, ...]
    tiles: Mapping[str, str]
    """GeoJSON for QuPath by file name, an image a file."""


def slide_maps(case: PreparedCase, slide: Slide) -> SlideMaps:
    """Measure, colour and cut out what shows where the model looked on a slide."""
    values = patch_values(case, slide.slide_id)
    tiles, config = case.application.tiles, case.application.fitting.config
    if tiles is None:
        return _of_features(case, slide, values)
    grid = tiles.grids[slide.slide_id]
    known = None if tiles.held is None else tiles.held.regions_of(slide.slide_id)
    regions = known or regions_of(slide, config=config)
    canvas = _canvas(slide_pictures(slide, regions, grid, held=tiles.held), grid)
    return SlideMaps(
        slide=slide,
        grid=grid,
        values=values,
        maps=_drawn(case, canvas, values),
        top=_top(case, slide, grid, regions, values),
        tiles={
            f"{slide.slide_id}{'' if number is None else f'-{number}'}.geojson": text
            for number, text in qupath_tiles(
                slide, regions, grid, values, cropped=config.qupath_cropped
            ).items()
        },
    )


def _drawn(
    case: PreparedCase, canvas: _Canvas, values: Mapping[str, NDArray[np.float64]]
) -> tuple[HeatMap, ...]:
    """Attention, and the contribution where the model tells it."""
    # `cohort` asks for what a model does not hold: see `map_notes`.
    ranked = case.application.fitting.config.heatmaps.scale == "rank"
    scale: Scale = "rank" if ranked else "slide"
    attention = shown_attention(values["attention"], scale=scale, limits=None)
    maps = [canvas.draw("attention", attention)]
    if np.isfinite(values.get("contribution", np.nan)).any():
        positive = case.bundle.classes[-1]
        shown = shown_contribution(values["contribution"], limits=None, positive=positive)
        maps.append(canvas.draw("contribution", shown))
    return tuple(maps)


def map_notes(config: StudyConfig, maps: Sequence[SlideMaps]) -> tuple[str, ...]:
    """Where the maps are not coloured as the study's own."""
    if config.heatmaps.scale != "cohort" or not any(own.maps for own in maps):
        return ()
    return (_OF_THE_COHORT,)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """An image of the slide within the canvas."""

    picture: Picture
    here: NDArray[np.bool_]
    """Patches of it."""
    left: int
    top: int
    scale: float
    """Canvas pixels per level-0 pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """All images of a slide side by side, at one scale."""

    pixels: NDArray[np.uint8]
    placed: tuple[_Placed, ...]
    xy: NDArray[np.float64]
    """Corners of the patches in level-0 pixels of their images, [n, 2]."""
    side: float
    """Of a patch, in level-0 pixels."""
    opacity: float = _OPACITY

    def draw(self, name: str, shown: Shown) -> HeatMap:
        """The values over it."""
        found = self.pixels.copy()
        low, high = shown.limits
        ramp = _ramp(shown.colours)
        span = max(high - low, 1e-12)
        level = np.clip(np.nan_to_num((shown.values - low) / span), 0, 1)
        colours = ramp[(level * 255).round().astype(int)]  # [n, 3]
        for place in self.placed:
            side = self.side * place.scale
            corners = self.xy * place.scale + (place.left, place.top)
            for index in np.flatnonzero(place.here & np.isfinite(shown.values)):
                (x0, y0), (x1, y1) = (
                    np.round(corners[index] + shift).astype(int) for shift in (0, side)
                )
                part = found[max(y0, 0) : y1, max(x0, 0) : x1]
                part[:] = (part * (1 - self.opacity) + colours[index] * self.opacity).astype(
                    np.uint8
                )
            self._outline(found, place)
        height, width = found.shape[:2]
        return HeatMap(
            name=name,
            jpeg=_jpeg(found),
            width=width,
            height=height,
            bar=self._bar(width),
            low=low,
            high=high,
            ramp=_png(ramp[None]),
            label=shown.label,
            ranked=shown.ranked,
        )

    def _outline(self, canvas: NDArray[np.uint8], place: _Placed) -> None:
        rings = [
            np.round(ring * place.scale + (place.left, place.top)).astype(np.int32)
            for region in place.picture.regions
            for ring in outline_rings(region)
        ]
        # White under black: seen on dark and on pale tissue alike.
        cv2.polylines(canvas, rings, True, (255, 255, 255), 4, cv2.LINE_AA)
        cv2.polylines(canvas, rings, True, (0, 0, 0), 2, cv2.LINE_AA)

    def _bar(self, width: int) -> ScaleBar | None:
        first = self.placed[0]
        if first.picture.mpp is None:
            return None
        width_um = width * first.picture.mpp / first.scale
        length = round_length(width_um)
        return ScaleBar(length_text(length), length / width_um)


def _canvas(pictures: Sequence[Picture], grid: PatchGrid) -> _Canvas:
    """Pictures in rows, shrunk until they fit; a few stand in one row."""
    sizes = [
        (p.thumbnail.shape[1] * p.level0_per_px, p.thumbnail.shape[0] * p.level0_per_px)
        for p in pictures
    ]
    count = len(pictures)
    columns = range(1 if count > _ONE_ROW else count, count + 1)
    scale, across = max((_scale_in_rows(sizes, n), n) for n in columns)
    scale = min(scale, *(1 / p.level0_per_px for p in pictures))
    gap = _gap(across)
    shapes = [(max(1, round(w * scale)), max(1, round(h * scale))) for w, h in sizes]
    corners, top = [], 0
    for row in range(0, count, across):
        own = shapes[row : row + across]
        widths = [0, *np.cumsum([w + gap for w, _ in own]).tolist()]
        corners += [(left, top) for left in widths[: len(own)]]
        top += max(h for _, h in own) + gap
    ends = [(x + w, y + h) for (x, y), (w, h) in zip(corners, shapes, strict=True)]
    canvas = np.full((max(y for _, y in ends), max(x for x, _ in ends), 3), 255, np.uint8)
    placed = []
    for picture, (w, h), (x, y) in zip(pictures, shapes, corners, strict=True):
        small = cv2.resize(picture.thumbnail, (w, h), interpolation=cv2.INTER_AREA)
        canvas[y : y + h, x : x + w] = small
        here = np.isin(grid.region, [region.index for region in picture.regions])
        placed.append(_Placed(picture, here, x, y, scale))
    return _Canvas(canvas, tuple(placed), grid.xy.astype(np.float64), float(grid.size_level0))


def _white_canvas(found: SlideFeatures, mpp: MicronsPerPixel | None) -> _Canvas | None:
    """Where there are patches and no picture; None where the file does not tell where they lie."""
    side = patch_side(found)
    if found.coords is None or side is None:
        return None
    first = found.coords.min(axis=0)
    size = found.coords.max(axis=0) - first + side
    scale = min(MAP_PX / float(size.max()), 1.0)
    width, height = (max(1, round(length * scale)) for length in size.tolist())
    white = np.full((height, width, 3), 255, np.uint8)
    unit_um = mpp if found.unit == "px" else MicronsPerPixel(1.0)
    picture = Picture((), white, 1 / scale, unit_um, None)
    everywhere = np.ones(len(found.coords), dtype=bool)
    placed = _Placed(picture, everywhere, 0, 0, scale)
    return _Canvas(white, (placed,), found.coords - first, side, opacity=1.0)


def _scale_in_rows(sizes: Sequence[tuple[float, float]], across: int) -> float:
    """Canvas pixels per level-0 pixel at which images of these sizes, so many a row, fit."""
    rows = [sizes[start : start + across] for start in range(0, len(sizes), across)]
    gap = _gap(across)
    wide = max(sum(w for w, _ in row) for row in rows)
    high = sum(max(h for _, h in row) for row in rows)
    return min((MAP_PX - gap * (across - 1)) / wide, (MAP_PX - gap * (len(rows) - 1)) / high)


def _gap(across: int) -> int:
    """Between images; all of them are at most a quarter of the canvas."""
    return min(GAP_PX, MAP_PX // (4 * across))


def _top(
    case: PreparedCase,
    slide: Slide,
    grid: PatchGrid,
    regions: Sequence[Region],
    values: Mapping[str, NDArray[np.float64]],
) -> tuple[TopPatch, ...]:
    tiles, config = case.application.tiles, case.application.fitting.config
    if tiles is None:
        return ()
    attention = values["attention"]
    order = np.argsort(-attention, kind="stable")[: int(np.isfinite(attention).sum())]
    chosen = order[:TOP_PATCHES]
    image_of = {region.index: region.image.name for region in regions}
    with open_patches(slide, tiles, config=config) as reader:
        pixels = reader.read(chosen)
    return tuple(
        TopPatch(
            index=int(index),
            image=image_of[int(grid.region[index])],
            x=int(grid.xy[index, 0]),
            y=int(grid.xy[index, 1]),
            attention=float(attention[index]),
            contribution=_finite(values, int(index)),
            jpeg=_jpeg(_small(patch)),
        )
        for index, patch in zip(chosen, pixels, strict=True)
    )


def _finite(values: Mapping[str, NDArray[np.float64]], index: int) -> float | None:
    own = values.get("contribution")
    return None if own is None or not np.isfinite(own[index]) else float(own[index])


def _of_features(
    case: PreparedCase, slide: Slide, values: Mapping[str, NDArray[np.float64]]
) -> SlideMaps:
    """Features made elsewhere: on white, where the file tells where the patches lie."""
    config = case.application.fitting.config
    found = read_features_of(slide, config=config)
    attention = values["attention"]
    order = np.argsort(-attention, kind="stable")[: int(np.isfinite(attention).sum())]
    top: tuple[TopPatch, ...] = ()
    if found.coords is not None and found.unit == "px" and slide.features is not None:
        name = slide.features.name
        top = tuple(
            TopPatch(
                int(i), name, int(found.coords[i, 0]), int(found.coords[i, 1]),
                float(attention[i]), _finite(values, int(i)), b"",
            )
            for i in order[:TOP_PATCHES]
        )  # fmt: skip
    canvas = _white_canvas(found, told_mpp(slide, config=config))
    maps = () if canvas is None else _drawn(case, canvas, values)
    tiles = imported_tiles(found, values)
    name = f"{slide.slide_id}.geojson"
    return SlideMaps(slide, None, values, maps, top, {} if tiles is None else {name: tiles})


def _small(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if patch.shape[0] <= PATCH_PX:
        return patch
    return np.asarray(cv2.resize(patch, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_AREA))


@cache
def _ramp(colours: str) -> NDArray[np.uint8]:
    """256 colours, [256, 3]."""
    found = mpl.colormaps[colours](np.arange(256))
    return np.asarray((found[:, :3] * 255).round(), np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return bytes(cv2.imencode(".jpg", pixels[..., ::-1], settings)[1])


def _png(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", pixels[..., ::-1])[1])
