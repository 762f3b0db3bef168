"""How well segmented nuclei agree with outlined ones: detection, overlap, AJI and PQ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    _Ints = NDArray[np.int64]
    _Floats = NDArray[np.float64]

RADIUS_PX = 12.0
"""Centroids at most so far apart are one nucleus."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one image's nuclei have in common with the truth; every share is 0 to 1."""

    truths: int
    """Outlined nuclei."""
    found: int
    """Segmented nuclei."""
    hits: int
    """Pairs of an outlined and a segmented nucleus, one to one, by their centroids."""
    f1: float
    """Detection: 2 hits / (truths + found)."""
    dice: float
    """Of all nuclear pixels together."""
    aji: float
    """Aggregated Jaccard index (Kumar 2017, doi:10.1109/TMI.2017.2677499)."""
    pq: float
    """Panoptic quality: detection times overlap (Kirillov 2019, arXiv:1801.00868), with pairs of
    an intersection over union above 0.5."""


def compare_instances(
    truth: ArrayLike, found: ArrayLike, *, radius_px: float = RADIUS_PX
) -> Agreement:
    r"""Compare two instance maps of one image.

    .. math::
        AJI = \frac{\sum_i |T_i \cap F_{j(i)}|}
                   {\sum_i |T_i \cup F_{j(i)}| + \sum_{j \notin J} |F_j|}, \qquad
        PQ = \frac{\sum_{IoU > 0.5} IoU}{TP + \tfrac12 FP + \tfrac12 FN}

    :math:`j(i)` is the segmented nucleus of the highest intersection over union with the outlined
    one :math:`i`, and :math:`J` are all that were somebody's.

    Parameters
    ----------
    truth, found
        Integers [h, w], 0 is background; the numbers need not be consecutive.
    radius_px
        Greatest distance of the centroids of a pair.

    Returns
    -------
    Agreement
        Every share is 1 where neither has a nucleus, 0 where only one has any.

    Raises
    ------
    StatisticsError
        The maps are not two-dimensional, differ in shape, or hold numbers below 0.
    """
    own, other = _consecutive(truth), _consecutive(found)
    if own.shape != other.shape:
        raise StatisticsError(
            f"the outlined map is {own.shape} and the segmented one {other.shape}.",
            "Give both of the same image, at the same size.",
        )
    shared = _shared_pixels(own, other)
    truth_areas, found_areas = shared[1:].sum(axis=1), shared[:, 1:].sum(axis=0)
    truths, count = len(truth_areas), len(found_areas)
    if truths == 0 or count == 0:
        share = float(truths == count)
        return Agreement(truths, count, 0, share, share, share, share)
    inside = shared[1:, 1:]
    union = truth_areas[:, None] + found_areas[None, :] - inside
    overlap = inside / union
    hits = _hits(own, other, radius_px=radius_px)
    paired = overlap[overlap > 0.5]
    return Agreement(
        truths=truths,
        found=count,
        hits=hits,
        f1=2 * hits / (truths + count),
        dice=float(2 * inside.sum() / (truth_areas.sum() + found_areas.sum())),
        aji=_aggregated(inside, union, overlap, truth_areas, found_areas),
        # More than half in common is possible with one only, so the pairs are unique.
        pq=float(paired.sum() / (len(paired) + 0.5 * (truths + count - 2 * len(paired)))),
    )


def centroids(instances: NDArray[np.integer], *, count: int) -> _Floats:
    """Mean row and column of each instance 1..count, [count, 2]."""
    rows, columns = np.nonzero(instances)
    labels = instances[rows, columns]
    areas = np.bincount(labels, minlength=count + 1)[1:]
    sums = [np.bincount(labels, axis, minlength=count + 1)[1:] for axis in (rows, columns)]
    return np.stack(sums, axis=1) / areas[:, None]


def _consecutive(instances: ArrayLike) -> _Ints:
    """The map with its instances numbered 1, 2, ... in the order of their numbers."""
    values = np.asarray(instances)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer) or values.min(initial=0) < 0:
        raise StatisticsError(
            f"an instance map of shape {values.shape} and type {values.dtype} is none.",
            "Give integers [height, width], 0 for background and a number a nucleus.",
        )
    names, place = np.unique(values, return_inverse=True)
    numbers = np.cumsum(names > 0)
    return np.asarray(numbers[place].reshape(values.shape), dtype=np.int64)


def _shared_pixels(own: _Ints, other: _Ints) -> _Ints:
    """Pixels that each pair has in common, [truths + 1, found + 1], background first."""
    shape = int(own.max(initial=0)) + 1, int(other.max(initial=0)) + 1
    pairs = np.bincount((own * shape[1] + other).ravel(), minlength=shape[0] * shape[1])
    return np.asarray(pairs.reshape(shape), dtype=np.int64)


def _aggregated(
    inside: _Ints, union: _Ints, overlap: _Floats, truth_areas: _Ints, found_areas: _Ints
) -> float:
    best = overlap.argmax(axis=1)
    rows = np.arange(len(best))
    met = overlap[rows, best] > 0
    used = np.zeros(len(found_areas), dtype=bool)
    used[best[met]] = True
    covered = inside[rows[met], best[met]].sum()
    spread = union[rows[met], best[met]].sum() + truth_areas[~met].sum() + found_areas[~used].sum()
    return float(covered / spread)


def _hits(own: _Ints, other: _Ints, *, radius_px: float) -> int:
    """Most pairs within the radius, one to one; among equally many those that lie closest."""
    truth, found = (centroids(m, count=int(m.max())) for m in (own, other))
    near = KDTree(truth).sparse_distance_matrix(KDTree(found), radius_px, output_type="coo_matrix")
    far = 1e3 * radius_px * min(len(truth), len(found))
    costs = np.full((len(truth), len(found)), far)
    costs[near.row, near.col] = near.data
    rows, columns = linear_sum_assignment(costs)
    return int((costs[rows, columns] < far).sum())
