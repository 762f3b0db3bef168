"""Nuclei as small pre-rasterised ellipses, stamped one by one without overlap."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NucleusKind = Literal["stroma", "lymphocyte", "tumour"]
NUCLEUS_KINDS: tuple[NucleusKind, ...] = ("stroma", "lymphocyte", "tumour")
"""Names of the codes in `NucleiCanvas.kinds`."""

ANGLES = 16
SHAPES = 3
AREA_STEP = 1.13
ASPECT_STEP = 1.10
TRIES = 9
"""How often a nucleus that would touch another is moved a little before it is given up."""


@dataclass(frozen=True, slots=True, eq=False)
class Seeds:
    """Nuclei to be stamped, all arrays of length n.

    `xy` float [n, 2] centres in slide pixels, `area` px², `aspect` major over minor axis, `angle`
    of the major axis in radians (image coordinates, y down), `darkness` haematoxylin at the rim.
    """

    xy: NDArray[np.float64]
    area: NDArray[np.float64]
    aspect: NDArray[np.float64]
    angle: NDArray[np.float64]
    darkness: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NucleiCanvas:
    """What has been stamped so far.

    `haematoxylin` float32 [H, W] concentration, `inst_map` int32 [H, W] with 0 for no nucleus and
    otherwise 1 + the index of the nucleus in `kinds`.
    """

    haematoxylin: NDArray[np.float32]
    inst_map: NDArray[np.int32]
    kinds: list[int] = field(default_factory=list)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> NucleiCanvas:
        """Make a canvas of `shape` (height, width) with no nucleus on it."""
        return cls(np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class _Stamp:
    """Square arrays of one nucleus: its stain 0 to 1, its mask, and the mask with a free rim."""

    stain: NDArray[np.float32]
    mask: NDArray[np.bool_]
    rim: NDArray[np.bool_]


def stamp_nuclei(
    canvas: NucleiCanvas,
    seeds: Seeds,
    *,
    kind: NucleusKind,
    allowed: NDArray[np.uint8],
    rng: np.random.Generator,
) -> None:
    """Stamp nuclei onto the canvas, in place, wherever there is room for them.

    Parameters
    ----------
    canvas : NucleiCanvas
        Changed in place.
    seeds : Seeds
        A nucleus that would touch another is moved by a few pixels, up to `TRIES` times.
    kind : {"stroma", "lymphocyte", "tumour"}
        Written to `canvas.kinds`.
    allowed : uint8 [H, W]
        A nucleus's centre must lie where this is not 0.
    rng : numpy.random.Generator
        Draws shapes and moves.
    """
    n = len(seeds.xy)
    height, width = canvas.inst_map.shape
    keys = np.stack(
        [
            np.rint(np.log(seeds.area) / np.log(AREA_STEP)),
            np.rint(np.log(seeds.aspect) / np.log(ASPECT_STEP)),
            np.floor(seeds.angle / np.pi * ANGLES) % ANGLES,
            rng.integers(0, SHAPES, n),
        ],
        axis=1,
    ).astype(np.int64)
    reach = np.sqrt(seeds.area)[:, None, None] * 0.55
    moves = rng.standard_normal((n, TRIES, 2)) * reach * np.sqrt(np.arange(TRIES))[:, None]
    places = np.rint(seeds.xy[:, None] + moves).astype(np.int64).tolist()
    code = NUCLEUS_KINDS.index(kind)
    inst, haematoxylin = canvas.inst_map, canvas.haematoxylin
    for key, tries, darkness in zip(keys.tolist(), places, seeds.darkness.tolist(), strict=True):
        stamp = _stamp(*key)
        half = len(stamp.mask) // 2
        for x, y in tries:
            if not (half <= x < width - half and half <= y < height - half and allowed[y, x]):
                continue
            window = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
            if inst[window][stamp.rim].any():
                continue
            canvas.kinds.append(code)
            inst[window][stamp.mask] = len(canvas.kinds)
            painted = haematoxylin[window]
            np.maximum(painted, stamp.stain * darkness, out=painted)
            break


@lru_cache(maxsize=8192)
def _stamp(area_step: int, aspect_step: int, angle_step: int, shape: int) -> _Stamp:
    area, aspect = AREA_STEP**area_step, max(1.0, ASPECT_STEP**aspect_step)
    minor = np.sqrt(area / aspect / np.pi)
    major = minor * aspect
    angle = (angle_step + 0.5) * np.pi / ANGLES
    half = int(np.ceil(major)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = y * np.cos(angle) - x * np.sin(angle)
    around = np.arctan2(v / minor, u / major)
    dent = 1 + 0.05 * np.cos(3 * around + 2.1 * shape) + 0.03 * np.cos(2 * around + shape)
    radius = np.hypot(u / major, v / minor) / dent + 1e-9
    slope = np.hypot(u / major**2, v / minor**2) / radius
    distance = (radius - 1) / np.maximum(slope, 1e-9)
    edge = np.clip(0.5 - distance / 1.5, 0, 1)
    vesicle = 0.76 + 0.24 * np.clip(radius, 0, 1) ** 2
    if shape == 0:  # a nucleolus in every third nucleus
        vesicle = np.maximum(vesicle, np.exp(-(((x - 1) ** 2 + y**2) / 1.5)))
    mask = distance <= 0
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > 0
    return _Stamp((edge * vesicle).astype(np.float32), mask, rim)
