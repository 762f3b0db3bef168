from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from axilla.analysis.multiplicity import holm


@pytest.mark.parametrize("m", [1, 2, 9])
def test_holm_agrees_with_statsmodels(m):
    p = np.random.default_rng(m).uniform(size=m) ** 3
    np.testing.assert_allclose(holm(list(p)), multipletests(p, method="holm")[1], rtol=1e-12)


def test_holm_keeps_the_order_and_stays_below_one():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
