"""Training samples for nuclei: any scale, turn and stain of a few outlined images.

Few laboratories outline nuclei for all to use, and others stain and scan otherwise. What an image
of another organ or scanner may look like is therefore drawn here: the size of the nuclei, both
stains' colours and strengths, the tint of the light, eosin where there was none, blur and noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Instances = NDArray[np.int32]
    Plane = NDArray[np.float32]

RADIUS_PX = (5.0, 17.0)
"""The median radius of a sample's nuclei is drawn between these, evenly in its logarithm."""
_ZOOM = (0.35, 2.5)
_STRETCH = 0.12
_STAINS = np.array(
    [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]], np.float32
)
"""Haematoxylin, eosin and what is neither (Ruifrok 2001), optical density of red, green, blue."""
_PALE = 0.25
"""Mean optical density of the background (beyond its own tint) below which eosin may be added."""


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedImage:
    """An image whose nuclei are all outlined."""

    image: Image
    """RGB [h, w, 3]."""
    instances: Instances
    """[h, w], 0 is background, -1 where nobody knows; numbers as small as `numbered` makes them."""
    weight: float = 1.0
    """How often it is drawn, beside the others."""

    @property
    def radius_px(self) -> float:
        """Median radius of a circle of the nuclei's area."""
        areas = np.bincount(np.maximum(self.instances, 0).ravel())[1:]
        return float(np.sqrt(np.median(areas[areas > 0]) / np.pi)) if areas.any() else 10.0


def draw_sample(
    source: OutlinedImage, *, side: int, rng: np.random.Generator
) -> tuple[Image, Plane, Plane, Plane]:
    """Draw one training sample.

    Parameters
    ----------
    source
    side
        Pixels of the sample.
    rng

    Returns
    -------
    tuple
        RGB [side, side, 3]; and, each [side, side], nuclear or not, 0 or 1; relative distance;
        1 where these are known.
    """
    image, instances = _placed(source, side=side, rng=rng)
    densities = _stained_anew(_densities(image), instances > 0, rng=rng)
    seen = _photographed(np.exp(-densities) * 255, rng=rng)
    known = (instances >= 0).astype(np.float32)
    outlined = np.maximum(instances, 0)
    return seen, (outlined > 0).astype(np.float32), relative_distance(outlined), known


def relative_distance(instances: Instances) -> Plane:
    """Distance of each nuclear pixel to its nucleus's outline over the greatest there, [h, w]."""
    padded = np.pad(instances, 1, mode="edge")
    own = instances > 0
    for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
        shifted = padded[rows : rows + instances.shape[0], columns : columns + instances.shape[1]]
        own &= shifted == instances
    inside = cv2.distanceTransform(own.astype(np.uint8), cv2.DIST_L2, 5) + (instances > 0)
    numbers = np.arange(int(instances.max(initial=0)) + 1)
    most = np.asarray(ndimage.maximum(inside, instances, numbers), dtype=np.float32)
    most[0] = 1
    return np.asarray(inside / np.maximum(most[instances], 1), dtype=np.float32)


def _placed(
    source: OutlinedImage, *, side: int, rng: np.random.Generator
) -> tuple[Image, Instances]:
    """A turned, scaled, stretched and mirrored part of the image and of its instances."""
    radius = math.exp(rng.uniform(*np.log(RADIUS_PX)))
    zoom = float(np.clip(radius / source.radius_px, *_ZOOM))
    angle = rng.uniform(0, 2 * math.pi)
    stretch = math.exp(rng.uniform(-_STRETCH, _STRETCH))
    turn = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    ) @ np.diag([zoom * stretch, zoom / stretch * rng.choice([-1, 1])])
    height, width = source.instances.shape
    reach = 0.5 * side / zoom
    centre = [
        rng.uniform(min(reach, length / 2), max(length - reach, length / 2))
        for length in (width, height)
    ]
    matrix = np.hstack([turn, (side / 2 - turn @ centre)[:, None]])
    image = cv2.GaussianBlur(source.image, (0, 0), 0.4 / zoom) if zoom < 0.7 else source.image
    border = cv2.BORDER_REFLECT_101
    seen = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    # Numbers up to 2^24 fit a float32 exactly, and OpenCV warps no int32.
    drawn = cv2.warpAffine(
        source.instances.astype(np.float32), matrix, (side, side),
        flags=cv2.INTER_NEAREST, borderMode=border,
    )  # fmt: skip
    return np.asarray(seen, np.uint8), drawn.astype(np.int32)


