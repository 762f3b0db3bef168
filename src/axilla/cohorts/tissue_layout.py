"""Where things lie on a generated slide: cores, tumour outlines, the patch grid, the witnesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from axilla.cohorts.synthetic_config import SyntheticConfig

Outline = NDArray[np.int32]
"""Vertices [n, 2] of a polygon, (x, y) in slide pixels, not closed."""

MARGIN = 44
"""Glass around the tissue in pixels; the corner's GENERATED is written on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Outlines of the biopsy cores and, within them, of the tumours."""

    cores: tuple[Outline, ...]
    tumours: tuple[Outline, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TumourGrid:
    """The tumour patches of a slide, and which of them are witnesses.

    `xy` int32 [n, 2] top left corners in slide pixels, `region` int32 [n] index of the outline,
    `cluster` int32 [n]: 0 for ordinary patches, otherwise the witness cluster's number.
    """

    xy: NDArray[np.int32]
    region: NDArray[np.int32]
    cluster: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _Core:
    """One core along x: the centre line and half thickness, both sampled at `x` [n]."""

    x: NDArray[np.float64]
    centre: NDArray[np.float64]
    half: NDArray[np.float64]

    def area(self) -> float:
        return float(np.trapezoid(2 * self.half, self.x))


def draw_layout(rng: np.random.Generator, *, config: SyntheticConfig) -> Layout:
    """Draw one to three cores and one to four tumour outlines within them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Must not depend on the patient's nodes, so that the layout does not either.
    config : SyntheticConfig
        `width`, `height` and `tumour_share` count here.

    Returns
    -------
    Layout
        Outlines in slide pixels, all inside the slide.
    """
    gap = 24
    room = (config.height - 2 * MARGIN + gap) / (2.5 * config.patch + gap)
    count = max(1, min(int(rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25])), int(room)))
    band = (config.height - 2 * MARGIN - (count - 1) * gap) / count
    cores = [
        _draw_core(rng, top=MARGIN + row * (band + gap), band=band, config=config)
        for row in range(count)
    ]
    wanted = rng.uniform(*config.tumour_share) * config.width * config.height
    share = min(0.92, wanted / (0.86 * sum(core.area() for core in cores)))
    tumours: list[Outline] = []
    for core in cores:
        pieces = 2 if rng.random() < (0.5, 0.3, 0.1)[count - 1] else 1
        tumours += _draw_tumours(rng, core, share=share, pieces=pieces)
    return Layout(cores=tuple(_outline(core) for core in cores), tumours=tuple(tumours))


def outline_mask(outlines: tuple[Outline, ...], *, config: SyntheticConfig) -> NDArray[np.uint8]:
    """1 inside any of the outlines, 0 elsewhere; uint8 [H, W]."""
    mask = np.zeros(config.shape, dtype=np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [outline], 1)
    return mask


