"""How far two cohorts lie apart in one characteristic, from their summaries alone."""

from __future__ import annotations

import math

NOTABLE = 0.1
"""A standardised difference above which groups are commonly called different (Austin 2009)."""


def mean_difference(first: tuple[float, float], second: tuple[float, float]) -> float:
    r"""Standardised difference of two means, second minus first.

    .. math:: d = \frac{m_2 - m_1}{\sqrt{(s_1^2 + s_2^2) / 2}}

    Parameters
    ----------
    first, second
        Mean and sample standard deviation of each cohort.

    Returns
    -------
    float
        0 where the means are equal; NaN where neither cohort varies and they differ.

    Notes
    -----
    Source: doi:10.1002/sim.3697 (Austin 2009). It has no p value, which would tell how many
    patients there are as much as how far they lie apart.
    """
    (mean, sd), (other_mean, other_sd) = first, second
    return _standardised(other_mean - mean, (sd**2 + other_sd**2) / 2)


def share_difference(first: float, second: float) -> float:
    r"""Standardised difference of two shares, second minus first.

    .. math:: d = \frac{p_2 - p_1}{\sqrt{(p_1 (1 - p_1) + p_2 (1 - p_2)) / 2}}

    Parameters
    ----------
    first, second
        Shares, 0 to 1.

    Returns
    -------
    float
        As `mean_difference`, of an indicator that is 1 in these shares of the patients.
    """
    return _standardised(second - first, (first * (1 - first) + second * (1 - second)) / 2)


def _standardised(difference: float, variance: float) -> float:
    if difference == 0:
        return 0.0
    return difference / math.sqrt(variance) if variance > 0 else math.nan
