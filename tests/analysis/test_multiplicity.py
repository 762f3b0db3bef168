from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from axilla.analysis.multiplicity import benjamini_hochberg, holm


@pytest.mark.parametrize("m", [1, 2, 9])
def test_holm_agrees_with_statsmodels(m):
    p = np.random.default_rng(m).uniform(size=m) ** 3
    np.testing.assert_allclose(holm(list(p)), multipletests(p, method="holm")[1], rtol=1e-12)


def test_holm_keeps_the_order_and_stays_below_one():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("m", [1, 2, 9])
def test_benjamini_hochberg_agrees_with_statsmodels(m):
    p = np.random.default_rng(m).uniform(size=m) ** 3
    expected = multipletests(p, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(list(p)), expected, rtol=1e-12)


def test_benjamini_hochberg_on_the_fifteen_p_values_of_its_paper():
    # Benjamini and Hochberg 1995 (doi:10.1111/j.2517-6161.1995.tb02031.x), its example of 15
    # hypotheses: at 0.05 the four smallest are rejected, by familywise ways three.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
         0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    assert [value <= 0.05 for value in benjamini_hochberg(p)] == [True] * 4 + [False] * 11
    assert [value <= 0.05 for value in holm(p)] == [True] * 3 + [False] * 12


def test_benjamini_hochberg_takes_ties_and_nothing():
    assert benjamini_hochberg([0.04, 0.01, 0.04]) == pytest.approx([0.04, 0.03, 0.04])
    assert benjamini_hochberg([]) == []
