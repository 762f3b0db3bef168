"""The way without a network, on images drawn in the optical density of two stains."""

import cv2
import numpy as np
import pytest

from axilla.core.errors import StatisticsError
from axilla.core.stain import MacenkoStain, estimate_stain
from axilla.nuclei import classical
from axilla.nuclei.agreement import compare_instances
from axilla.nuclei.classical import RUIFROK, fit_classical, haematoxylin
from axilla.nuclei.segmentation import segment_pixels

SHAPE = (330, 420)
WHITE = np.full(3, 255, np.float32)
STAINS = np.array([[0.58, 0.72, 0.38], [0.20, 0.88, 0.43]], np.float32)
STAINS /= np.linalg.norm(STAINS, axis=1)[:, None]


FAINT_AND_STRONG = np.array([[0.76, 0.58, 0.29], [0.58, 0.72, 0.38]], np.float32)
"""One stain, bluer where there is little of it."""


def photographed(amounts, *, stains=STAINS, seed=0):
    """RGB of the amounts of haematoxylin and eosin, [h, w, 2], with a camera's noise."""
    light = 255 * np.exp(-(amounts @ stains))
    noise = np.random.default_rng(seed).normal(0, 1.5, light.shape)
    return np.clip(light + noise, 0, 255).astype(np.uint8)


def mottled(seed, scale=12):
    """0 to 1 with features of so many pixels, [h, w]."""
    coarse = np.random.default_rng(seed).random((SHAPE[0] // scale, SHAPE[1] // scale))
    smooth = cv2.resize(coarse.astype(np.float32), SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 1)


@pytest.fixture(scope="module")
def tissue():
    """Nuclei of 8 to 12 pixels' radius in mottled eosin beside glass, and their instance map."""
    rng = np.random.default_rng(11)
    instances = np.zeros(SHAPE, np.int32)
    centres = [
        (y + rng.integers(-6, 7), x + rng.integers(-6, 7))
        for y in range(30, SHAPE[0] - 20, 45)
        for x in range(30, SHAPE[1] - 80, 45)
    ]
    strength = np.zeros(SHAPE, np.float32)
    for number, (y, x) in enumerate(centres, start=1):
        axes = tuple(int(a) for a in rng.integers(8, 13, 2))
        one = np.zeros(SHAPE, np.uint8)
        cv2.ellipse(one, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        instances[one > 0] = number
        strength[one > 0] = rng.uniform(0.9, 1.3)
    eosin = (0.25 + 0.5 * mottled(1)) * np.where(instances > 0, 0.5, 1)
    eosin[:, SHAPE[1] - 50 :] = 0
    amounts = np.stack([strength * (0.85 + 0.3 * mottled(2, 5)), eosin], axis=2)
    return photographed(amounts), instances, amounts


def test_nuclei_of_an_h_and_e_image(tissue):
    pixels, instances, _ = tissue
    segmenter = fit_classical(pixels.reshape(-1, 3))
    agreement = compare_instances(instances, segment_pixels(pixels, segmenter), radius_px=3)
    assert agreement.truths == agreement.found == agreement.hits == 49
    assert agreement.dice > 0.93
    assert agreement.aji > 0.88


def test_the_stains_are_the_image_s_own(tissue):
    segmenter = fit_classical(tissue[0].reshape(-1, 3))
    cosines = (segmenter.matrix * STAINS).sum(axis=1)
    assert (cosines > 0.98).all()
    assert np.abs(segmenter.matrix - RUIFROK).max() > 0.1
    np.testing.assert_array_equal(segmenter.white, WHITE)


def test_the_haematoxylin_is_what_was_drawn(tissue):
    pixels, _, amounts = tissue
    found = haematoxylin(pixels, matrix=STAINS, white=WHITE)
    assert found.dtype == np.float32
    assert found.min() >= 0
    # A camera's noise of 1.5 in 40 shades of red is 0.04 in density, more after unmixing.
    assert np.abs(found - amounts[..., 0]).mean() < 0.03


def test_no_haematoxylin_in_eosin_or_glass():
    amounts = np.stack([np.zeros(SHAPE), 0.8 * mottled(3)], axis=2)
    pixels = np.rint(255 * np.exp(-(amounts @ STAINS))).astype(np.uint8)
    assert haematoxylin(pixels, matrix=STAINS, white=WHITE).max() < 0.05


@pytest.mark.parametrize(
    ("maxima", "own"), [((1.2, 0.6), True), ((0.6, 1.2), False), ((0.8, 0.8), False)]
)
def test_a_second_stain_that_is_the_stronger_is_none(monkeypatch, maxima, own):
    grey = np.full(3, 230, np.float32)
    stain = MacenkoStain(STAINS, np.array(maxima, np.float32), grey)
    monkeypatch.setattr(classical, "estimate_stain", lambda pixels, method: stain)
    segmenter = fit_classical(np.zeros((10, 3), np.uint8))
    np.testing.assert_array_equal(segmenter.matrix, STAINS if own else RUIFROK)
    np.testing.assert_array_equal(segmenter.white, grey if own else WHITE)


def test_a_stain_that_cannot_be_told_is_ruifrok_s(monkeypatch):
    def refuses(pixels, method):
        raise StatisticsError("too few.", "Give more.")

    monkeypatch.setattr(classical, "estimate_stain", refuses)
    np.testing.assert_array_equal(fit_classical(np.zeros((10, 3), np.uint8)).matrix, RUIFROK)


def test_an_image_of_one_stain_takes_ruifrok_s(tissue):
    _, instances, amounts = tissue
    pixels = photographed(amounts * (1, 0))
    with pytest.raises(StatisticsError, match="one colour only"):
        estimate_stain(pixels.reshape(-1, 3), method="macenko")
    assert_found_by_ruifrok(pixels, instances)


def test_faint_and_strong_parts_of_one_stain_are_not_two(tissue):
    _, instances, amounts = tissue
    nuclear = amounts[..., 0]
    faint = (0.25 + 0.2 * mottled(4)) * (instances == 0)
    pixels = photographed(np.stack([faint, nuclear], axis=2), stains=FAINT_AND_STRONG)
    # Macenko's method tells two, of which the second is the stronger.
    weaker, stronger = estimate_stain(pixels.reshape(-1, 3), method="macenko").maxima
    assert weaker < stronger
    assert_found_by_ruifrok(pixels, instances)


def assert_found_by_ruifrok(pixels, instances):
    segmenter = fit_classical(pixels.reshape(-1, 3))
    np.testing.assert_array_equal(segmenter.matrix, RUIFROK)
    agreement = compare_instances(instances, segment_pixels(pixels, segmenter), radius_px=3)
    assert agreement.truths == agreement.found == agreement.hits
    assert agreement.aji > 0.9


@pytest.mark.parametrize("shade", [255, 243, 0])
def test_a_blank_image_has_no_nuclei(shade):
    # A warning is an error here.
    pixels = np.full((*SHAPE, 3), shade, np.uint8)
    segmenter = fit_classical(pixels.reshape(-1, 3))
    nuclear, depth = segmenter(pixels)
    assert (nuclear.dtype, depth.dtype) == (np.float32, np.float32)
    assert nuclear.max() == 0
    assert depth.max() == 0
    assert segment_pixels(pixels, segmenter).max() == 0
