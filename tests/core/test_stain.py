from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest

from axilla.core.errors import StatisticsError
from axilla.core.stain import (
    MacenkoStain,
    ReinhardStain,
    Stain,
    estimate_stain,
    mean_stain,
    normalise,
    published_stain,
    stain_from_json,
)

H, E = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
BLUER, REDDER = np.array([0, 0.05, 0.12]), np.array([0.06, -0.1, 0.15])
METHODS = ("macenko", "reinhard")


def tissue(
    *, vectors: tuple[np.ndarray, np.ndarray] = (H, E), strength=(1.0, 1.0), seed: int = 0
) -> np.ndarray:
    """Patches [4, 48, 48, 3] of the same cells, dyed as said; a fifth is white."""
    rng = np.random.default_rng(seed)
    shape = (4, 48, 48)
    nuclei = np.where(rng.random(shape) < 0.3, rng.uniform(0.5, 1.6, shape), 0.05)
    eosin = rng.uniform(0.1, 0.9, shape)
    density = strength[0] * nuclei[..., None] * vectors[0] / np.linalg.norm(vectors[0]) + strength[
        1
    ] * eosin[..., None] * vectors[1] / np.linalg.norm(vectors[1])
    density[rng.random(shape) < 0.2] = 0
    return np.rint(255 * np.exp(-density)).astype(np.uint8)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference of two images, in grey values."""
    return float(np.sqrt(np.mean((a.astype(float) - b.astype(float)) ** 2)))


def own(patches: np.ndarray, method: str) -> Stain:
    return estimate_stain(patches.reshape(-1, 3), method=method)


def slow_macenko(pixels: np.ndarray, source: Stain, target: Stain) -> np.ndarray:
    """Least squares, one pixel after the other, in double precision."""
    out = []
    for rgb in pixels.reshape(-1, 3).tolist():
        density = [-math.log(max(value, 1) / 255) for value in rgb]
        stains, *_ = np.linalg.lstsq(source.matrix.T.astype(float), density, rcond=None)
        scaled = [c * t / s for c, t, s in zip(stains, target.maxima, source.maxima, strict=True)]
        mapped = [sum(scaled[k] * float(target.matrix[k, i]) for k in (0, 1)) for i in range(3)]
        out.append([min(255, max(0, round(255 * math.exp(-d)))) for d in mapped])
    return np.array(out).reshape(pixels.shape)


def slow_reinhard(pixels: np.ndarray, source: Stain, target: Stain) -> np.ndarray:
    """The formulae of Reinhard 2001, one pixel after the other."""
    rgb_lms = [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
    inverse = np.linalg.inv(rgb_lms)
    out = []
    for rgb in pixels.reshape(-1, 3).tolist():
        long, middle, short = (
            math.log(sum(w * max(v, 1) for w, v in zip(row, rgb, strict=True))) for row in rgb_lms
        )
        lab = [
            (long + middle + short) / math.sqrt(3),
            (long + middle - 2 * short) / math.sqrt(6),
            (long - middle) / math.sqrt(2),
        ]
        light, alpha, beta = (
            (lab[i] - float(source.mean[i])) / float(source.sd[i]) * float(target.sd[i])
            + float(target.mean[i])
            for i in range(3)
        )
        lms = [
            math.exp(light / math.sqrt(3) + alpha / math.sqrt(6) + beta / math.sqrt(2)),
            math.exp(light / math.sqrt(3) + alpha / math.sqrt(6) - beta / math.sqrt(2)),
            math.exp(light / math.sqrt(3) - 2 * alpha / math.sqrt(6)),
        ]
        mapped = [sum(w * v for w, v in zip(row, lms, strict=True)) for row in inverse.tolist()]
        depth = sum(-math.log(max(value, 1) / 255) for value in rgb) / 3
        share = min(1, max(0, (depth - 0.05) / 0.1))
        out.append(
            [
                min(255, max(0, round(share * m + (1 - share) * v)))
                for m, v in zip(mapped, rgb, strict=True)
            ]
        )
    return np.array(out).reshape(pixels.shape)


def test_macenko_finds_the_vectors_that_the_tissue_was_dyed_with() -> None:
    strength = (1.0, 0.8)
    stain = own(tissue(strength=strength), "macenko")
    for found, true in zip(stain.matrix, (H, E), strict=True):
        assert found @ true / np.linalg.norm(true) > math.cos(math.radians(4))
    # 99th percentiles of what `tissue` draws: 1.6 less a little, and 0.9 x 0.8.
    assert stain.maxima == pytest.approx((1.57, 0.72), abs=0.12)


def test_reinhard_gives_mean_and_sd_of_the_stained() -> None:
    stain = own(tissue(), "reinhard")
    white = np.full((50_000, 3), 255, np.uint8)
    pixels = np.concatenate([tissue().reshape(-1, 3), white])
    more = estimate_stain(pixels, method="reinhard")
    np.testing.assert_array_equal(more.mean, stain.mean)
    np.testing.assert_array_equal(more.sd, stain.sd)
    moved = normalise(tissue(), source=stain, target=published_stain("reinhard"))
    again = own(moved, "reinhard")
    assert again.mean == pytest.approx(published_stain("reinhard").mean, abs=0.15)


@pytest.mark.parametrize(
    ("method", "slow"), [("macenko", slow_macenko), ("reinhard", slow_reinhard)]
)
def test_as_pixel_by_pixel(method: str, slow) -> None:
    patches = tissue()
    source, target = own(patches, method), published_stain(method)
    fast = normalise(patches, source=source, target=target)
    assert fast.dtype == np.uint8
    assert fast.shape == patches.shape
    off = np.abs(fast[0].astype(int) - slow(patches[0], source, target))
    assert off.max() <= 1  # a grey value, where rounding is on the edge
    assert off.mean() < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_to_its_own_stain_nothing_changes(method: str) -> None:
    patches = tissue()
    stain = own(patches, method)
    same = normalise(patches, source=stain, target=stain)
    assert distance(same, patches) < 1.0


@pytest.mark.parametrize(
    ("method", "closer"),
    # Reinhard moves all pixels alike and cannot tell the two stains apart.
    [("macenko", (10.0, 10.0)), ("reinhard", (1.5, 2.0))],
)
def test_two_stainings_of_one_tissue_come_closer(method: str, closer: tuple[float, float]) -> None:
    first, target = tissue(), published_stain(method)
    weaker = tissue(strength=(0.7, 0.7))
    other = tissue(vectors=(H + BLUER, E + REDDER), strength=(0.7, 0.7))
    for second, least in zip((weaker, other), closer, strict=True):
        mapped = [normalise(p, source=own(p, method), target=target) for p in (first, second)]
        assert distance(first, second) > 15
        assert distance(first, second) / distance(*mapped) > least


@pytest.mark.parametrize("method", METHODS)
def test_grey_glass_becomes_white_and_changes_nothing_else(method: str) -> None:
    bright, target = tissue(), published_stain(method)
    glass = np.array([186, 187, 184]) / 255
    grey = np.rint(bright * glass).astype(np.uint8)
    grey[0, :8] = 255  # padding
    source = own(grey, method)
    assert source.white == pytest.approx([186, 187, 184], abs=1)
    mapped = normalise(grey, source=source, target=target)
    expected = normalise(bright, source=own(bright, method), target=target)
    assert (mapped[0, :8] == 255).all()
    assert mapped[(bright == 255).all(-1)].min() >= 254
    assert distance(mapped[1:], expected[1:]) < 3


@pytest.mark.parametrize("method", METHODS)
def test_white_stays_white_and_lighter_never_turns_darker(method: str) -> None:
    source, target = own(tissue(strength=(0.6, 0.6)), method), published_stain(method)
    white = np.full((2, 8, 8, 3), 255, np.uint8)
    np.testing.assert_array_equal(normalise(white, source=source, target=target), white)
    # One dye in rising strength keeps its order, but for a step where Reinhard fades in.
    step = 2 if method == "macenko" else 12
    dye = np.rint(255 * np.exp(-np.linspace(0, 1.2, 60)[:, None] * (H + E) / 2)).astype(np.uint8)
    brightness = normalise(dye, source=source, target=target).astype(int).sum(1)
    assert all(later <= earlier + step for earlier, later in pairwise(brightness))


@pytest.mark.parametrize("method", METHODS)
def test_an_almost_empty_patch_is_bounded(method: str) -> None:
    faint = tissue(strength=(0.3, 0.4))
    source, target = own(faint, method), published_stain(method)
    patch = np.full((16, 16, 3), 252, np.uint8)
    patch[3, 4] = (240, 225, 238)
    patch[0, 0], patch[0, 1], patch[0, 2] = (0, 0, 0), (255, 0, 0), (0, 255, 255)
    mapped = normalise(patch, source=source, target=target)
    assert np.abs(mapped[8:].astype(int) - 252).max() < 20
    assert mapped[3, 4].min() > 130


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("colour", [(255, 255, 255), (186, 187, 186), (5, 5, 5), (225, 150, 190)])
def test_what_shows_no_stain_or_one_colour_is_refused(
    method: str, colour: tuple[int, int, int]
) -> None:
    pixels = np.full((4000, 3), colour, np.uint8)
    with pytest.raises(
        StatisticsError, match=r"stain cannot be estimated.*(0 of 4,000|one colour)"
    ):
        estimate_stain(pixels, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_json_there_and_back(method: str) -> None:
    stain = own(tissue(), method)
    back = stain_from_json(json.loads(json.dumps(stain.to_json())))
    patches = tissue(seed=3)
    target = published_stain(method)
    np.testing.assert_array_equal(
        normalise(patches, source=stain, target=target),
        normalise(patches, source=back, target=target),
    )


@pytest.mark.parametrize(
    "value",
    [
        {"method": "vahadane"},
        {"method": "macenko", "matrix": [[1, 2, 3]], "maxima": [1, 1], "white": [1] * 3},
        {"method": "reinhard", "mean": [1, 2, float("nan")], "sd": [1] * 3, "white": [1] * 3},
        {"method": "reinhard", "mean": [1, 2, 3]},
    ],
)
def test_a_damaged_record_is_refused(value: dict) -> None:
    with pytest.raises(ValueError, match="stain"):
        stain_from_json(value)


def test_the_mean_of_stains() -> None:
    first = MacenkoStain(
        np.array([[1, 0, 0], [0, 1, 0]], np.float32),
        np.array([1, 2], np.float32),
        np.ones(3, np.float32),
    )
    second = MacenkoStain(
        np.array([[0, 1, 0], [0, 1, 0]], np.float32),
        np.array([3, 2], np.float32),
        np.ones(3, np.float32),
    )
    mean = mean_stain([first, second])
    half = math.sqrt(0.5)
    assert mean.matrix == pytest.approx(np.array([[half, half, 0], [0, 1, 0]]))
    assert mean.maxima.tolist() == [2, 2]
    one = ReinhardStain(*(np.ones(3, np.float32) for _ in range(3)))
    assert mean_stain([one]).mean.tolist() == [1, 1, 1]
    with pytest.raises(StatisticsError, match="no slide gives a stain"):
        mean_stain([])
