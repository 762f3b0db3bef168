"""Samples to learn from: the relative distance against a slow oracle, and what stays true."""

import math
from itertools import product

import cv2
import numpy as np
import pytest

from axilla.nuclei.augmentation import OutlinedImage, draw_sample, relative_distance

SIDE = 64


def drawn(*, shape=(150, 260), radius=9, step=32):
    """Dark discs on white, not square so that rows and columns are not mixed up unseen."""
    pixels = np.full((*shape, 3), 245, np.uint8)
    instances = np.zeros(shape, np.int32)
    places = product(range(20, shape[0] - 10, step), range(20, shape[1] - 10, step))
    for number, (y, x) in enumerate(places, start=1):
        cv2.circle(pixels, (x, y), radius, (60, 30, 100), -1)
        cv2.circle(instances, (x, y), radius, number, -1)
    return OutlinedImage(pixels, instances)


def slow_distance(instances):
    """Of each pixel to the nearest with another neighbour, by loops, over its nucleus's most."""
    height, width = instances.shape
    outline = []
    for y, x in product(range(height), range(width)):
        beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        around = [instances[r, c] for r, c in beside if 0 <= r < height and 0 <= c < width]
        if instances[y, x] == 0 or any(n != instances[y, x] for n in around):
            outline.append((y, x))
    inside = np.zeros(instances.shape)
    for y, x in product(range(height), range(width)):
        if instances[y, x]:
            inside[y, x] = 1 + min(math.dist((y, x), one) for one in outline)
    for number in set(instances[instances > 0].tolist()):
        inside[instances == number] /= inside[instances == number].max()
    return inside


@pytest.fixture(scope="module")
def touching():
    """Two that touch, one alone, one over the edge, one of a single pixel; odd numbers."""
    instances = np.zeros((30, 40), np.int32)
    instances[5:16, 4:14] = 3
    instances[5:16, 14:22] = 7
    cv2.circle(instances, (31, 12), 6, 4, -1)
    instances[24:, 10:30] = 9
    instances[20, 2] = 1
    return instances


def test_relative_distance_is_the_slow_one(touching):
    found = relative_distance(touching)
    assert found.dtype == np.float32
    # OpenCV's distance by a mask of 5 is off by 2% at most.
    np.testing.assert_allclose(found, slow_distance(touching), atol=0.025)


def test_touching_nuclei_have_a_valley_between_them(touching):
    found = relative_distance(touching)
    # Across both, in the middle row: up, down to the common border, up, down.
    row = found[10, 4:22]
    assert row[9:11] == pytest.approx([1 / 5, 1 / 4])
    assert row[:10].max() == row[10:].max() == 1
    for number in (1, 3, 4, 7, 9):
        assert found[touching == number].max() == 1
    assert found[touching == 0].max() == 0


@pytest.mark.parametrize("value", [0, 1])
def test_a_map_of_one_number_has_no_outline(value):
    found = relative_distance(np.full((12, 9), value, np.int32))
    np.testing.assert_array_equal(found, np.full((12, 9), value, np.float32))


@pytest.mark.parametrize("radius", [5, 9, 14])
def test_the_radius_of_an_image_is_its_nuclei_s(radius):
    source = drawn(radius=radius)
    assert source.radius_px == pytest.approx(radius, rel=0.05)
    unknown = OutlinedImage(source.image, np.where(source.instances > 0, source.instances, -1))
    assert unknown.radius_px == source.radius_px
    nothing = OutlinedImage(source.image, np.full(source.instances.shape, -1, np.int32))
    assert nothing.radius_px == 10


def test_the_same_seed_draws_the_same_sample():
    source = drawn()
    first, again, other = (
        draw_sample(source, side=SIDE, rng=np.random.default_rng(seed)) for seed in (4, 4, 5)
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] != other[0]).any()
    assert (first[1] != other[1]).any()


@pytest.mark.parametrize("seed", range(8))
def test_a_sample_s_shapes_and_ranges(seed):
    source = drawn()
    kept = source.image.copy(), source.instances.copy()
    image, nuclear, distance, known = draw_sample(
        source, side=SIDE, rng=np.random.default_rng(seed)
    )
    assert (image.shape, image.dtype) == ((SIDE, SIDE, 3), np.uint8)
    for plane in (nuclear, distance, known):
        assert (plane.shape, plane.dtype) == ((SIDE, SIDE), np.float32)
    assert set(np.unique(nuclear)) <= {0, 1}
    assert set(np.unique(known)) == {1}
    assert (distance[nuclear == 0] == 0).all()
    assert distance[nuclear == 1].min() > 0
    assert distance.max() <= 1
    # The image to draw from stays as it was.
    np.testing.assert_array_equal(source.image, kept[0])
    np.testing.assert_array_equal(source.instances, kept[1])


@pytest.mark.parametrize("seed", range(4))
def test_what_nobody_knows_is_not_nuclear(seed):
    source = drawn()
    half = source.instances.copy()
    half[:, ::2] = -1
    _, nuclear, distance, known = draw_sample(
        OutlinedImage(source.image, half), side=SIDE, rng=np.random.default_rng(seed)
    )
    assert set(np.unique(known)) == {0, 1}
    assert 0.3 < known.mean() < 0.7
    assert nuclear[known == 0].max() == distance[known == 0].max() == 0
    assert nuclear.max() == 1
    nothing = OutlinedImage(source.image, np.full(half.shape, -1, np.int32))
    drawn_planes = draw_sample(nothing, side=SIDE, rng=np.random.default_rng(seed))[1:]
    assert [plane.max() for plane in drawn_planes] == [0, 0, 0]


@pytest.mark.parametrize("seed", range(10))
def test_the_mask_lies_on_the_nuclei(seed):
    image, nuclear, _, _ = draw_sample(drawn(), side=128, rng=np.random.default_rng(seed))
    shade = image.mean(axis=2)
    mask = nuclear > 0

    def contrast(moved):
        return shade[~moved].mean() - shade[moved].mean()

    assert contrast(mask) > 30
    for shift, axis in product((-3, 3), (0, 1)):
        assert contrast(np.roll(mask, shift, axis=axis)) < contrast(mask)


def test_samples_come_in_all_scales():
    areas = []
    for seed in range(30):
        nuclear = draw_sample(drawn(), side=96, rng=np.random.default_rng(seed))[1]
        pieces, _, stats, _ = cv2.connectedComponentsWithStats(nuclear.astype(np.uint8))
        if pieces > 1:
            areas.append(stats[1:, cv2.CC_STAT_AREA].max())
    radii = np.sqrt(np.array(areas) / math.pi)
    assert radii.min() < 7
    assert radii.max() > 13
    assert radii.max() < 19
