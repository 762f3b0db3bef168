"""Nuclei of overlapping patches, against a slow oracle."""

import itertools
import math

import numpy as np
import pytest

from axilla.nuclei.overlaps import overlapping, seen_first


def slow_first(xy, minor, patch):
    """Each against all that were kept before."""
    kept = []
    for i in range(len(xy)):
        same = (
            j
            for j in kept
            if patch[i] != patch[j] and math.dist(xy[i], xy[j]) < max(minor[i], minor[j]) / 2
        )
        if next(same, None) is None:
            kept.append(i)
    return [i in kept for i in range(len(xy))]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_each_nucleus_is_kept(seed):
    rng = np.random.default_rng(seed)
    xy, patch = rng.uniform(0, 60, (200, 2)), np.sort(rng.integers(0, 5, 200))
    minor = rng.uniform(2, 16, 200)
    found = seen_first(xy, minor, patch)
    assert found.tolist() == slow_first(xy, minor, patch)
    assert 20 < found.sum() < 180


def test_of_one_patch_all_are_told_and_nothing_is_nothing():
    xy = np.array([[5.0, 5.0], [5.5, 5.0]])
    assert seen_first(xy, np.full(2, 9.0), np.zeros(2, np.int64)).all()
    assert seen_first(xy, np.full(2, 9.0), np.arange(2)).tolist() == [True, False]
    # Side by side they touch and are two.
    assert seen_first(np.array([[0.0, 0.0], [0.0, 9.0]]), np.full(2, 9.0), np.arange(2)).all()
    assert seen_first(xy[:0], np.zeros(0), np.zeros(0, np.int64)).tolist() == []


@pytest.mark.parametrize("seed", range(3))
def test_patches_overlap_where_they_share_a_pixel(seed):
    corners = np.random.default_rng(seed).integers(0, 120, (14, 2))
    shared = np.zeros(14, bool)
    for i, j in itertools.permutations(range(14), 2):
        shared[i] |= (np.abs(corners[i] - corners[j]) < 16).all()
    assert overlapping(corners, side=16).tolist() == shared.tolist()
    assert 0 < shared.sum() < 14


def test_patches_side_by_side_share_none():
    grid = np.array(list(itertools.product(range(0, 64, 16), repeat=2)))
    assert not overlapping(grid, side=16).any()
    assert overlapping(grid, side=17).all()
    assert overlapping(grid[:1], side=16).tolist() == [False]
