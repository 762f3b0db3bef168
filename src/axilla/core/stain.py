"""Stain normalisation: every slide's haematoxylin and eosin as those of one target.

A slide's own stain is estimated from a sample of its pixels, without labels; the target is the same
for all slides. What maps one to the other is fixed a slide, so that a patch comes out the same
whatever its companions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Method = Literal["macenko", "reinhard"]

_LEAST_DENSITY, _LEAST_COLOUR = 0.15, 0.05
"""Natural optical densities (mean; largest less smallest) from which a pixel counts as stained."""
_LEAST_PIXELS = 500
_PERCENT = (1.0, 99.0)
"""Percentiles that stand for least and most (Macenko 2009, alpha = 1)."""
_LEAST_ANGLE = np.deg2rad(5)
_LEAST_MAXIMUM, _LEAST_SD = 0.1, 0.005
_MOST_GAIN = 5.0
"""No stain is made stronger, nor a spread wider, than this many times."""
_BLEND = (0.05, 0.15)
"""Reinhard: below the first mean density a pixel stays, above the second it is mapped whole."""
_PIXELS_AT_ONCE = 1 << 20

_GREY_RANGE, _GREY_BOUNDS, _GREY_SHARE = 12, (150, 250), 0.01
"""Glass: channels this close together, between these, at least so much of the sample.

Brighter is padding, also after JPEG, or glass that needs no correction.
"""
_LMS = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], np.float32
)
_LAB = (
    np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
).astype(np.float32)
"""From RGB to LMS, and from log LMS to l-alpha-beta (Reinhard 2001)."""
_FROM_LMS, _FROM_LAB = np.linalg.inv(_LMS), np.linalg.inv(_LAB)


@dataclass(frozen=True, slots=True, eq=False)
class MacenkoStain:
    """Two stain vectors and how strong each gets (Macenko 2009, doi:10.1109/ISBI.2009.5193250)."""

    matrix: NDArray[np.float32]
    """[2, 3]: unit optical densities of haematoxylin and eosin in red, green, blue."""
    maxima: NDArray[np.float32]
    """[2]: 99th percentile of each concentration over stained pixels."""
    white: NDArray[np.float32]
    """[3]: the slide's glass, 255 where none is seen."""

    def to_json(self) -> dict[str, Any]:
        """JSON values that `stain_from_json` reads."""
        return {
            "method": "macenko",
            "matrix": self.matrix.tolist(),
            "maxima": self.maxima.tolist(),
            "white": self.white.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ReinhardStain:
    """Mean and SD in l-alpha-beta over stained pixels (Reinhard 2001, doi:10.1109/38.946629)."""

    mean: NDArray[np.float32]
    """[3]"""
    sd: NDArray[np.float32]
    """[3]"""
    white: NDArray[np.float32]
    """[3]: the slide's glass, 255 where none is seen."""

    def to_json(self) -> dict[str, Any]:
        """JSON values that `stain_from_json` reads."""
        return {
            "method": "reinhard",
            "mean": self.mean.tolist(),
            "sd": self.sd.tolist(),
            "white": self.white.tolist(),
        }


Stain = MacenkoStain | ReinhardStain


def stain_from_json(value: Mapping[str, Any]) -> Stain:
    """A stain as `to_json` gave it.

    Raises
    ------
    ValueError
        It is none: other keys, shapes, or numbers that are not finite.
    """
    kinds: dict[str, tuple[type[Any], dict[str, tuple[int, ...]]]] = {
        "macenko": (MacenkoStain, {"matrix": (2, 3), "maxima": (2,), "white": (3,)}),
        "reinhard": (ReinhardStain, {"mean": (3,), "sd": (3,), "white": (3,)}),
    }
    if value.get("method") not in kinds:
        raise ValueError("a stain names its method, macenko or reinhard")
    kind, shapes = kinds[value["method"]]
    arrays = {}
    for name, shape in shapes.items():
        arrays[name] = np.array(value.get(name), dtype=np.float32)
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise ValueError(f"`{name}` of a {value['method']} stain holds {shape} finite numbers")
    stain: Stain = kind(**arrays)
    return stain


def published_stain(method: Method) -> Stain:
    """A target from the literature, that no patient of any study has a part in.

    Macenko: stain vectors and maxima of the reference code to Macenko 2009 (M. Veta's
    `normalizeStaining`), made for white = 240. Reinhard: a region of TCGA-A2-A3XS-DX1, breast
    (Amgad 2019, doi:10.1093/bioinformatics/btz083; in HistomicsTK).
    """
    white = np.full(3, 255, np.float32)
    if method == "macenko":
        matrix = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]], np.float32)
        return MacenkoStain(matrix, np.array([1.9705, 1.0308], np.float32), white)
    return ReinhardStain(
        np.array([8.74108109, -0.12440419, 0.0444982], np.float32),
        np.array([0.6135447, 0.10989545, 0.0286032], np.float32),
        white,
    )


