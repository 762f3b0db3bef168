"""Nuclei of every slide's patches: found, measured and kept as tables."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import SlideError
from axilla.core.progress import Reporter
from axilla.core.types import MicronsPerPixel, PatchGrid, Region, Slide
from axilla.nuclei.classical import fit_classical
from axilla.nuclei.feature_bags import feature_values, patch_nuclei
from axilla.nuclei.outlining import outline_nuclei
from axilla.nuclei.segmentation import (
    Finder,
    ToolSegmenter,
    find_zoom,
    segment_patches,
    segment_pixels,
    working_zoom,
)
from axilla.study.layout import Layout
from axilla.study.nuclei_gathering import Columns, Rings, gather
from axilla.study.nuclei_geojson import add_nuclei
from axilla.study.nuclei_segmenting import Way, fixed_segmenter, working
from axilla.study.slide_checks import slides_of
from axilla.study.tiling import Tiles, regions_of
from axilla.wsi.patches import PatchReader
from axilla.wsi.slides import scanned_origin

SEGMENTING = 7
"""Counts up whenever the same patch and weights come to give other nuclei or measures."""
PATCHES_AT_ONCE = 64
_SAMPLED_PATCHES = 8
"""From so many patches of a slide its stain, and its scale where it is not known, are told."""


@dataclass(frozen=True, slots=True, eq=False)
class SlideNuclei:
    """The nuclei of a cohort's slides, read when they are asked for."""

    layout: Layout
    keys: Mapping[str, str]
    """By slide: what any later step over its nuclei depends on."""
    in_um: bool
    """Whether lengths are µm; else pixels of the patches."""

    def table(self, slide_id: str) -> pd.DataFrame:
        """A row a nucleus that is seen whole: `patch`, `x`, `y` and what `measure_nuclei` gives.

        One that several patches show stands in the first of them.
        """
        return pd.read_parquet(self.layout.nuclei(slide_id))

    def patches(self, slide_id: str) -> pd.DataFrame:
        """A row a patch: `nuclei` of it in the table, and `density` of all that it shows."""
        return pd.read_parquet(self.layout.nuclei_patches(slide_id))

    def values(self, slide_id: str) -> dict[str, NDArray[np.float64]]:
        """Values by feature."""
        densities = self.patches(slide_id)["density"].to_numpy(np.float64)
        return feature_values(self.table(slide_id), densities)


def find_nuclei(tiles: Tiles, *, config: StudyConfig, reporter: Reporter) -> SlideNuclei:
    """Find and measure the nuclei of every slide that has no table yet.

    Raises
    ------
    WeightsError
        The network's weights do not open.
    SlideError
        Some slides tell their µm per pixel and others do not.
    """
    layout = Layout(config.out)
    in_um = _one_unit(tiles)
    segmenter, identity = _segmenter(config)
    keys = {s: store.digest("nuclei", SEGMENTING, k, identity) for s, k in tiles.keys.items()}
    # Outlines are for the eye: no model depends on them.
    shown = (config.nuclei.geojson, config.qupath_cropped)
    written = {s: store.digest(k, *shown) for s, k in keys.items()}
    todo = [
        slide
        for slide in slides_of(tiles.cohort.patients)
        if not store.step_is_done(layout.out, _step(slide), key=written[slide.slide_id])
    ]
    for slide in reporter.track(todo, "Finding nuclei"):
        files = _find_on_slide(slide, tiles, config=config, segmenter=segmenter)
        store.write_step(layout.out, _step(slide), key=written[slide.slide_id], files=files)
    reporter.done(
        "nuclei",
        f"{len(keys):,} slides" + (f", {len(todo):,} now" if todo else ", done before"),
    )
    return SlideNuclei(layout, keys, in_um)


def _find_on_slide(
    slide: Slide, tiles: Tiles, *, config: StudyConfig, segmenter: Finder | None
) -> list[Path]:
    """Find and measure a slide's nuclei, and return the files that tell of them."""
    layout = Layout(config.out)
    grid = tiles.grids[slide.slide_id]
    regions = regions_of(slide, config=config)
    cropped = config.qupath_cropped
    drawn = _Drawn(layout, slide, regions, cropped=cropped) if config.nuclei.geojson else None
    with ExitStack() as stack:
        reader = stack.enter_context(PatchReader(slide, grid, regions, config=config.patches))
        add = drawn.opened(stack) if drawn else {}
        nuclei, patches = measure_patches(
            reader, grid, regions=regions, config=config, segmenter=segmenter, add=add
        )
    files = [layout.nuclei(slide.slide_id), layout.nuclei_patches(slide.slide_id)]
    for path, table in zip(files, (nuclei, patches), strict=True):
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        store.write_bytes(path, buffer.getvalue())
    return files + (drawn.files if drawn else [])


