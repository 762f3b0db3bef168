import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from axilla.analysis.group_tests import chi_square_p, group_names, rank_p, rank_test


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # The paper's Table 1, training and test. Luminal A, luminal B, triple negative, HER2(+).
        ([[223, 304, 99, 214], [65, 68, 26, 59]], 0.556),
        # Invasive ductal, invasive lobular, other: contradicts itself. It prints p = 0.812, which
        # neither chi-square nor Fisher's test (0.977) makes of its counts, and 78.9% and 21.1% of
        # `other`, shares of the row where all its other percentages are of the column (7.1%, 7.3%).
        ([[760, 20, 60], [197, 5, 16]], 0.992),
    ],
)
def test_chi_square_of_the_papers_counts(counts, expected):
    levels = list("abcd")[: len(counts[0])]
    values = pd.Series(np.concatenate([np.repeat(levels, row) for row in counts]))
    groups = pd.Series(np.repeat(["Training", "Test"], [840, 218]))
    p, reason = chi_square_p(values, groups)
    assert (round(p, 3), reason) == (expected, None)


def test_mann_whitney_by_hand():
    # U = 0 of 3 x 3 without ties: z = -4.5 / sqrt(9 * 7 / 12).
    values = pd.Series([1.0, 2, 3, 4, 5, 6])
    p, _ = rank_p(values, pd.Series(list("aaabbb")))
    assert p == pytest.approx(2 * stats.norm.sf(4.5 / math.sqrt(9 * 7 / 12)), abs=1e-12)


def test_three_groups_by_kruskal_wallis():
    # Without ties H = 12 / (n (n + 1)) * sum(R^2 / m) - 3 (n + 1).
    values = pd.Series([1.0, 2, 3, 4, 5, 6])
    p, _ = rank_p(values, pd.Series(list("aabbcc")))
    h = 12 / 42 * (3**2 + 7**2 + 11**2) / 2 - 21
    assert p == pytest.approx(math.exp(-h / 2), abs=1e-12)


@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        ([1.0, 1.0, 1.0], "aab", "all values are equal"),
        ([1.0, 2.0, 3.0], "aaa", "only one group"),
        ([1.0, 2.0, np.nan], "aab", "no known value"),
    ],
)
def test_no_test_has_a_reason(values, groups, reason):
    p, why = rank_p(pd.Series(values), pd.Series(list(groups)))
    assert math.isnan(p)
    assert reason in why


@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        (["x", "x", "x"], "aab", "all are alike"),
        (["x", "y", "x"], "aaa", "only one group"),
        (["x", "y", None], "aab", "no known value"),
    ],
)
def test_no_chi_square_has_a_reason(values, groups, reason):
    p, why = chi_square_p(pd.Series(values), pd.Series(list(groups)))
    assert math.isnan(p)
    assert reason in why


def test_arrays_are_tested_as_columns_are():
    values, groups = pd.Series([1.0, 2, 2, 3, 4, 9]), pd.Series(list("aababb"))
    parts = [values[groups == name].to_numpy() for name in "ab"]
    assert rank_test(parts) == rank_p(values, groups)
    assert rank_test([parts[0], np.empty(0)])[1] == "a group has no known value"


def test_groups_come_in_the_categories_order():
    groups = pd.Series(list("ba"))
    assert group_names(groups) == ["b", "a"]
    ordered = groups.astype(pd.CategoricalDtype(["a", "b", "empty"]))
    assert group_names(ordered) == ["a", "b"]
