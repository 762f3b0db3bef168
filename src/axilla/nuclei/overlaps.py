"""Nuclei that several patches of one image show, told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray


def overlapping(corners: NDArray[np.integer], *, side: int) -> NDArray[np.bool_]:
    """Which patches of one image share pixels with another one, bool [n].

    Parameters
    ----------
    corners
        [n, 2], top left corner of each patch in whole level-0 pixels.
    side
        Of a patch, in level-0 pixels.
    """
    if len(corners) < 2:
        return np.zeros(len(corners), np.bool_)
    # The patch itself is one of the two.
    distances, _ = KDTree(corners).query(corners, k=2, p=np.inf)
    found: NDArray[np.bool_] = distances[:, 1] < side
    return found


def seen_first(
    xy: NDArray[np.float64], minor_axis: NDArray[np.float64], patch: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Which nuclei of one image no earlier one of another patch is the same as, bool [n].

    Two are the same where their centres lie closer than half of the larger minor axis: the centres
    of two that only touch are further from each other.

    Parameters
    ----------
    xy
        [n, 2], centres in level-0 pixels, patch by patch.
    minor_axis
        [n], in level-0 pixels.
    patch
        [n], which patch each is of.
    """
    first = np.ones(len(xy), np.bool_)
    if len(xy) < 2:
        return first
    near = KDTree(xy).query_ball_point(xy, minor_axis / 2)
    own = np.repeat(np.arange(len(xy)), [len(others) for others in near])
    other = np.concatenate([np.asarray(others, np.int64) for others in near])
    apart = patch[own] != patch[other]
    pairs = np.sort(np.column_stack([own, other])[apart], axis=1)
    # By the later of each pair: what is said of the earlier one is final then.
    for earlier, later in pairs[np.argsort(pairs[:, 1], kind="stable")].tolist():
        if first[earlier]:
            first[later] = False
    return first