def tumour_grid(
    tumours: tuple[Outline, ...],
    *,
    witness_share: float,
    rng: np.random.Generator,
    config: SyntheticConfig,
) -> TumourGrid:
    """Cut the outlines into patches and make a share of them witnesses, in contiguous clusters.

    The grid starts at the floor of each outline's bounding box and steps by `config.patch`, as a
    study's own grid does, so that a witness fills a whole patch (DESIGN, Patches).
    """
    size = config.patch
    corners: list[NDArray[np.int32]] = []
    regions: list[int] = []
    for index, outline in enumerate(tumours):
        x, y, width, height = cv2.boundingRect(outline)
        columns, rows = -(-width // size), -(-height // size)
        mask = np.zeros((rows * size, columns * size), dtype=np.uint8)
        cv2.fillPoly(mask, [outline - np.array([x, y], dtype=np.int32)], 1)
        inside = mask.reshape(rows, size, columns, size).mean(axis=(1, 3))
        kept = np.argwhere(1 - inside < config.max_blank)
        corners.append((kept[:, ::-1] * size + [x, y]).astype(np.int32))
        regions += [index] * len(kept)
    xy = np.concatenate(corners)
    region = np.array(regions, dtype=np.int32)
    cluster = _clusters(xy, region, count=round(witness_share * len(xy)), size=size, rng=rng)
    return TumourGrid(xy=xy, region=region, cluster=cluster)


def _clusters(
    xy: NDArray[np.int32],
    region: NDArray[np.int32],
    *,
    count: int,
    size: int,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Grow up to three clusters of touching patches until `count` are taken; int32 [n]."""
    cluster = np.zeros(len(xy), dtype=np.int32)
    if count == 0:
        return cluster
    touching = (np.abs(xy[:, None] - xy[None]).sum(axis=2) == size) & (
        region[:, None] == region[None]
    )
    quota = -(-count // int(rng.integers(1, 4)))
    number, taken, in_cluster = 0, 0, quota
    while taken < count:
        free = cluster == 0
        border = free & touching[cluster == number].any(axis=0) if number else ~free
        if in_cluster >= quota or not border.any():
            number, in_cluster, border = number + 1, 0, free
        cluster[rng.choice(np.flatnonzero(border))] = number
        taken, in_cluster = taken + 1, in_cluster + 1
    return cluster


def _draw_core(
    rng: np.random.Generator, *, top: float, band: float, config: SyntheticConfig
) -> _Core:
    start = MARGIN + rng.uniform(0, 40)
    end = config.width - MARGIN - rng.uniform(0, 40)
    s = np.linspace(0, 1, 72)
    thickness = min(band * rng.uniform(0.82, 0.96), 0.6 * config.height)
    slack = (band - thickness) / 2
    centre = top + band / 2 + slack * rng.uniform(-0.4, 0.4) + _wave(rng, s, amplitude=slack * 0.3)
    ragged = 1 + _wave(rng, s, amplitude=0.05) + 0.012 * rng.standard_normal(len(s))
    half = thickness / 2 * np.minimum(ragged, 1.06) * np.sqrt(1 - np.abs(2 * s - 1) ** 14)
    half = np.minimum(half, np.minimum(centre - top, top + band - centre))
    return _Core(x=start + s * (end - start), centre=centre, half=half)


def _draw_tumours(
    rng: np.random.Generator, core: _Core, *, share: float, pieces: int
) -> list[Outline]:
    """Cut `pieces` stretches out of a core that cover `share` of its length together."""
    gap = 0.05 * (pieces - 1)
    share = min(share, 0.95 - gap)
    cut = rng.uniform(0.4, 0.6) if pieces == 2 else 1.0
    start = rng.uniform(0.025, 0.975 - share - gap)
    outlines = []
    for length in (share * cut, share * (1 - cut))[:pieces]:
        t = np.linspace(0, 1, 20)
        s = start + t * length
        x = core.x[0] + s * (core.x[-1] - core.x[0])
        cap = np.sqrt(np.clip(1 - np.abs(2 * t - 1) ** 8, 0.02, None))
        inset = rng.uniform(0.88, 0.97)
        half = np.interp(x, core.x, core.half) * cap * inset
        lift = _wave(rng, t, amplitude=0.02) * half
        centre = np.interp(x, core.x, core.centre) + lift
        outlines.append(_outline(_Core(x=x, centre=centre, half=half)))
        start += length + gap
    return outlines


def _outline(core: _Core) -> Outline:
    upper = np.stack([core.x, core.centre - core.half], axis=1)
    lower = np.stack([core.x, core.centre + core.half], axis=1)[::-1]
    vertices = np.rint(np.concatenate([upper, lower])).astype(np.int32)
    repeated = (vertices == np.roll(vertices, 1, axis=0)).all(axis=1)
    kept: Outline = vertices[~repeated]
    return kept


def _wave(
    rng: np.random.Generator, s: NDArray[np.float64], *, amplitude: float
) -> NDArray[np.float64]:
    """A slow random curve over `s` in 0 to 1, about `amplitude` high."""
    frequency = np.array([[1.0], [2.3], [4.1]])
    phase = rng.uniform(0, 2 * np.pi, size=(3, 1))
    weight = np.array([[0.6], [0.3], [0.2]]) * amplitude
    curve: NDArray[np.float64] = (weight * np.sin(2 * np.pi * frequency * s + phase)).sum(axis=0)
    return curve
