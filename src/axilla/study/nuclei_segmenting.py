"""Nuclei of one image: found by the shipped network or by colour, written as an instance map."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from axilla.core import store
from axilla.core.errors import SlideError, StoreError
from axilla.core.types import MicronsPerPixel
from axilla.nuclei.classical import ClassicalSegmenter, fit_classical
from axilla.nuclei.reading import MAX_PX
from axilla.nuclei.segmentation import (
    Segmenter,
    find_zoom,
    part_count,
    segment_image,
    working_zoom,
)
from axilla.wsi.slides import SlideReader, open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SAMPLED_SIDE, _SAMPLED_GRID = 256, 5
"""The stain of an image is told from 5 x 5 places of 256 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedNuclei:
    """What was found, and how."""

    instances: NDArray[np.int32]
    """[h, w], 0 is background."""
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
    classical: bool = False,
    weights: Path | None = None,
) -> SegmentedNuclei:
    """Find the nuclei of an image and write them as `inst_map`.

    Parameters
    ----------
    image
        A slide or picture of at most 2^28 pixels.
    out
        `.npz`, with `inst_map` int32 [h, w].
    mpp
        µm per pixel; goes before what the image tells.
    classical
        By colour deconvolution and watershed instead of the network.
    weights
        Of a network that `axilla nuclei train` or `fit` wrote; None for the shipped one.

    Raises
    ------
    SlideError, WeightsError
        The image or the weights do not open.
    StoreError
        `out` is not named .npz or cannot be written.
    """
    if out.suffix.lower() != ".npz":
        raise StoreError("is no name of an instance map.", "Name it .npz.", file=out)
    with open_slide(image, slide_id=image.stem, patient_id=image.stem) as reader:
        width, height = reader.size
        if width * height > MAX_PX:
            raise SlideError(
                f"has {width * height:,} pixels, an instance map at most {MAX_PX:,}.",
                "Cut the region of interest out of it.",
                file=image,
            )
        segmenter = image_segmenter(reader, classical=classical, weights=weights)
        scale = mpp if mpp is not None else reader.mpp
        zoom = find_zoom(reader, segmenter) if scale is None else working_zoom(scale)
        with working(segmenter, part_count(reader, zoom=zoom)) as workers:
            instances = segment_image(reader, segmenter, zoom=zoom, workers=workers)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, inst_map=instances)
    store.write_bytes(out, buffer.getvalue())
    as_learned = scale is None and segmenter.own_zoom is not None
    return SegmentedNuclei(instances, scale, zoom, as_learned)


def image_segmenter(
    reader: SlideReader, *, classical: bool = False, weights: Path | None = None
) -> Segmenter:
    """The segmenter of an image: the network, or one fitted to the image's own stain."""
    if classical:
        return fit_classical(_sample(reader))
    return network_segmenter(weights)


def network_segmenter(weights: Path | None = None) -> Segmenter:
    """The network of a file, or the shipped one, as this machine computes it best."""
    # Torch takes seconds to import, and the classical way does without.
    import torch

    from axilla.features.computing import multiplies_bfloat16
    from axilla.nuclei.learned import SHIPPED, LearnedSegmenter, read_network

    precision = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    return LearnedSegmenter(read_network(weights or SHIPPED), precision)


@contextmanager
def working(segmenter: Segmenter, jobs: int) -> Iterator[int]:
    """How many of so many parts or patches to take at once.

    Each on a core of its own is faster than all cores on one, then on the next.
    """
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
