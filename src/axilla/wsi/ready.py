"""Patches that come as files `<slide>_<region>_<x>_<y>.jpg`, used as they are (DESIGN, Regions)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from axilla.core.errors import Problem, SlideError
from axilla.core.patch_names import PatchName, parse_patch_name
from axilla.core.slide_files import name_key
from axilla.core.types import Region
from axilla.wsi.slides import open_slide, slide_size
from axilla.wsi.whiteness import white_share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from axilla.core.config import Patches
    from axilla.core.types import Slide
    from axilla.wsi.slide_images import OpenImage
    from axilla.wsi.slides import SlideReader


def ready_patches(slide: Slide) -> dict[PatchName, Path]:
    """The slide's patch files by name, in the order of a grid: by region, row and column.

    Raises
    ------
    SlideError
        A file's name does not say which patch of the slide it is, or two say the same.
    """
    found: dict[PatchName, Path] = {}
    for path in slide.images:
        name = parse_patch_name(name_key(path.stem))
        if name is None or name.slide_id != name_key(slide.slide_id) or name in found:
            raise SlideError(
                f"the name does not say which patch of slide {slide.slide_id} it is, or another "
                "file says the same.",
                f"Name it {slide.slide_id}_<region>_<x>_<y>, as BCNB does.",
                patient=slide.patient_id,
                file=path,
            )
        found[name] = path
    return dict(sorted(found.items(), key=lambda item: (item[0].region, item[0].y, item[0].x)))


def ready_regions(slide: Slide) -> tuple[Region, ...]:
    """Ready patches as the regions that they were cut from.

    Raises
    ------
    SlideError
        As `ready_patches`.
    """
    files: dict[int, dict[tuple[int, int], Path]] = {}
    for name, path in ready_patches(slide).items():
        files.setdefault(name.region, {})[name.x, name.y] = path
    return tuple(
        Region(
            index=index,
            image=next(iter(own.values())),
            polygon=None,
            source="patches",
            files=own,
        )
        for index, own in files.items()
    )


def check_ready(slide: Slide, *, config: Patches) -> tuple[Problem, ...]:
    """Find the patch files that are not `patches.size` wide and high, from their headers alone.

    Raises
    ------
    SlideError
        A header cannot be read.
    """
    wrong = [
        (path, size)
        for path in slide.images
        if (size := slide_size(path, slide_id=slide.slide_id, patient_id=slide.patient_id))
        != (config.size, config.size)
    ]
    if not wrong:
        return ()
    path, size = wrong[0]
    return (
        Problem(
            cause=_wrong_size(size, config) + f" ({len(wrong)} of {len(slide.images)} patches of "
            f"slide {slide.slide_id}).",
            remedy="Set patches.size to the size of the patches; all must have the same.",
            patient=slide.patient_id,
            file=path,
            fatal=False,
        ),
    )


class ReadyWindow:
    """A region whose patches are files: read as a region that is cut here."""

    def __init__(
        self, region: Region, *, slide: Slide, config: Patches, open_image: OpenImage
    ) -> None:
        self._files: Mapping[tuple[int, int], Path] = region.files or {}
        self._slide = slide
        self._config = config
        self._open_image = open_image

    def patches(self, corners: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
        """The patch files of all (x, y): uint8 [n, size, size, 3]."""
        size = self._config.size
        out = np.empty((len(corners), size, size, 3), np.uint8)
        for index, (x, y) in enumerate(corners):
            out[index] = self.patch(x, y)
        return out

    def patch(self, x: int, y: int) -> NDArray[np.uint8]:
        """The patch file of (x, y): uint8 [size, size, 3]."""
        path, size = self._files[x, y], self._config.size
        slide = self._slide
        with self._open_image(
            path, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
        ) as reader:
            if reader.size != (size, size):
                raise SlideError(
                    _wrong_size(reader.size, self._config) + ".",
                    "Set patches.size to the size of the patches; all must have the same.",
                    patient=self._slide.patient_id,
                    file=path,
                )
            return reader.read(0, 0, size, size)

    def judge(self) -> Iterator[tuple[int, int, float]]:
        """(x, y, share of white pixels) of every patch file."""
        for x, y in self._files:
            yield x, y, white_share(self.patch(x, y), config=self._config)


def region_overview(
    region: Region, *, slide: Slide, max_side: int, open_image: OpenImage = open_slide
) -> tuple[NDArray[np.uint8], float]:
    """A region's patch files side by side, white between: what a thumbnail is to an image.

    Returns
    -------
    RGB uint8 [h, w, 3], no side longer than `max_side`, and level-0 pixels a pixel of it.
    """
    files = region.files or {}

    def opened(path: Path) -> SlideReader:
        return open_image(
            path, slide_id=slide.slide_id, patient_id=slide.patient_id, max_px=slide.max_px
        )

    with opened(region.image) as first:
        side = first.size[0]
    width, height = (max(corner[axis] for corner in files) + side for axis in (0, 1))
    scale = max(1.0, max(width, height) / max_side)
    canvas = np.full((max(1, int(height / scale)), max(1, int(width / scale)), 3), 255, np.uint8)
    for (x, y), path in files.items():
        left, top, right, bottom = (int(v / scale) for v in (x, y, x + side, y + side))
        box = canvas[top:bottom, left:right]
        if box.size == 0:
            continue
        with opened(path) as reader:
            pixels = reader.read(0, 0, side, side)
        box[:] = cv2.resize(pixels, box.shape[1::-1], interpolation=cv2.INTER_AREA)
    return canvas, scale


def _wrong_size(size: tuple[int, int], config: Patches) -> str:
    return f"the patch has {size[0]} x {size[1]} pixels, and `patches.size` is {config.size}"
