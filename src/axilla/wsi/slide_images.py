"""The open images of a slide, and regions seen through them patch by patch."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from axilla.core.errors import AnnotationError, SlideError
from axilla.wsi.annotations import check_regions
from axilla.wsi.grid import columns_and_rows
from axilla.wsi.masks import inside_mask, polygon_edges
from axilla.wsi.ready import ReadyWindow
from axilla.wsi.scale import patch_side_level0, slide_mpp
from axilla.wsi.whiteness import white_share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from axilla.core.config import Patches
    from axilla.core.types import MicronsPerPixel, Region, Slide
    from axilla.wsi.slides import SlideReader

_STRIP_PX = 16_000_000
"""Most pixels read at once: a strip across a whole slide is cut where it would be larger."""
_MAX_HELD = 256 << 20
"""Most bytes of images that are held decoded beside the one that is read."""


class OpenImage(Protocol):
    """How an image of a slide is opened: `open_slide`, or a test's stand-in."""

    def __call__(self, path: Path, *, slide_id: str, patient_id: str, max_px: int) -> SlideReader:
        """Open the image of a slide."""
        ...


class SlideImages:
    """Open images of one slide, the least recently used closed first."""

    def __init__(
        self, slide: Slide, *, config: Patches, open_image: OpenImage, max_open: int
    ) -> None:
        self._slide = slide
        self._config = config
        self._open_image = open_image
        self._max_open = max_open
        self._readers: OrderedDict[Path, SlideReader] = OrderedDict()
        self._edges: dict[int, NDArray[np.float64]] = {}
        self._sizes: dict[Path, tuple[int, int]] = {}
        self._scale: tuple[MicronsPerPixel | None, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all of them."""
        with ExitStack() as stack:
            while self._readers:
                stack.callback(self._readers.popitem()[1].close)

    def scale(self) -> tuple[MicronsPerPixel | None, int]:
        """µm per level-0 pixel, and the side of a patch in level-0 pixels."""
        if self._scale is None:
            self.reader(self._slide.images[0])
        assert self._scale is not None  # noqa: S101 - `reader` sets it
        return self._scale

    def reader(self, image: Path) -> SlideReader:
        """The image, opened if it is not; SlideError where its scale is not the others'."""
        if image in self._readers:
            self._readers.move_to_end(image)
            return self._readers[image]
        while self._readers and (
            len(self._readers) >= self._max_open
            or sum(held.held_bytes for held in self._readers.values()) > _MAX_HELD
        ):
            self._readers.popitem(last=False)[1].close()
        reader = self._open_image(
            image,
            slide_id=self._slide.slide_id,
            patient_id=self._slide.patient_id,
            max_px=self._slide.max_px,
        )
        self._readers[image] = reader
        self._sizes[image] = reader.size
        mpp = slide_mpp(self._slide, reader.mpp, image=image)
        scale = (mpp, patch_side_level0(self._slide, mpp, config=self._config, image=image))
        if self._scale is not None and self._scale[1] != scale[1]:
            raise SlideError(
                f"the images of slide {self._slide.slide_id} differ in their µm/px "
                f"({self._scale[0]} and {scale[0]}).",
                "Give them as slides of their own, or set patches.mpp: null.",
                patient=self._slide.patient_id,
                file=image,
            )
        self._scale = self._scale or scale
        return reader

    def size(self, image: Path) -> tuple[int, int]:
        """Width and height of an image, which is opened only if it never was."""
        if image not in self._sizes:
            self.reader(image)
        return self._sizes[image]

    def edges(self, region: Region) -> NDArray[np.float64] | None:
        """Edges of a region's outline; None where it has none."""
        if region.polygon is not None and region.index not in self._edges:
            self.window(region)
        return self._edges.get(region.index)

    def window(self, region: Region) -> RegionWindow | ReadyWindow:
        """A region to read patches from; AnnotationError where it lies outside of its image."""
        if region.files is not None:
            return ReadyWindow(
                region, slide=self._slide, config=self._config, open_image=self._open_image
            )
        reader = self.reader(region.image)
        if region.index not in self._edges and region.polygon is not None:
            for problem in check_regions(
                (region,), size=reader.size, patient_id=self._slide.patient_id, file=region.image
            ):
                raise AnnotationError(
                    problem.cause, problem.remedy, patient=problem.patient, file=problem.file
                )
            self._edges[region.index] = polygon_edges(region.polygon)
        return RegionWindow(
            reader,
            region=region,
            edges=self._edges.get(region.index),
            config=self._config,
            side=self.scale()[1],
        )


class RegionWindow:
    """One region of an open image, as a grid of patches."""

    def __init__(
        self,
        reader: SlideReader,
        *,
        region: Region,
        edges: NDArray[np.float64] | None,
        config: Patches,
        side: int,
    ) -> None:
        self._reader = reader
        self._region = region
        self._edges = edges
        self._config = config
        self._side = side

    def patch(self, x: int, y: int) -> NDArray[np.uint8]:
        """The patch at (x, y), white outside the polygon: uint8 [size, size, 3], not to be changed.

        It is a view of the decoded image where that can be.
        """
        size, side = self._config.size, self._side
        if side == size:
            pixels = self._reader.read(x, y, size, size)
        else:
            pixels = self._reader.read_resized(x, y, side, size)
        if self._edges is not None:
            inside = inside_mask(self._edges, x=x, y=y, width=size, height=size, step=side / size)
            if not inside.all():
                pixels = pixels.copy()
                pixels[inside == 0] = 255
        return pixels

    def patches(self, corners: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
        """The patches at these (x, y), each copied once: uint8 [n, size, size, 3]."""
        out = np.empty((len(corners), self._config.size, self._config.size, 3), np.uint8)
        for place, (x, y) in enumerate(corners):
            out[place] = self.patch(x, y)
        return out

    def judge(self) -> Iterator[tuple[int, int, float]]:
        """(x, y, share of white pixels) of every patch of the grid, row by row."""
        xs, ys = self._grid()
        area = self._config.size**2
        if self._side != self._config.size:
            # A resized strip is not the resized patches side by side: each is read as it will be.
            for y in ys:
                for x in xs:
                    yield x, y, white_share(self.patch(x, y), config=self._config)
            return
        columns = max(1, _STRIP_PX // area)
        for y in ys:
            for first in range(0, len(xs), columns):
                yield from self._judge_strip(xs[first : first + columns], y)

    def _judge_strip(self, xs: list[int], y: int) -> Iterator[tuple[int, int, float]]:
        """Patches of one row; what lies outside the slide is white and need not be read."""
        size = self._side
        slide_width, slide_height = self._reader.size
        left, right = max(xs[0], 0), min(xs[-1] + size, slide_width)
        top, bottom = max(y, 0), min(y + size, slide_height)
        width, height = max(right - left, 0), max(bottom - top, 0)
        strip = self._reader.read(left, top, width, height)
        inside = (
            None
            if self._edges is None
            else inside_mask(self._edges, x=left, y=top, width=width, height=height)
        )
        for x in xs:
            part = slice(max(x - left, 0), max(x + size - left, 0))
            pixels = strip[:, part]
            mask = None if inside is None else inside[:, part]
            share = white_share(pixels, config=self._config, inside=mask, area=size**2)
            yield x, y, share

    def _grid(self) -> tuple[list[int], list[int]]:
        return columns_and_rows(
            self._region, size=self._reader.size, side=self._side, edge=self._config.edge
        )
