"""Nuclei of one image: found by a network or by colour, written as an instance map or outlines."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from axilla.core import store
from axilla.core.errors import SlideError, StoreError, WeightsError
from axilla.core.nucleus_tools import NucleusTool
from axilla.core.types import MicronsPerPixel
from axilla.nuclei.classical import ClassicalSegmenter, fit_classical
from axilla.nuclei.morphometry import measure_nuclei
from axilla.nuclei.outlines import outlines
from axilla.nuclei.reading import MAX_PX
from axilla.nuclei.segmentation import (
    Finder,
    Part,
    Segmenter,
    ToolSegmenter,
    find_zoom,
    joined,
    part_count,
    segment_parts,
    working_zoom,
)
from axilla.study.nuclei_geojson import add_nuclei
from axilla.wsi.slides import SlideReader, open_slide, scanned_origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

_SAMPLED_SIDE, _SAMPLED_GRID = 256, 5
"""The stain of an image is told from 5 x 5 places of 256 pixels."""


@dataclass(frozen=True, slots=True)
class Way:
    """How nuclei are found: by the shipped network, unless something else is said."""

    classical: bool = False
    """By colour deconvolution and watershed."""
    weights: Path | None = None
    """Of a network that `axilla nuclei train` or `fit` wrote, or of the tool."""
    tool: NucleusTool | None = None
    """Another network, an extra; its weights are a local file."""
    tool_mpp: float | None = None
    """µm per pixel of the images that it was trained on; None for what its own models were."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedNuclei:
    """What was found, and how."""

    count: int
    """Nuclei."""
    mpp: MicronsPerPixel | None
    """µm per pixel; None where nobody knows, and the scale was told from the nuclei."""
    zoom: float
    """How much the image was enlarged for the segmenter."""
    as_learned: bool
    """Whether the image was taken to be of the magnification that the network learned from."""


def segment_file(
    image: Path,
    out: Path,
    *,
    mpp: MicronsPerPixel | None = None,
    way: Way | None = None,
    cropped: bool = True,
) -> SegmentedNuclei:
    """Find the nuclei of an image and write them as `inst_map`, or as outlines for QuPath.

    Parameters
    ----------
    image
        A slide or picture; for an instance map of at most 2^28 pixels.
    out
        `.npz`, with `inst_map` int32 [h, w]; or `.geojson`, written part by part, so that memory
        does not grow with the slide: each nucleus with its measurements, but for the common
        orientation, since its neighbours may lie in other parts.
    mpp
        µm per pixel; goes before what the image tells.
    way
        How; None is the shipped network.
    cropped
        Whether QuPath shows the scanned part of a slide only, and counts from its corner.

    Raises
    ------
    SlideError, WeightsError
        The image or the weights do not open.
    StoreError
        `out` is named otherwise or cannot be written.
    """
    kind = out.suffix.lower()
    if kind not in {".npz", ".geojson"}:
        raise StoreError(
            "is no name of an instance map.", "Name it .npz, or .geojson for QuPath.", file=out
        )
    with open_slide(image, slide_id=image.stem, patient_id=image.stem) as reader:
        width, height = reader.size
        if kind == ".npz" and width * height > MAX_PX:
            raise SlideError(
                f"has {width * height:,} pixels, an instance map at most {MAX_PX:,}.",
                "Cut the region of interest out of it, or name OUT .geojson.",
                file=image,
            )
        segmenter = image_segmenter(reader, way or Way())
        scale = mpp if mpp is not None else reader.mpp
        zoom = find_zoom(reader, segmenter) if scale is None else working_zoom(scale)
        origin = scanned_origin(image) if cropped else (0, 0)
        write = _write_map if kind == ".npz" else partial(_write_outlines, origin=origin)
        with working(segmenter, part_count(reader, zoom=zoom)) as workers:
            parts = segment_parts(reader, segmenter, zoom=zoom, workers=workers)
            count = write(out, parts, size=reader.size, mpp=scale)
    as_learned = scale is None and segmenter.own_zoom is not None
    return SegmentedNuclei(count, scale, zoom, as_learned)


def _write_map(
    out: Path, parts: Iterable[Part], *, size: tuple[int, int], mpp: MicronsPerPixel | None
) -> int:
    """The parts as one instance map, whose pixels have no unit."""
    del mpp
    instances = joined(parts, size=size)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, inst_map=instances)
    store.write_bytes(out, buffer.getvalue())
    return int(instances.max(initial=0))


def _write_outlines(
    out: Path,
    parts: Iterable[Part],
    *,
    size: tuple[int, int],
    mpp: MicronsPerPixel | None,
    origin: tuple[int, int],
) -> int:
    """The nuclei of each part for QuPath; none needs the size of the whole."""
    del size
    count = 0
    with store.writing_features(out) as add:
        for part in parts:
            # Neighbours may lie in other parts: what they have in common is not told.
            table = measure_nuclei(part.instances, mpp=mpp).drop(columns=["polarity", "density"])
            corner = np.array([part.x, part.y])
            rings = {n: ring + corner for n, ring in outlines(part.instances)}
            add_nuclei(add, rings, table, in_um=mpp is not None, origin=origin)
            count += len(table)
    return count


def image_segmenter(reader: SlideReader, way: Way) -> Finder:
    """What finds an image's nuclei; by colour it is fitted to the image's own stain."""
    return fit_classical(_sample(reader)) if way.classical else fixed_segmenter(way)


def fixed_segmenter(way: Way) -> Finder:
    """A network, ready to find nuclei of any image.

    Raises
    ------
    WeightsError
        Its weights do not open, or the tool is not installed.
    """
    if way.tool is None:
        return network_segmenter(way.weights)
    if way.weights is None:
        raise WeightsError(
            f"{way.tool} has no weights.",
            "Give a local file of them by --weights; none is fetched.",
        )
    from axilla.nuclei.tools import open_tool

    return open_tool(way.tool, way.weights, mpp=way.tool_mpp, scale=network_segmenter())


def network_segmenter(weights: Path | None = None) -> Segmenter:
    """The network of a file, or the shipped one, as this machine computes it best."""
    # Torch takes seconds to import, and the classical way does without.
    import torch

    from axilla.features.computing import multiplies_bfloat16
    from axilla.nuclei.learned import SHIPPED, LearnedSegmenter, read_network

    precision = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    return LearnedSegmenter(read_network(weights or SHIPPED), precision)


@contextmanager
def working(segmenter: Finder, jobs: int) -> Iterator[int]:
    """How many of so many parts or patches to take at once.

    Each on a core of its own is faster than all cores on one, then on the next.
    """
    if isinstance(segmenter, ToolSegmenter):
        yield 1  # it computes in parallel by itself, and is asked once at a time
        return
    if isinstance(segmenter, ClassicalSegmenter):
        yield max(1, min(os.cpu_count() or 1, jobs))
        return
    import torch

    threads = torch.get_num_threads()
    workers = max(1, min(threads, jobs))
    torch.set_num_threads(threads // workers)
    try:
        yield workers
    finally:
        torch.set_num_threads(threads)


def _sample(reader: SlideReader) -> NDArray[np.uint8]:
    """Pixels from all over the image, [n, 3]."""
    width, height = reader.size
    side = _SAMPLED_SIDE
    places = {
        (round(x), round(y))
        for x in np.linspace(0, max(0, width - side), _SAMPLED_GRID)
        for y in np.linspace(0, max(0, height - side), _SAMPLED_GRID)
    }
    parts = [
        reader.read(x, y, min(side, width), min(side, height)).reshape(-1, 3)[::4]
        for x, y in sorted(places)
    ]
    return np.concatenate(parts)