def _densities(image: Image) -> Plane:
    return np.asarray(-np.log((image.astype(np.float32) + 1) / 256), dtype=np.float32)


def _stained_anew(
    densities: Plane, nuclear: NDArray[np.bool_], *, rng: np.random.Generator
) -> Plane:
    """Other light, other stains, and eosin around nuclei that stood in nothing; [h, w, 3]."""
    if rng.random() < 0.7:
        light = np.percentile(densities[::4, ::4].reshape(-1, 3), 3, axis=0)
        densities = np.maximum(densities - light.astype(np.float32), 0)
    around = densities[~nuclear]
    if rng.random() < 0.65 and len(around) and float(around.mean()) < _PALE:
        densities = densities + _eosin(nuclear, rng=rng)
    amounts = densities @ np.linalg.inv(_STAINS / np.linalg.norm(_STAINS, axis=1)[:, None])
    vectors = _STAINS + rng.normal(0, 0.09, (3, 3)).astype(np.float32)
    vectors = np.maximum(vectors, 0.01)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    gain = np.exp(rng.normal(0, 0.3, 3)).astype(np.float32)
    tint = rng.uniform(0, 0.12, 3).astype(np.float32) * rng.integers(0, 2)
    return np.maximum((amounts * gain) @ vectors + tint, 0)


def _eosin(nuclear: NDArray[np.bool_], *, rng: np.random.Generator) -> Plane:
    """Stroma as a pink texture, fainter within nuclei, [h, w, 3]."""
    shape = nuclear.shape
    texture = np.zeros(shape, np.float32)
    for scale, share in ((4, 0.25), (12, 0.35), (40, 0.4)):
        coarse = rng.random((shape[0] // scale + 2, shape[1] // scale + 2)).astype(np.float32)
        texture += share * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    inside = cv2.GaussianBlur(nuclear.astype(np.float32), (0, 0), 1.0)
    strength = rng.uniform(0.2, 1.0) * np.clip(texture + rng.uniform(-0.2, 0.3), 0, 1)
    pink = _STAINS[1] + rng.normal(0, 0.08, 3)
    amount = strength * (1 - rng.uniform(0.3, 0.9) * inside)
    return np.asarray(amount[..., None] * np.maximum(pink, 0.02), dtype=np.float32)


def _photographed(image: Plane, *, rng: np.random.Generator) -> Image:
    """Another camera: brightness, contrast, blur or sharpening, noise, JPEG."""
    taken: NDArray[Any] = (image - 128) * rng.uniform(0.85, 1.15) + 128 + rng.uniform(-12, 12)
    choice = rng.random()
    if choice < 0.35:
        taken = cv2.GaussianBlur(taken, (0, 0), rng.uniform(0.4, 1.6))
    elif choice < 0.5:
        taken += rng.uniform(0.3, 1.2) * (taken - cv2.GaussianBlur(taken, (0, 0), 1.2))
    if rng.random() < 0.4:
        taken = taken + rng.normal(0, rng.uniform(1, 7), taken.shape)
    seen: NDArray[Any] = np.clip(taken, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        return _decoded(cv2.imencode(".jpg", seen, quality)[1])
    return np.asarray(seen, dtype=np.uint8)


def _decoded(jpeg: NDArray[Any]) -> Image:
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8)