def estimate_stain(pixels: Pixels, *, method: Method) -> Stain:
    """Estimate the stain of a slide from some of its pixels.

    Parameters
    ----------
    pixels
        RGB uint8 [n, 3]; those without stain (white, grey glass, black) are left out.

    Raises
    ------
    StatisticsError
        Too few pixels are stained, or they have one colour only.
    """
    white = _glass(pixels)
    density = _densities(pixels, white)  # [n, 3]
    stained = (density.mean(1) > _LEAST_DENSITY) & (np.ptp(density, axis=1) > _LEAST_COLOUR)
    if stained.sum() < _LEAST_PIXELS:
        raise _failure(
            f"only {int(stained.sum()):,} of {len(pixels):,} sampled pixels are stained, "
            f"{_LEAST_PIXELS} are needed"
        )
    if method == "macenko":
        return _estimate_macenko(density[stained], white)
    lab = _to_lab(density[stained])
    mean, sd = lab.mean(0, dtype=np.float64), lab.std(0, dtype=np.float64)
    if sd.min() < _LEAST_SD:
        raise _failure("the stained pixels have one colour only")
    return ReinhardStain(mean.astype(np.float32), sd.astype(np.float32), white)


def mean_stain(stains: Sequence[Stain]) -> Stain:
    """The mean of several slides' stains of one method, vectors brought to length 1 again.

    Raises
    ------
    StatisticsError
        There is none.
    """
    if not stains:
        raise _failure("no slide gives a stain to make the target of")
    values = [stain.to_json() for stain in stains]
    mean = {
        name: np.mean([value[name] for value in values], axis=0)
        for name in values[0]
        if name != "method"
    }
    if "matrix" in mean:
        mean["matrix"] /= np.linalg.norm(mean["matrix"], axis=1, keepdims=True)
    return stain_from_json({**mean, "method": values[0]["method"]})


def normalise(patches: Pixels, *, source: Stain, target: Stain) -> Pixels:
    """Give patches of a slide the stain of the target.

    Macenko: with rows of `matrix` as columns of S, d' = T diag(t / s) pinv(S) d for the optical
    densities d of a pixel, s and t the maxima of source and target; what is in neither stain is
    left out. Reinhard: (x - mean) / sd * sd' + mean' in l-alpha-beta, fading out towards white.
    White stays white, the slide's grey or tinted glass becomes white, and no stain is made stronger
    than 5 times.

    Parameters
    ----------
    patches
        RGB uint8 [..., 3].
    source, target
        Of the same method.

    Returns
    -------
    ndarray
        As `patches`.
    """
    flat = patches.reshape(-1, 3)
    out = np.empty_like(flat)
    for start in range(0, len(flat), _PIXELS_AT_ONCE):
        part = flat[start : start + _PIXELS_AT_ONCE]
        if isinstance(source, MacenkoStain) and isinstance(target, MacenkoStain):
            mapped = _map_macenko(part, source, target)
        elif isinstance(source, ReinhardStain) and isinstance(target, ReinhardStain):
            mapped = _map_reinhard(part, source, target)
        else:
            raise TypeError("source and target are stains of one method")
        out[start : start + len(part)] = np.rint(np.clip(mapped, 0, 255)).astype(np.uint8)
    return out.reshape(patches.shape)


