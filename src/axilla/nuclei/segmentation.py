"""Nuclei of an image of any size, part by part, so that memory does not grow with it."""

from __future__ import annotations

import functools
import itertools
import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import cv2
import numpy as np
from scipy import ndimage

from axilla.core.errors import StatisticsError
from axilla.nuclei.splitting import LIKELY, split_nuclei, typical_radius_px

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Instances = NDArray[np.int32]
    Plane = NDArray[np.float32]

T = TypeVar("T")
R = TypeVar("R")
PART_PX = 512
HALO_PX = 64
"""A part is read with so much around it: a nucleus belongs to the part that has its centre.

What the network says of a pixel depends on 52 around it, and a nucleus's outline is 12 away."""
RADIUS_PX = 10.0
"""Median radius of the nuclei as segmenters like to see them."""
TYPICAL_RADIUS_PX = 12.0
"""The same, by area: half of the nuclear area lies in nuclei up to it."""
USUAL_RADIUS_UM = 4.0
"""Of tumour nuclei, lymphocytes and stroma together."""
WORKING_MPP = USUAL_RADIUS_UM / RADIUS_PX
"""µm per pixel of an image enlarged to that radius."""
ZOOMS = (0.25, 4.0)
"""Least and most that an image is enlarged."""
_SAMPLED_PX, _SAMPLED_PARTS, _ROUNDS = 512, 4, 2
_GLASS = 215
"""A pixel whose least colour is brighter shows no tissue."""


