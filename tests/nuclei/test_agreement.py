"""Agreement against hand-counted squares, a slow oracle, and each definition's own properties."""

from itertools import product

import numpy as np
import pytest

from axilla.core.errors import StatisticsError
from axilla.nuclei.agreement import compare_instances


def squares(*corners, side=4, shape=(20, 20)):
    """Squares numbered 1, 2, ... with these top left corners."""
    instances = np.zeros(shape, dtype=np.int32)
    for number, (row, column) in enumerate(corners, start=1):
        instances[row : row + side, column : column + side] = number
    return instances


def scattered(seed, count=12, shape=(48, 48)):
    """Overlapping rectangles of a few sizes; the later one wins, as in a careless segmentation."""
    rng = np.random.default_rng(seed)
    instances = np.zeros(shape, dtype=np.int32)
    for number in range(1, count + 1):
        row, column = rng.integers(0, 42, 2)
        height, width = rng.integers(3, 10, 2)
        instances[row : row + height, column : column + width] = 7 * number
    return instances


def slow(truth, found):
    """AJI and PQ by their definitions, sets of pixels and loops."""

    def sets(instances):
        return [
            set(map(tuple, np.argwhere(instances == n))) for n in np.unique(instances) if n != 0
        ]

    own, other = sets(truth), sets(found)
    covered = spread = 0
    used = set()
    for one in own:
        iou = [len(one & two) / len(one | two) for two in other]
        best = int(np.argmax(iou))
        if iou[best] == 0:
            spread += len(one)
            continue
        covered += len(one & other[best])
        spread += len(one | other[best])
        used.add(best)
    spread += sum(len(two) for index, two in enumerate(other) if index not in used)
    pairs = [len(a & b) / len(a | b) for a, b in product(own, other)]
    good = [iou for iou in pairs if iou > 0.5]
    return covered / spread, sum(good) / (0.5 * len(own) + 0.5 * len(other))


def test_by_hand():
    # One found whole, one shifted by a column (12 of 20 pixels), one missed, one made up.
    truth = squares((0, 0), (8, 0), (0, 12))
    found = squares((0, 0), (8, 1), (14, 14))
    agreement = compare_instances(truth, found, radius_px=3)
    assert (agreement.truths, agreement.found, agreement.hits) == (3, 3, 2)
    assert agreement.f1 == pytest.approx(4 / 6)
    assert agreement.dice == pytest.approx(2 * 28 / 96)
    assert agreement.aji == pytest.approx(28 / (16 + 20 + 16 + 16))
    assert agreement.pq == pytest.approx((1 + 12 / 20) / 3)


@pytest.mark.parametrize("seed", range(6))
def test_a_slow_oracle_agrees(seed):
    truth, found = scattered(seed), scattered(100 + seed, count=9)
    agreement = compare_instances(truth, found)
    assert (agreement.aji, agreement.pq) == pytest.approx(slow(truth, found), abs=1e-12)
    assert agreement.truths == len(np.unique(truth)) - 1


def test_the_numbers_of_the_nuclei_do_not_matter():
    truth, found = scattered(1), scattered(2)
    assert compare_instances(truth, found) == compare_instances(truth * 3, found // 7)
    assert compare_instances(truth, truth).aji == 1


def test_a_nucleus_counts_once():
    # Two halves of one nucleus, both centroids within the radius: one hit, one made up.
    truth = squares((4, 4), side=8)
    found = truth.copy()
    found[:, 8:][found[:, 8:] > 0] = 2
    agreement = compare_instances(truth, found)
    assert (agreement.hits, agreement.found) == (1, 2)
    # Half of it in common is not more than half.
    assert agreement.pq == 0


def test_the_radius_is_reached_and_not_passed():
    truth, found = squares((0, 0)), squares((0, 12))
    assert compare_instances(truth, found, radius_px=12).hits == 1
    assert compare_instances(truth, found, radius_px=11.9).hits == 0


@pytest.mark.parametrize(("truth", "found", "share"), [((), (), 1.0), (((0, 0),), (), 0.0)])
def test_without_nuclei(truth, found, share):
    agreement = compare_instances(squares(*truth), squares(*found))
    assert (agreement.f1, agreement.dice, agreement.aji, agreement.pq) == (share,) * 4


def test_what_cannot_be_compared_is_a_sentence():
    with pytest.raises(StatisticsError, match="same image"):
        compare_instances(np.zeros((4, 4), int), np.zeros((4, 5), int))
    with pytest.raises(StatisticsError, match="0 for background"):
        compare_instances(np.zeros((4, 4)), np.zeros((4, 4)))
