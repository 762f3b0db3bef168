"""Drawn discs, alone and overlapping: what is split, what stays whole, what goes."""

import cv2
import numpy as np
import pytest
from skimage.morphology import reconstruction

from axilla.nuclei.splitting import (
    flooded_relief,
    split_nuclei,
    typical_radius_px,
    without_slivers,
)


def disc(y, x, radius, shape=(60, 80)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def numbered(*discs):
    """Discs numbered 1, 2, ...; the later one over the earlier."""
    instances = np.zeros(discs[0].shape, np.int32)
    for number, one in enumerate(discs, start=1):
        instances[one] = number
    return instances


def depth_of(nuclear, *, radius):
    distance = cv2.distanceTransform(nuclear.astype(np.uint8), cv2.DIST_L2, 5)
    return (distance / radius).astype(np.float32)


LEFT, RIGHT = disc(30, 28, 12), disc(30, 48, 11)
BOTH = LEFT | RIGHT


def test_overlapping_discs_part_where_the_depth_has_a_valley():
    found = split_nuclei(BOTH, depth_of(BOTH, radius=12))
    assert found.dtype == np.int32
    assert set(np.unique(found)) == {0, 1, 2}
    np.testing.assert_array_equal(found > 0, BOTH)
    # The line between lies where they meet.
    left, right = found[30, 28], found[30, 48]
    assert (found[LEFT & ~RIGHT] == left).mean() > 0.99
    assert (found[RIGHT & ~LEFT] == right).mean() > 0.99


@pytest.mark.parametrize("level", [0.0, 0.7, 1.0])
def test_a_flat_depth_leaves_them_one(level):
    found = split_nuclei(BOTH, np.full(BOTH.shape, level, np.float32))
    np.testing.assert_array_equal(found, BOTH.astype(np.int32))


@pytest.mark.parametrize(("valley", "count"), [(0.1, 2), (0.29, 2), (0.31, 1), (0.6, 1)])
def test_a_valley_counts_from_its_depth_on(valley, count):
    depth = np.where(BOTH, 0.6, 0).astype(np.float32)
    depth[disc(30, 28, 5)] = 0.9
    depth[disc(30, 48, 5)] = 1.0
    assert split_nuclei(BOTH, depth, valley=valley).max() == count


def test_a_piece_without_a_summit_stays_one_nucleus():
    faint, clear = disc(20, 20, 9), disc(40, 60, 9)
    depth = np.where(clear, depth_of(clear, radius=9), 0.05 * faint).astype(np.float32)
    found = split_nuclei(faint | clear, depth)
    assert found.max() == 2
    for one in (faint, clear):
        assert len(np.unique(found[one])) == 1
    assert found[20, 20] != found[40, 60]


def test_a_depth_below_nothing_is_as_good_as_none():
    alone = disc(30, 40, 9)
    found = split_nuclei(alone, np.where(alone, -0.2, 0).astype(np.float32))
    np.testing.assert_array_equal(found, alone.astype(np.int32))


def test_holes_are_nuclear():
    ring = disc(30, 40, 12) & ~disc(30, 40, 4)
    np.testing.assert_array_equal(
        split_nuclei(ring, depth_of(ring, radius=12)) > 0, disc(30, 40, 12)
    )


def test_slivers_go_and_the_others_are_renumbered():
    # Radius 3 has 29 pixels, far less than a third of the 317 of radius 10; radius 6 has 113.
    drawn = numbered(
        disc(10, 8, 3), disc(15, 40, 10), disc(50, 10, 6), disc(45, 60, 10), disc(45, 35, 10)
    )
    found = without_slivers(drawn)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.where(drawn > 1, drawn - 1, 0))
    # Less than 16 pixels are none, however small the others are.
    assert without_slivers(numbered(disc(10, 10, 2), disc(30, 30, 2))).max() == 0


@pytest.mark.parametrize("radius", [8, 12])
def test_the_radius_at_which_half_of_the_area_lies(radius):
    many, large = ((20, 35, 50), (radius, radius, radius)), 14
    discs = [disc(30, x * 2, r, (60, 240)) for x, r in zip(*many, strict=True)]
    drawn = numbered(*discs, disc(30, 190, large, (60, 240)), disc(5, 220, 2, (60, 240)))
    # Debris is hardly any area; nor is one large nucleus half of it, unless the others are small.
    expected = radius if 3 * radius**2 > large**2 + 4 else large
    assert typical_radius_px(drawn) == pytest.approx(expected, rel=0.03)
    # Numbers that no pixel has are no nuclei.
    assert typical_radius_px(drawn * 5) == pytest.approx(expected, rel=0.03)


def test_an_empty_mask_has_nothing():
    nothing = np.zeros((20, 30), bool)
    found = split_nuclei(nothing, np.ones(nothing.shape, np.float32))
    assert (found.shape, found.dtype, found.max()) == ((20, 30), np.int32, 0)
    assert typical_radius_px(found) is None
    assert without_slivers(found).max() == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("lowest", [0.0, -0.2])
def test_the_flood_is_scikit_images(seed, lowest):
    """Of discs at random with a rippled depth, where some is below the background's too."""
    rng = np.random.default_rng(seed)
    nuclear = np.zeros((60, 80), bool)
    for _ in range(int(rng.integers(1, 15))):
        nuclear |= disc(*rng.uniform((0, 0), (60, 80)), rng.uniform(2, 14))
    depth = depth_of(nuclear, radius=8) + rng.uniform(lowest, 0.3, nuclear.shape)
    relief = np.where(nuclear, depth, 0).astype(np.float32)
    for valley in (0.05, 0.1, 3.0):
        expected = reconstruction(relief - np.float32(valley), relief)
        np.testing.assert_array_equal(flooded_relief(relief, nuclear, valley), expected)
