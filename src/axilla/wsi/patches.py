"""Regions to patches: coordinates and a reader, never files (DESIGN, Patches)."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from axilla.core.errors import AnnotationError, SlideError
from axilla.core.types import PatchGrid, SlidePixels
from axilla.wsi.annotations import check_regions
from axilla.wsi.flat_readers import Closing
from axilla.wsi.grid import columns_and_rows
from axilla.wsi.masks import inside_mask, patch_mask, polygon_edges
from axilla.wsi.ready import ReadyWindow
from axilla.wsi.scale import patch_side_level0, slide_mpp
from axilla.wsi.slides import open_slide
from axilla.wsi.whiteness import white_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from axilla.core.config import Patches
    from axilla.core.types import MicronsPerPixel, Region, Slide
    from axilla.wsi.slides import SlideReader

_STRIP_PX = 16_000_000
"""Most pixels read at once: a strip across a whole slide is cut where it would be larger."""
_MAX_OPEN = 16
"""Most images of one slide held open at once."""
_MAX_HELD = 256 << 20
"""Most bytes of images that are held decoded beside the one that is read."""


class OpenImage(Protocol):
    """How an image of a slide is opened: `open_slide`, or a test's stand-in."""

    def __call__(self, path: Path, *, slide_id: str, patient_id: str, max_px: int) -> SlideReader:
        """Open the image of a slide."""
        ...


def cut_patches(
    slide: Slide,
    regions: Iterable[Region],
    *,
    config: Patches,
    open_image: OpenImage = open_slide,
) -> PatchGrid:
    """Cut regions into patches, and keep those with tissue enough.

    A region's grid starts at the top left of its bounding box (whole pixels) and goes on in steps
    of a patch; the last column and row are padded with white, or moved inwards (`edge: shift`).
    Pixels whose centre is outside the polygon are white; a patch whose share of white pixels is
    `max_blank` or more is dropped and counted (paper, section 2.2). Ready patches are all kept.

    Parameters
    ----------
    slide
        Whose regions they are.
    regions
        Of `find_regions`; their indices are the grid's `region`.
    config
        `patches` of the study. With `mpp` set, a patch spans round(size * mpp / slide's mpp)
        level-0 pixels and is judged as it is read, at its own size.

    Raises
    ------
    SlideError
        An image cannot be read, or `mpp` is set and the slide does not say its µm/px.
    AnnotationError
        More than 1 % of a region lies outside the slide.
    """
    return _cut(slide, regions, config=config, open_image=open_image, taken=None)


def cut_and_read(
    slide: Slide,
    regions: Iterable[Region],
    *,
    config: Patches,
    most_bytes: int | None = None,
    open_image: OpenImage = open_slide,
) -> tuple[PatchGrid, NDArray[np.uint8] | None]:
    """`cut_patches`, then `PatchReader.read_all`, with every image opened and decoded once.

    Returns
    -------
    The grid, and its patches in the grid's order, RGB uint8 [n, size, size, 3]; None where they
    are more than `most_bytes`.

    Raises
    ------
    SlideError, AnnotationError
        As `cut_patches`.
    """
    taken = _Taken(config.size, most_bytes)
    grid = _cut(slide, regions, config=config, open_image=open_image, taken=taken)
    return grid, taken.all()


class _Taken:
    """Patches as they are cut, as far as there is room; none of them where there is not."""

    def __init__(self, size: int, most_bytes: int | None) -> None:
        self._each = 3 * size**2
        self._left = most_bytes
        self._parts: list[NDArray[np.uint8]] | None = [np.empty((0, size, size, 3), np.uint8)]

    def room(self, patches: int) -> bool:
        """Whether so many more may be taken; where not, all that were taken are let go."""
        if self._parts is not None and self._left is not None:
            self._left -= patches * self._each
            if self._left < 0:
                self._parts = None
        return self._parts is not None

    def take(self, patches: NDArray[np.uint8]) -> None:
        if self._parts is not None:
            self._parts.append(patches)

    def all(self) -> NDArray[np.uint8] | None:
        if self._parts is None:
            return None
        return self._parts[1] if len(self._parts) == 2 else np.concatenate(self._parts)