def _estimate_macenko(density: NDArray[np.float32], white: NDArray[np.float32]) -> MacenkoStain:
    """Stain vectors at the edges of the plane of most variance; density [n, 3] of stained pixels.

    The plane goes through the origin, where white is, and the covariance is taken about the mean,
    as in the paper's reference code.
    """
    _, vectors = np.linalg.eigh(np.cov(density.T.astype(np.float64)))  # ascending
    plane = vectors[:, [2, 1]]  # [3, 2]
    if plane[:, 0].sum() < 0:
        plane[:, 0] *= -1
    on_plane = density @ plane.astype(np.float32)  # [n, 2]
    angles = np.arctan2(on_plane[:, 1], on_plane[:, 0])
    low, high = np.percentile(angles, _PERCENT)
    if high - low < _LEAST_ANGLE:
        raise _failure("the stained pixels have one colour only, so two stains are not told apart")
    edges = np.array([[np.cos(a), np.sin(a)] for a in (low, high)]) @ plane.T  # [2, 3]
    # Haematoxylin absorbs more of the red than eosin does.
    matrix = edges[np.argsort(-edges[:, 0])].astype(np.float32)
    concentrations = density @ np.linalg.pinv(matrix)  # [n, 2]
    maxima = np.percentile(concentrations, _PERCENT[1], axis=0).astype(np.float32)
    if maxima.min() < _LEAST_MAXIMUM:
        raise _failure("one of the two stains is hardly there")
    return MacenkoStain(matrix=matrix, maxima=maxima, white=white)


def _map_macenko(pixels: Pixels, source: MacenkoStain, target: MacenkoStain) -> NDArray[np.float32]:
    gain = np.minimum(target.maxima / source.maxima, _MOST_GAIN)
    change = np.linalg.pinv(source.matrix) @ (gain[:, None] * target.matrix)  # [3, 3]
    mapped: NDArray[np.float32] = 255 * np.exp(-(_densities(pixels, source.white) @ change))
    return mapped


def _map_reinhard(
    pixels: Pixels, source: ReinhardStain, target: ReinhardStain
) -> NDArray[np.float32]:
    gain = np.minimum(target.sd / source.sd, _MOST_GAIN)
    density = _densities(pixels, source.white)
    lab = (_to_lab(density) - source.mean) * gain + target.mean
    # 6 is beyond white, log 255 = 5.54; without a bound, exp of an odd pixel could overflow.
    mapped = np.exp(np.minimum(lab @ _FROM_LAB.T, 6)) @ _FROM_LMS.T
    low, high = _BLEND
    weight = np.clip((density.mean(1, keepdims=True) - low) / (high - low), 0, 1)
    blended: NDArray[np.float32] = weight * mapped + (1 - weight) * (255 * np.exp(-density))
    return blended


def _glass(pixels: Pixels) -> NDArray[np.float32]:
    """Colour of the glass [3] from grey and bright pixels, 255 where there are none."""
    low, high = _GREY_BOUNDS
    grey = (np.ptp(pixels, axis=1) < _GREY_RANGE) & (pixels.max(1) >= low)
    grey &= pixels.min(1) < high
    if grey.sum() < _GREY_SHARE * len(pixels):
        return np.full(3, 255, np.float32)
    # The upper quartile: what is grey and darker is faint tissue, or dust.
    white: NDArray[np.float32] = np.percentile(pixels[grey], 75, axis=0).astype(np.float32)
    return white


def _densities(pixels: Pixels, white: NDArray[np.float32]) -> NDArray[np.float32]:
    """Natural optical densities [n, 3] relative to the glass; none where it is brighter."""
    values = np.maximum(np.arange(256, dtype=np.float32), 1)
    table = np.maximum(-np.log(values[:, None] / white), 0)  # [256, 3]
    density: NDArray[np.float32] = np.stack([table[pixels[:, i], i] for i in range(3)], axis=1)
    return density


def _to_lab(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Optical densities [n, 3] to l-alpha-beta [n, 3] of the image on white glass."""
    lab: NDArray[np.float32] = np.log(255 * np.exp(-density) @ _LMS.T) @ _LAB.T
    return lab


def _failure(why: str) -> StatisticsError:
    return StatisticsError(
        f"the stain cannot be estimated: {why}.",
        "Look at the slide: is it H&E, and is there tissue in its regions? Take it out, correct "
        "its annotation, or set stain.unreliable: keep to leave such slides' colours as they are.",
    )