class _Drawn:
    """Files for QuPath, one of each image of a slide; none where patches are all that there is."""

    def __init__(
        self, layout: Layout, slide: Slide, regions: Sequence[Region], *, cropped: bool
    ) -> None:
        several = len(slide.images) > 1
        shown = [] if any(region.files is not None for region in regions) else slide.images
        self._paths = {
            image: layout.nuclei_drawn(slide.slide_id, number if several else None)
            for number, image in enumerate(shown, start=1)
        }
        self._origins = {
            image: scanned_origin(image) if cropped else (0, 0) for image in self._paths
        }
        self._regions = regions

    @property
    def files(self) -> list[Path]:
        """What is written."""
        return list(self._paths.values())

    def opened(self, stack: ExitStack) -> dict[int, Callable[..., None]]:
        """`add_nuclei` to the file of each region, by its index, until the stack closes."""
        add = {
            image: partial(
                add_nuclei,
                stack.enter_context(store.writing_features(path)),
                origin=self._origins[image],
            )
            for image, path in self._paths.items()
        }
        return {region.index: add[region.image] for region in self._regions if region.image in add}


def _one_unit(tiles: Tiles) -> bool:
    """Whether all slides tell their scale; where none does, lengths are pixels.

    Raises
    ------
    SlideError
        Only some do: µm and pixels cannot be compared.
    """
    slides = slides_of(tiles.cohort.patients)
    without = [slide for slide in slides if tiles.grids[slide.slide_id].mpp is None]
    if without and len(without) < len(slides):
        raise SlideError(
            f"slide {without[0].slide_id} does not say its µm per pixel, as {len(without):,} of "
            f"{len(slides):,} do not, so nuclei cannot be measured alike.",
            "Give it in a column `mpp` of the table, or for all such slides as `slide_mpp`.",
            patient=without[0].patient_id,
            file=without[0].images[0],
        )
    return not without


def _step(slide: Slide) -> str:
    return f"nuclei/{slide.slide_id}"


def _segmenter(config: StudyConfig) -> tuple[Finder | None, str]:
    """The network and the digest of its weights; None for the classical way, fitted by slide."""
    own = config.nuclei
    if own.classical:
        return None, "classical"
    from axilla.nuclei.learned import SHIPPED

    way = Way(weights=own.weights or SHIPPED, tool=own.tool, tool_mpp=own.tool_mpp)
    segmenter = fixed_segmenter(way)
    identity = store.file_identity(own.weights or SHIPPED, content=True)
    if isinstance(segmenter, ToolSegmenter):
        identity = store.digest(own.tool, segmenter.mpp, identity)
    return segmenter, identity


