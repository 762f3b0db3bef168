"""Nuclei of a slide's patches brought together: each once, and among its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.core.types import PatchGrid
from axilla.nuclei.morphometry import polarity
from axilla.nuclei.outlines import outlines
from axilla.nuclei.overlaps import overlapping, seen_first

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Outlines of a patch's nuclei, end to end: an array of each takes more than its points."""

    numbers: NDArray[np.int64]
    points: NDArray[np.float32]
    """[k, 2], pixels of the patch as it was segmented."""
    ends: NDArray[np.int64]
    """Where the outline of each ends."""

    @classmethod
    def of(cls, instances: NDArray[np.int32], numbers: NDArray[np.int64]) -> Rings:
        """The outlines of these nuclei."""
        kept = np.where(np.isin(instances, numbers), instances, 0).astype(np.int32)
        found = dict(outlines(kept))
        points = np.concatenate([np.empty((0, 2)), *found.values()])
        ends = np.cumsum([len(ring) for ring in found.values()], dtype=np.int64)
        return cls(np.array(list(found), np.int64), points.astype(np.float32), ends)

    def placed(
        self, corner: NDArray[np.integer], *, per_pixel: float
    ) -> dict[int, NDArray[np.float64]]:
        """By number, in level-0 pixels, of a patch at this corner."""
        points = corner + self.points.astype(np.float64) * per_pixel
        parts = np.split(points, self.ends[:-1])
        return dict(zip(self.numbers.tolist(), parts, strict=False))


def gather(
    parts: Sequence[Columns],
    grid: PatchGrid,
    *,
    images: Mapping[int, Path],
    px_per_unit: float,
) -> dict[str, NDArray[Any]]:
    """All nuclei of a slide, with `polarity` among all of their image.

    A nucleus that patches of one image share is told once, where it was seen first. A patch shows
    too few nuclei, and by its size more or less of them, to tell neighbours from.

    Parameters
    ----------
    parts
        Columns of each patch, in the grid's order: `patch`, `x` and `y` in level-0 pixels, and
        those of `measured_columns`.
    grid
    images
        Of each region. Of ready patches a region has one of its own, as its pixels are counted.
    px_per_unit
        Level-0 pixels of a unit of length.
    """
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    numbers = {image: number for number, image in enumerate(dict.fromkeys(images.values()))}
    image_of = np.array([numbers[images[region]] for region in grid.region.tolist()], np.int64)
    shared = np.zeros(len(grid), np.bool_)
    for number in np.unique(image_of):
        own = image_of == number
        shared[own] = overlapping(grid.xy[own], side=int(grid.size_level0))
    xy = np.column_stack([found["x"], found["y"]])
    minor = found["minor_axis"] * px_per_unit
    kept, patch = np.ones(len(xy), np.bool_), found["patch"]
    of_nucleus = image_of[patch]
    for number in np.unique(image_of):
        twice = np.flatnonzero(shared[patch] & (of_nucleus == number))
        kept[twice] = seen_first(xy[twice], minor[twice], patch[twice])
    columns = {name: values[kept] for name, values in found.items()}
    columns["polarity"] = np.full(int(kept.sum()), np.nan)
    for number in np.unique(image_of):
        own = of_nucleus[kept] == number
        columns["polarity"][own] = polarity(xy[kept][own], columns["orientation"][own])
    return columns
