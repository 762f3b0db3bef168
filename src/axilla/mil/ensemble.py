"""What an ensemble says: the mean of its members, and how far they are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class EnsembleScore(NamedTuple):
    """One patient's score."""

    mean: NDArray[np.float64]
    """Probability of each class, [K]."""
    spread: float | None
    """Sample SD over the members of one class's probability: the positive one's of two, of more
    the likeliest one's. None where there is one member."""


def combine(scores: Sequence[NDArray[np.float64]]) -> EnsembleScore:
    """Mean and spread over members of one patient's probabilities.

    p = (1/M) sum_m p_m; spread = sqrt(sum_m (p_mk - p_k)^2 / (M - 1)), k the class above. A deep
    ensemble as in Lakshminarayanan 2017 (doi:10.48550/arXiv.1612.01474).

    Parameters
    ----------
    scores
        M arrays [K] of probabilities.

    Examples
    --------
    >>> found = combine([np.array([0.4, 0.6]), np.array([0.2, 0.8])])
    >>> round(float(found.mean[1]), 3), round(found.spread, 3)
    (0.7, 0.141)
    """
    stacked = np.stack(scores)  # [M, K]
    mean = stacked.mean(axis=0)
    if len(stacked) == 1:
        return EnsembleScore(mean, None)
    shown = 1 if len(mean) == 2 else int(mean.argmax())
    return EnsembleScore(mean, float(stacked[:, shown].std(ddof=1)))


def mean_attention(maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over members of a slide's attention [n]; NaN where no member gave any."""
    # Members see the same bags, so that a patch has attention from all of them or from none.
    return np.asarray(np.mean(np.stack(maps), axis=0))