def _cut(
    slide: Slide,
    regions: Iterable[Region],
    *,
    config: Patches,
    open_image: OpenImage,
    taken: _Taken | None,
) -> PatchGrid:
    """The grid; each region's kept patches are taken while its image is open."""
    kept: list[tuple[int, int, int, float]] = []
    dropped = repaired = 0
    with _Images(slide, config=config, open_image=open_image, max_open=1) as images:
        for region in regions:
            repaired += region.repaired
            window = images.window(region)
            judged = list(window.judge())
            found = (
                judged
                if region.files is not None
                else [patch for patch in judged if patch[2] < config.max_blank]
            )
            kept.extend((region.index, *patch) for patch in found)
            dropped += len(judged) - len(found)
            if taken is not None and taken.room(len(found)):
                taken.take(window.patches([(x, y) for x, y, _ in found]))
        mpp, size_level0 = images.scale()
    table = np.array(kept, dtype=np.float64).reshape(-1, 4)
    return PatchGrid(
        slide_id=slide.slide_id,
        region=table[:, 0].astype(np.int32),
        xy=table[:, 1:3].astype(np.int32),
        white_share=table[:, 3].astype(np.float32),
        size_level0=SlidePixels(size_level0),
        dropped=dropped,
        mpp=mpp,
        repaired=repaired,
    )


class PatchReader(Closing):
    """Pixels of a grid's patches, the same that `cut_patches` judged.

    Parameters
    ----------
    slide, grid, regions, config
        What `cut_patches` took and gave.

    Notes
    -----
    A context manager; it keeps its images open (at most 16) between calls.
    """

    def __init__(
        self,
        slide: Slide,
        grid: PatchGrid,
        regions: Iterable[Region],
        config: Patches,
        *,
        open_image: OpenImage = open_slide,
    ) -> None:
        self._grid = grid
        self._regions = {region.index: region for region in regions}
        self._size = config.size
        self._images = _Images(slide, config=config, open_image=open_image, max_open=_MAX_OPEN)

    def __len__(self) -> int:
        return len(self._grid)

    def close(self) -> None:
        """Let go of the images."""
        self._images.close()

    def read(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Read patches by their place in the grid, as RGB uint8 [n, size, size, 3]."""
        wanted = np.asarray(indices, dtype=np.int64)
        out = np.empty((len(wanted), self._size, self._size, 3), np.uint8)
        # Region by region, so that a bag does not open the same image again and again, and each
        # from top to bottom, as a large flat image is decoded.
        lefts, tops = self._grid.xy[wanted].T
        for place in np.lexsort((lefts, tops, self._grid.region[wanted])):
            index = wanted[place]
            window = self._images.window(self._regions[int(self._grid.region[index])])
            x, y = self._grid.xy[index].tolist()
            out[place] = window.patch(x, y)
        return out

    def read_all(self) -> NDArray[np.uint8]:
        """Read all patches in the grid's order, as RGB uint8 [n, size, size, 3]."""
        return self.read(np.arange(len(self._grid)))

    def inside(self, index: int) -> NDArray[np.uint8]:
        """Which pixels of a patch show the slide within the outline, uint8 [size, size], 1 or 0.

        All of them where patches come as files: nobody knows what they were cut from.
        """
        region = self._regions[int(self._grid.region[index])]
        if region.files is not None:
            return np.ones((self._size, self._size), np.uint8)
        x, y = self._grid.xy[index].tolist()
        return patch_mask(
            self._images.edges(region), x=x, y=y,
            side=int(self._grid.size_level0), size=self._size,
            image_size=self._images.size(region.image),
        )  # fmt: skip


class _Images:
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

    def window(self, region: Region) -> _Window | ReadyWindow:
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
        return _Window(
            reader,
            region=region,
            edges=self._edges.get(region.index),
            config=self._config,
            side=self.scale()[1],
        )


class _Window:
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