def measure_patches(
    reader: PatchReader,
    grid: PatchGrid,
    *,
    regions: Sequence[Region],
    config: StudyConfig,
    segmenter: Finder | None,
    add: Mapping[int, Callable[..., None]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nuclei and patches of a slide; `add`, by region, takes outlines as `add_nuclei` does.

    Of what was seen before only measures and outlines are held, no pixels.
    """
    per_pixel, mpp = _scale(grid, config=config)
    px_per_unit = per_pixel / (1.0 if mpp is None else mpp)
    images = {region.index: region.image for region in regions}
    if len(grid) == 0:  # all of them white, and the patient has another slide
        none, _ = patch_nuclei(np.zeros((1, 1), np.int32), mpp=mpp)
        parts: list[Columns] = [{"patch": np.empty(0, np.int64)} | none]
        return _tables(gather(parts, grid, images=images, px_per_unit=px_per_unit), [])
    own, zoom, fine = _fitted(reader, grid, mpp=mpp, segmenter=segmenter)
    per_pixel /= fine
    parts, densities, rings = [], [], dict[int, Rings]()
    with working(own, len(grid)) as workers:
        for index, instances in enumerate(
            segment_patches(_read(reader, fine), own, zoom=zoom, workers=workers)
        ):
            nuclei, density = patch_nuclei(
                instances, mpp=mpp, enlarged=fine, inside=reader.inside(index)
            )
            if int(grid.region[index]) in add:
                rings[index] = Rings.of(instances, nuclei["nucleus"])
            # Centres from the patch's pixels to the slide's.
            for axis, name in enumerate(("x", "y")):
                nuclei[name] = grid.xy[index, axis] + (nuclei[name] + 0.5) * per_pixel
            parts.append({"patch": np.full(len(nuclei["nucleus"]), index)} | nuclei)
            densities.append(density)
    found = gather(parts, grid, images=images, px_per_unit=px_per_unit)
    for index, own_rings in rings.items():
        here = slice(*np.searchsorted(found["patch"], [index, index + 1]))
        measured = {name: values[here] for name, values in found.items()}
        placed = own_rings.placed(grid.xy[index], per_pixel=per_pixel)
        add[int(grid.region[index])](placed, measured, in_um=mpp is not None)
    return _tables(found, densities)


def _tables(found: Columns, densities: Sequence[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nuclei of all patches, and the patches."""
    table = pd.DataFrame({n: values for n, values in found.items() if n != "touches_edge"})
    counts = np.bincount(found["patch"], minlength=len(densities))
    patches = {
        "patch": np.arange(len(densities)),
        "nuclei": counts.astype(np.int64),
        "density": np.asarray(densities, np.float64),
    }
    return table, pd.DataFrame(patches)


def _scale(grid: PatchGrid, *, config: StudyConfig) -> tuple[float, MicronsPerPixel | None]:
    """Level-0 pixels and µm of a patch's own pixel, which differs where µm/px is set."""
    per_pixel = grid.size_level0 / config.patches.size
    return per_pixel, None if grid.mpp is None else MicronsPerPixel(grid.mpp * per_pixel)


def _fitted(
    reader: PatchReader,
    grid: PatchGrid,
    *,
    mpp: MicronsPerPixel | None,
    segmenter: Finder | None,
) -> tuple[Finder, float, int]:
    """The slide's segmenter, how much it enlarges, and how much patches are enlarged before."""
    chosen = np.linspace(0, len(grid) - 1, min(len(grid), _SAMPLED_PATCHES)).round().astype(int)
    sample = _Montage(reader.read(chosen))
    own = fit_classical(sample.pixels.reshape(-1, 3)[::4]) if segmenter is None else segmenter
    zoom = find_zoom(sample, own) if mpp is None else working_zoom(mpp)
    fine = max(1, math.ceil(zoom - 0.05))
    return own, zoom / fine, fine


def outlined_patches(
    slide: Slide, tiles: Tiles, rows: NDArray[np.int64], *, config: StudyConfig
) -> list[NDArray[np.uint8]]:
    """Some patches of a slide with the outlines of their nuclei, found again as they were found."""
    grid = tiles.grids[slide.slide_id]
    segmenter, _ = _segmenter(config)
    with PatchReader(
        slide, grid, regions_of(slide, config=config), config=config.patches
    ) as reader:
        _, mpp = _scale(grid, config=config)
        own, zoom, fine = _fitted(reader, grid, mpp=mpp, segmenter=segmenter)
        pixels = [_enlarged(patch, fine) for patch in reader.read(rows)]
        insides = [reader.inside(int(row)) for row in rows]
    return [
        outline_nuclei(patch, segment_pixels(patch, own, zoom=zoom), enlarged=fine, inside=inside)
        for patch, inside in zip(pixels, insides, strict=True)
    ]


def _read(reader: PatchReader, fine: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(reader), PATCHES_AT_ONCE):
        stop = min(start + PATCHES_AT_ONCE, len(reader))
        yield from (_enlarged(patch, fine) for patch in reader.read(np.arange(start, stop)))


def _enlarged(patch: NDArray[np.uint8], fine: int) -> NDArray[np.uint8]:
    """A patch whose nuclei are not small: what is measured of few pixels is biased."""
    if fine == 1:
        return patch
    side = fine * patch.shape[0]
    return np.asarray(cv2.resize(patch, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


class _Montage:
    """Patches side by side as one image, to tell stain and scale from."""

    def __init__(self, patches: NDArray[np.uint8]) -> None:
        self.pixels = np.concatenate(list(patches), axis=1)  # [size, n size, 3]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """A part of it."""
        return self.pixels[y : y + height, x : x + width]
