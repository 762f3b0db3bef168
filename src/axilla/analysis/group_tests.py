"""Whether a characteristic differs between groups: Mann-Whitney U, Kruskal-Wallis, chi-square."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def rank_p(values: pd.Series[Any], groups: pd.Series[Any]) -> tuple[float, str | None]:
    """Two-sided p of Mann-Whitney U; of Kruskal-Wallis with three groups or more.

    Parameters
    ----------
    values
        A number a patient; missing ones are left out.
    groups
        The group's name of each, on the same index.

    Returns
    -------
    tuple
        The p-value and None, or NaN and the reason why there is no test (see `rank_test`).
    """
    known = values.notna()
    parts = [
        values[known & (groups == name)].to_numpy(dtype=np.float64) for name in group_names(groups)
    ]
    return rank_test(parts)


def rank_test(parts: Sequence[NDArray[np.float64]]) -> tuple[float, str | None]:
    """Two-sided p of Mann-Whitney U; of Kruskal-Wallis with three groups or more.

    The normal approximation with ties and without continuity correction, as SPSS and the paper
    have it.

    Parameters
    ----------
    parts
        Values [n] of each group, without missing ones.

    Returns
    -------
    tuple
        The p-value and None, or NaN and the reason why there is no test.

    Notes
    -----
    Source: doi:10.1214/aoms/1177730491 (Mann and Whitney 1947).
    """
    if len(parts) < 2:
        return math.nan, "there is only one group"
    if min(map(len, parts)) == 0:
        return math.nan, "a group has no known value"
    if np.ptp(np.concatenate(parts)) == 0:
        return math.nan, "all values are equal"
    if len(parts) == 2:
        test = stats.mannwhitneyu(*parts, use_continuity=False, method="asymptotic")
    else:
        test = stats.kruskal(*parts)
    return float(test.pvalue), None


def chi_square_p(values: pd.Series[Any], groups: pd.Series[Any]) -> tuple[float, str | None]:
    """P-value of Pearson's chi-square without continuity correction, as the paper's are.

    Missing values are left out. NaN with the reason where there is no test.
    """
    known = values.notna()
    counts = pd.crosstab(values[known].astype(str), groups[known].astype(str))
    if counts.shape[1] < len(group_names(groups)):
        return math.nan, "a group has no known value"
    if min(counts.shape) < 2:
        return math.nan, "there is only one group" if counts.shape[1] < 2 else "all are alike"
    return float(stats.chi2_contingency(counts.to_numpy(), correction=False).pvalue), None


def group_names(groups: pd.Series[Any]) -> list[str]:
    """Names of the groups that have a patient, in the categories' order or as they come."""
    if isinstance(groups.dtype, pd.CategoricalDtype):
        present = set(groups)
        return [name for name in groups.cat.categories if name in present]
    return list(groups.unique())
