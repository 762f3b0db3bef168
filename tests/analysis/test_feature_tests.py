"""Features between two classes, against scipy and a slow oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from axilla.analysis.feature_tests import compare_features
from axilla.analysis.roc import delong_interval


@pytest.fixture
def drawn() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], [23, 17])
    frame = pd.DataFrame(
        {"more": rng.normal(labels, 1), "less": rng.normal(-labels, 1), "none": rng.normal(size=40)}
    )
    frame.loc[3, "more"] = np.nan
    return frame, labels


def test_p_is_scipys_and_the_effect_counts_pairs(drawn):
    frame, labels = drawn
    found = compare_features(frame, labels, classes=("N0", "N(+)")).set_index("feature")
    for name in frame:
        first, second = (frame.loc[labels == i, name].dropna().to_numpy() for i in (0, 1))
        test = stats.mannwhitneyu(first, second, use_continuity=False, method="asymptotic")
        pairs = [(b > a) + (b == a) / 2 for a in first for b in second]
        assert found.p[name] == pytest.approx(test.pvalue, abs=1e-12)
        assert found.effect[name] == pytest.approx(np.mean(pairs), abs=1e-12)
        assert found.u[name] == pytest.approx(np.sum(pairs))
        assert found["median_N0"][name] == np.median(first)
        assert (found["n_N0"][name], found["n_N(+)"][name]) == (len(first), len(second))
        known = frame[name].notna().to_numpy()
        area = delong_interval(labels[known], frame[name][known])
        assert (found.effect_low[name], found.effect_high[name]) == (area.low, area.high)
    assert found.effect["more"] > 0.5 > found.effect["less"]


def test_p_is_adjusted_over_what_could_be_tested(drawn):
    frame, labels = drawn
    found = compare_features(frame.assign(same=1.0), labels, classes=("a", "b"))
    expected = stats.false_discovery_control(found.p[:3])
    np.testing.assert_allclose(found.p_adjusted[:3], expected)
    assert np.isnan(found.p_adjusted[3])


def test_a_class_without_values_has_no_test():
    frame = pd.DataFrame({"x": [1.0, 2.0, np.nan]})
    row = compare_features(frame, np.array([0, 0, 1]), classes=("a", "b")).iloc[0]
    assert (row["n_a"], row["n_b"]) == (2, 0)
    assert np.isnan([row["effect"], row["p"], row["median_b"], row["p_adjusted"]]).all()