class Segmenter(Protocol):
    """What finds nuclear pixels, and how deep inside a nucleus they lie."""

    @property
    def zooms(self) -> tuple[float, ...]:
        """Enlargements worth trying where nobody knows the scale.

        One is enough for a segmenter that is as sure of what it finds at the wrong scale.
        """
        ...

    @property
    def own_zoom(self) -> float | None:
        """How much to enlarge images, for a segmenter made for one magnification."""
        ...

    def __call__(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """RGB [h, w, 3] to P(nuclear) and relative depth, each [h, w]."""
        ...

    def glance(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """The same in less time where it need only tell how large nuclei are."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ToolSegmenter:
    """What finds whole nuclei by itself, at a magnification of its own."""

    find: Callable[[Pixels], NDArray[Any]]
    """RGB [h, w, 3] to whole numbers [h, w]: 0, or the nucleus."""
    mpp: float
    """µm per pixel at which it is shown images."""
    scale: Segmenter
    """Tells the scale of images where nobody knows it."""
    own_zoom: None = None
    """As of `Segmenter`: the scale is told by that one."""


Finder = Segmenter | ToolSegmenter
"""Whatever finds nuclei."""


class Readable(Protocol):
    """An image that is read by parts."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """RGB [height, width, 3]; white outside the image."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Nuclei whose centres lie in one part of the image."""

    x: int
    y: int
    instances: Instances
    """[h, w] of the part with its halo, whose upper left pixel is (x, y)."""


def working_zoom(mpp: float) -> float:
    """How much to enlarge an image, by its µm per pixel, for nuclei of the usual size.

    Raises
    ------
    StatisticsError
        `mpp` is not above 0, or so large that nuclei are not seen.
    """
    if not (math.isfinite(mpp) and mpp > 0):
        raise StatisticsError(f"{mpp:g} µm per pixel is no scale.", "Give a number above 0.")
    zoom = RADIUS_PX * mpp / USUAL_RADIUS_UM
    if zoom > ZOOMS[1]:
        coarsest = ZOOMS[1] * USUAL_RADIUS_UM / RADIUS_PX
        raise StatisticsError(
            f"at {mpp:g} µm per pixel nuclei are not seen.",
            f"Give an image of at most {coarsest:g} µm per pixel.",
        )
    return max(zoom, ZOOMS[0])


def find_zoom(image: Readable, segmenter: Finder) -> float:
    """How much to enlarge an image whose scale nobody knows, by the size of what is found in it.

    Parts with tissue, spread over the image, are segmented at the segmenter's own enlargements; the
    one that shows most nuclear area with confidence is then made to fit the nuclei's radius, twice,
    since what is found depends on it. A segmenter made for one magnification is believed instead.
    """
    if isinstance(segmenter, ToolSegmenter):
        return find_zoom(image, segmenter.scale)
    if segmenter.own_zoom is not None:
        return segmenter.own_zoom
    pixels = _most_tissue(image)

    def look(zoom: float) -> tuple[float, float | None]:
        """How sure the segmenter is at an enlargement, and how large nuclei then are."""
        seen = [_confidence(part, segmenter, zoom) for part in pixels]
        radii = [radius for _, radius in seen if radius is not None]
        return sum(sure for sure, _ in seen), float(np.median(radii)) if radii else None

    looks = [look(zoom) for zoom in segmenter.zooms]
    _, radius = max(looks, key=lambda found: found[0])
    zoom = 1.0
    for turn in range(_ROUNDS):
        if radius is None:
            return 1.0
        zoom = float(np.clip(TYPICAL_RADIUS_PX / radius, *ZOOMS))
        if turn + 1 < _ROUNDS:
            _, radius = look(zoom)
    return zoom


def _most_tissue(image: Readable) -> list[Pixels]:
    """The parts with least glass of some that are spread over the image in both directions."""
    windows = list(_windows(image.size, side=_SAMPLED_PX))
    columns, rows = (sorted({window[axis] for window in windows}) for axis in (0, 1))
    some = [_spread(columns), _spread(rows)]
    read = [image.read(*w) for w in windows if w[0] in some[0] and w[1] in some[1]]
    read.sort(key=lambda part: -float((part.min(axis=2) < _GLASS).mean()))
    return read[:_SAMPLED_PARTS]


def _spread(places: list[int]) -> set[int]:
    """Some of them, evenly from the first to the last."""
    chosen = np.linspace(0, len(places) - 1, min(len(places), _SAMPLED_PARTS)).round().astype(int)
    return {places[i] for i in chosen}


def segment_parts(
    image: Readable, segmenter: Finder, *, zoom: float = 1.0, workers: int = 1
) -> Iterator[Part]:
    """Segment an image part by part, in order.

    Parameters
    ----------
    image
    segmenter
    zoom
        How much the segmenter sees the image enlarged; outlines are drawn at the image's own size.
    workers
        Parts at once, besides what the segmenter itself does in parallel.
    """

    def read() -> Iterator[tuple[int, int, tuple[int, int, int, int], Pixels]]:
        # Here, in one thread and from top to bottom: a large JPEG is decoded as it is read.
        for x, y, width, height in _windows(image.size, side=round(PART_PX / zoom)):
            halo = round(HALO_PX / zoom)
            left, top = min(halo, x), min(halo, y)
            right = min(halo, image.size[0] - x - width)
            bottom = min(halo, image.size[1] - y - height)
            pixels = image.read(x - left, y - top, left + width + right, top + height + bottom)
            yield x - left, y - top, (top, left, top + height, left + width), pixels

    def one(given: tuple[int, int, tuple[int, int, int, int], Pixels]) -> Part:
        x, y, core, pixels = given
        return Part(x, y, _owned(segment_pixels(pixels, segmenter, zoom=zoom), core))

    yield from _in_order(one, read(), workers=workers)


def segment_image(
    image: Readable, segmenter: Finder, *, zoom: float = 1.0, workers: int = 1
) -> Instances:
    """Instance map of a whole image, int32 [h, w]; 0 is background, nuclei are 1, 2, ..."""
    parts = segment_parts(image, segmenter, zoom=zoom, workers=workers)
    return joined(parts, size=image.size)


def joined(parts: Iterable[Part], *, size: tuple[int, int]) -> Instances:
    """Parts of an image of this width and height as one instance map, numbered 1, 2, ..."""
    width, height = size
    whole = np.zeros((height, width), np.int32)
    count = 0
    for part in parts:
        h, w = part.instances.shape
        window = whole[part.y : part.y + h, part.x : part.x + w]
        new = (part.instances > 0) & (window == 0)
        window[new] = part.instances[new] + count
        count += int(part.instances.max(initial=0))
    return whole


def part_count(image: Readable, *, zoom: float = 1.0) -> int:
    """Of how many parts `segment_parts` makes an image."""
    return sum(1 for _ in _windows(image.size, side=round(PART_PX / zoom)))


def segment_patches(
    patches: Iterable[Pixels], segmenter: Finder, *, zoom: float = 1.0, workers: int = 1
) -> Iterator[Instances]:
    """Nuclei of single patches [h, w, 3], in order, so many at once as there are workers."""
    one = functools.partial(segment_pixels, segmenter=segmenter, zoom=zoom)
    yield from _in_order(one, patches, workers=workers)


def segment_pixels(pixels: Pixels, segmenter: Finder, *, zoom: float = 1.0) -> Instances:
    """Nuclei of pixels [h, w, 3] that are in memory, int32 [h, w]."""
    if isinstance(segmenter, ToolSegmenter):
        return _found_by_tool(pixels, segmenter, zoom * WORKING_MPP / segmenter.mpp)
    nuclear, depth = _maps(pixels, segmenter.__call__, zoom)
    return split_nuclei(nuclear >= LIKELY, depth)


def _in_order(work: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """What work gives of each item, some at once; no more are begun than wait to be taken."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _maps(
    pixels: Pixels, look: Callable[[Pixels], tuple[Plane, Plane]], zoom: float
) -> tuple[Plane, Plane]:
    """What a segmenter's look says of the enlarged pixels, at their own size."""
    height, width = pixels.shape[:2]
    if abs(zoom - 1) < 0.05:
        return look(pixels)
    nuclear, depth = look(_enlarged(pixels, zoom))
    back = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        for plane in (nuclear, depth)
    ]
    return np.asarray(back[0], np.float32), np.asarray(back[1], np.float32)


def _enlarged(pixels: Pixels, zoom: float) -> Pixels:
    height, width = pixels.shape[:2]
    seen = cv2.resize(
        pixels, (max(1, round(width * zoom)), max(1, round(height * zoom))),
        interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC,
    )  # fmt: skip
    return np.asarray(seen, np.uint8)


def _found_by_tool(pixels: Pixels, tool: ToolSegmenter, zoom: float) -> Instances:
    """Nuclei of the pixels as the tool sees them enlarged, at their own size, from 1 on."""
    shape = pixels.shape[:2]
    as_is = abs(zoom - 1) < 0.05
    found = np.asarray(tool.find(pixels if as_is else _enlarged(pixels, zoom)), np.int32)
    if found.shape != shape:
        # The middle of each pixel, as `INTER_NEAREST` alone does not take it.
        rows, columns = (
            ((np.arange(own) + 0.5) * seen / own).astype(int)
            for own, seen in zip(shape, found.shape, strict=True)
        )
        found = found[rows[:, None], columns]
    numbers, places = np.unique(found, return_inverse=True)
    # The background is 0, whether it is seen or not.
    renumbered = places.reshape(shape) + (0 if numbers[0] == 0 else 1)
    return np.asarray(renumbered, np.int32)


def _confidence(pixels: Pixels, segmenter: Segmenter, zoom: float) -> tuple[float, float | None]:
    """How much surely nuclear area is seen at an enlargement, and the nuclei's radius."""
    nuclear, depth = _maps(pixels, segmenter.glance, zoom)
    instances = split_nuclei(nuclear >= LIKELY, depth)
    # Deep inside a nucleus of a size that the segmenter knows, both say 1.
    sure = (instances > 0) * (2 * nuclear - 1) * np.clip(depth, 0, 1)
    return float(sure.sum()), typical_radius_px(instances)


def _windows(size: tuple[int, int], *, side: int) -> Iterator[tuple[int, int, int, int]]:
    """x, y, width and height of parts of nearly equal size that cover the image."""
    width, height = size
    columns, rows = -(-width // side), -(-height // side)
    across = np.linspace(0, width, columns + 1).round().astype(int)
    down = np.linspace(0, height, rows + 1).round().astype(int)
    for y, y_end in itertools.pairwise(down):
        for x, x_end in itertools.pairwise(across):
            yield int(x), int(y), int(x_end - x), int(y_end - y)


def _owned(instances: Instances, core: tuple[int, int, int, int]) -> Instances:
    """Only nuclei whose centre lies within the core (top, left, bottom, right), numbered anew."""
    count = int(instances.max(initial=0))
    if not count:
        return instances
    centres = np.array(ndimage.center_of_mass(instances > 0, instances, np.arange(1, count + 1)))
    top, left, bottom, right = core
    # Half a pixel: a centre on the border belongs to the part below or on the right.
    y, x = centres[:, 0] + 0.5, centres[:, 1] + 0.5
    own = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    numbers = np.concatenate([[0], np.cumsum(own) * own])
    return np.asarray(numbers[instances], dtype=np.int32)
