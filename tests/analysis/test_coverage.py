"""How often each 95% interval holds the true value.

Summed over the binomial where that is finite, else simulated with a fixed seed. What covers less
than it says is measured here with its figure, not left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from axilla.analysis.intervals import clopper_pearson, f1_interval, logit_predictive_value
from axilla.analysis.roc import (
    auc_estimate,
    compare_paired,
    compare_unpaired,
    delong_interval,
    macro_interval,
)
from axilla.core.types import Confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DRAWS = 2000
"""The standard error of a coverage of 95% is 0.5% then."""


@pytest.mark.parametrize("n", [20, 100, 218])
def test_clopper_pearson_covers_at_least_95(n):
    """Exact: at least 95% at every share, and at its worst not above 96%."""
    figures = [clopper_pearson(successes, n) for successes in range(n + 1)]
    low, high = np.array([(figure.low, figure.high) for figure in figures]).T
    share = np.linspace(0.001, 0.999, 999)[:, None]
    covered = (low <= share) & (share <= high)
    coverage = (binom.pmf(np.arange(n + 1), n, share) * covered).sum(axis=1)
    assert 0.95 <= coverage.min() < 0.96


@pytest.mark.parametrize("n", [30, 110])
@pytest.mark.parametrize("shares", [(0.3, 0.1, 0.2), (0.1, 0.02, 0.3), (0.35, 0.01, 0.02)])
def test_f1_covers_at_least_95(n, shares):
    """Exact: at least 95% of the multinomial cohorts that have an F1 at all."""
    tp, fn, fp = shares
    truth = 2 * tp / (2 * tp + fn + fp)
    counted = tp + fn + fp
    covered = 0.0
    for union in range(1, n + 1):
        chance = binom.pmf(union, n, counted) * binom.pmf(np.arange(union + 1), union, tp / counted)
        for hits in np.flatnonzero(chance > 1e-9).tolist():
            figure = f1_interval(Confusion(tp=hits, fn=union - hits, tn=n - union, fp=0))
            covered += float(chance[hits]) * (figure.low <= truth <= figure.high)
    assert 0.95 <= covered / (1 - (1 - counted) ** n) < 0.99


@pytest.mark.parametrize("of", ["ppv", "npv"])
@pytest.mark.parametrize(("n", "se", "sp"), [(200, 0.85, 0.7), (630, 0.94, 0.72)])
def test_predictive_values_cover_95_at_a_known_prevalence(of, n, se, sp):
    """95% +- 1% at prevalence 0.38, the positives as many as that says: Mercaldo's setting."""
    coverage = _predictive_value_coverage(of=of, n=n, se=se, sp=sp, known=True)
    assert coverage == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("of", "n", "se", "sp", "measured"),
    [
        ("ppv", 200, 0.85, 0.7, 0.836),
        ("npv", 200, 0.85, 0.7, 0.925),
    ],
)
def test_predictive_values_cover_less_where_the_prevalence_is_the_cohorts(of, n, se, sp, measured):
    """84% of PPV and 92% of NPV: the interval takes as known a prevalence that is estimated.

    That is what the paper prints: an interval of the value at the cohort's own prevalence, as if
    that were the population's. Of patients who come as they come, a wider one would be needed.
    """
    coverage = _predictive_value_coverage(of=of, n=n, se=se, sp=sp, known=False)
    assert coverage == pytest.approx(measured, abs=0.003)


@pytest.mark.parametrize(
    ("n", "prevalence", "area", "measured"),
    [
        (500, 0.38, 0.80, 0.93),
        (200, 0.38, 0.65, 0.92),
        (200, 0.10, 0.80, 0.75),
    ],
)
def test_binomial_interval_of_the_auc_covers_less_than_it_says(n, prevalence, area, measured):
    """92% and 93% at the paper's prevalence, 75% at a prevalence of 10%: an approximation.

    It counts all patients, not how many are of the rarer class, who carry the variance.
    """
    labels, scores = _binormal((area,), n=n, prevalence=prevalence, seed=1)
    figures = [auc_estimate(labels, one).exact for one in scores[:, 0]]
    coverage = _coverage([(figure.low, figure.high) for figure in figures], area)
    assert coverage == pytest.approx(measured, abs=0.01)


