import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from axilla.analysis.logistic import (
    CLIP,
    count_clipped,
    fit_logistic,
    log_odds,
    parse_probabilities,
)
from axilla.core.errors import StatisticsError


@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (30, 0.01), (-500, 40)])
def test_the_fit_is_that_of_statsmodels_wherever_its_columns_lie(shift, scale):
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(200, 2))
    labels = (rng.random(200) < expit(0.5 + plain @ [1.0, -2.0])).astype(float)
    columns = shift + scale * plain
    design = np.column_stack([np.ones(200), columns])
    oracle = sm.Logit(labels, np.column_stack([np.ones(200), plain])).fit(disp=0, tol=1e-12)
    fit = fit_logistic(labels, design)
    np.testing.assert_allclose(fit.coefficients[1:] * scale, oracle.params[1:], rtol=1e-8)
    np.testing.assert_allclose(
        fit.covariance[1:, 1:] * scale**2, oracle.cov_params()[1:, 1:], rtol=1e-6
    )
    moved = oracle.params[0] - shift / scale * oracle.params[1:].sum()
    assert fit.coefficients[0] == pytest.approx(moved, rel=1e-8)


def test_an_offset_is_added_as_it_is():
    rng = np.random.default_rng(2)
    offset = rng.normal(0, 3, size=150)
    labels = (rng.random(150) < expit(1 + offset)).astype(float)
    fit = fit_logistic(labels, np.ones((150, 1)), offset=offset)
    oracle = sm.GLM(labels, np.ones(150), family=sm.families.Binomial(), offset=offset).fit(
        tol=1e-12
    )
    np.testing.assert_allclose(fit.coefficients, oracle.params, rtol=1e-8)
    np.testing.assert_allclose(fit.covariance, oracle.cov_params(), rtol=1e-6)


def test_a_far_off_start_does_not_overshoot():
    # The first Newton step from 0 is 1 / (p (1 - p)) times too long here.
    labels = np.append(np.ones(1), np.zeros(1999))
    fit = fit_logistic(labels, np.ones((2000, 1)), offset=np.full(2000, 9.0))
    assert fit.coefficients[0] == pytest.approx(logit(1 / 2000) - 9, rel=1e-9)


@pytest.mark.parametrize(
    ("labels", "column"),
    [
        ([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]),
        ([0, 0, 0, 1, 1, 1], [1, 2, 3, 3, 5, 6]),
        ([1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6]),
        ([0, 1, 0, 1, 0, 1], [2, 2, 2, 2, 2, 2]),
    ],
    ids=["separated", "separated but for a tie", "one class", "constant column"],
)
def test_where_the_likelihood_has_no_maximum_there_is_no_fit(labels, column):
    design = np.column_stack([np.ones(6), column])
    with pytest.raises(StatisticsError, match="no maximum"):
        fit_logistic(np.array(labels, dtype=float), design)


def test_twin_columns_have_no_fit():
    rng = np.random.default_rng(3)
    column = rng.normal(size=50)
    labels = (rng.random(50) < 0.5).astype(float)
    with pytest.raises(StatisticsError, match="no maximum"):
        fit_logistic(labels, np.column_stack([np.ones(50), column, column]))


def test_log_odds_are_clipped_at_one_in_a_million():
    values = np.array([0.0, CLIP / 2, CLIP, 0.5, 1 - CLIP, 1.0])
    edge = np.log(1e-6 / (1 - 1e-6))
    np.testing.assert_allclose(
        log_odds(values), [edge, edge, edge, 0, -edge, -edge], rtol=1e-9, atol=1e-12
    )
    assert count_clipped(values) == 3


@pytest.mark.parametrize(
    ("labels", "probabilities", "said"),
    [
        ([0, 1], [0.5], "do not match"),
        ([], [], "nobody is there"),
        ([0, 2], [0.5, 0.5], "neither 0 nor 1"),
        ([0, np.nan], [0.5, 0.5], "neither 0 nor 1"),
        ([0, 1], [0.5, np.nan], "nan is not a probability"),
        ([0, 1], [-0.1, 0.5], "-0.1 is not a probability"),
        ([0, 1], [0.5, 7], "7 is not a probability"),
    ],
)
def test_what_is_no_label_or_no_probability_is_refused(labels, probabilities, said):
    with pytest.raises(StatisticsError, match=said):
        parse_probabilities(labels, probabilities)