@pytest.mark.parametrize(
    ("n", "prevalence", "area", "expected"),
    [
        (500, 0.38, 0.80, 0.95),
        (200, 0.10, 0.80, 0.93),
        (200, 0.38, 0.95, 0.92),
    ],
)
def test_delongs_interval_of_the_auc(n, prevalence, area, expected):
    """95% +- 1% with 500 patients; 93% with 20 of a class, 92% where the area nears 1."""
    labels, scores = _binormal((area,), n=n, prevalence=prevalence, seed=2)
    figures = [delong_interval(labels, one) for one in scores[:, 0]]
    coverage = _coverage([(figure.low, figure.high) for figure in figures], area)
    assert coverage == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("areas", [(0.8, 0.8), (0.82, 0.72)])
def test_paired_difference_covers_95(areas):
    """95% +- 1% with 200 patients, 38% positive, scores that correlate by a half."""
    labels, scores = _binormal(areas, n=200, prevalence=0.38, seed=3)
    tests = [compare_paired(labels, a, b) for a, b in scores]
    coverage = _coverage([(test.low, test.high) for test in tests], areas[0] - areas[1])
    assert coverage == pytest.approx(0.95, abs=0.01)


def test_unpaired_difference_covers_95():
    """95% +- 1% with 120 and 180 patients, 38% positive."""
    labels_a, a = _binormal((0.8,), n=120, prevalence=0.38, seed=4)
    labels_b, b = _binormal((0.7,), n=180, prevalence=0.38, seed=5)
    tests = [
        compare_unpaired(labels_a, first, labels_b, second)
        for first, second in zip(a[:, 0], b[:, 0], strict=True)
    ]
    coverage = _coverage([(test.low, test.high) for test in tests], 0.8 - 0.7)
    assert coverage == pytest.approx(0.95, abs=0.01)


def test_macro_area_covers_95():
    """95% +- 1% with 90, 60 and 50 patients of three classes."""
    counts, shift = (90, 60, 50), np.array([1.2, 0.8, 1.0])
    labels = np.repeat(np.arange(3), counts)
    scores = np.random.default_rng(6).normal(size=(DRAWS, len(labels), 3))
    scores[:, np.arange(len(labels)), labels] += shift[labels]
    # Whoever is not of the class scores 0 on average, so the areas are those of one class each.
    truth = float(np.mean(ndtr(shift / math.sqrt(2))))
    figures = [macro_interval(labels, one) for one in scores]
    coverage = _coverage([(figure.low, figure.high) for figure in figures], truth)
    assert coverage == pytest.approx(0.95, abs=0.01)


def _coverage(intervals: Sequence[tuple[float, float]], truth: float) -> float:
    low, high = np.array(intervals).T
    return float(np.mean((low <= truth) & (truth <= high)))


def _binormal(
    areas: tuple[float, ...], *, n: int, prevalence: float, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels [n], and scores [DRAWS, areas, n] with these true areas, correlated by a half."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) < round(n * prevalence)
    noise = rng.normal(size=(DRAWS, 1, n)) + rng.normal(size=(DRAWS, len(areas), n))
    shift = math.sqrt(2) * ndtri(np.array(areas))
    return labels, math.sqrt(0.5) * noise + labels * shift[:, None]


def _predictive_value_coverage(
    *, of: Literal["ppv", "npv"], n: int, se: float, sp: float, known: bool
) -> float:
    """Exact coverage at prevalence 0.38, among the cohorts that have an interval.

    `known`: the cohort has just as many positives as that; else they are drawn with the patients.
    """
    share = 0.38
    truth = (
        se * share / (se * share + (1 - sp) * (1 - share))
        if of == "ppv"
        else sp * (1 - share) / (sp * (1 - share) + (1 - se) * share)
    )
    covered = exists = 0.0
    for positives in [round(n * share)] if known else range(n + 1):
        negatives = n - positives
        chance = np.outer(
            binom.pmf(np.arange(positives + 1), positives, se),
            binom.pmf(np.arange(negatives + 1), negatives, sp),
        ) * (1.0 if known else binom.pmf(positives, n, share))
        for tp, tn in np.argwhere(chance > 1e-7).tolist():
            counts = Confusion(tp=tp, fn=positives - tp, tn=tn, fp=negatives - tn)
            figure = logit_predictive_value(counts, of=of)
            if not math.isnan(figure.low):
                exists += float(chance[tp, tn])
                covered += float(chance[tp, tn]) * (figure.low <= truth <= figure.high)
    return covered / exists
