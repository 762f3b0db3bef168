"""How far perfectly calibrated predictions would seem to be off, by chance alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from axilla.analysis.logistic import log_odds
from axilla.analysis.reliability import EVENTS_FOR_ALL_KNOTS, spline_columns, spline_knots
from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Floats = NDArray[np.float64]

DRAWS = 500
"""Cohorts drawn: the share of such cohorts above the 95th percentile is then 5% give or take 1%."""
SEED = 2021
"""Of the draws, so that a metrics file made again is the same, bit by bit."""
MOST_GROUPS = 1000
"""More patients than that are drawn in as many groups of neighbouring predictions, each of which
takes its mean for the prediction of all; the index changes in its third digit at most."""

_STEPS = 30
_LONGEST_STEP = 3.0
_DIVERGED = 30.0
"""Of a standardised column's slope: no cohort whose classes overlap comes near to it."""


@dataclass(frozen=True, slots=True)
class IndexByChance:
    """The integrated calibration index of cohorts whose outcomes are drawn from the predictions."""

    mean: float
    upper: float
    """95th percentile."""
    draws: int
    """Cohorts in all, also those without an index."""
    undefined: int
    """Cohorts in which the spline could not be fitted."""
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Return `by_chance` of `metrics.json`."""
        return asdict(self)


def index_by_chance(
    probabilities: _Floats, *, draws: int = DRAWS, seed: int = SEED
) -> IndexByChance | None:
    r"""Recompute the index on cohorts in which :math:`P(y = 1) = p` holds for every patient.

    Parameters
    ----------
    probabilities
        [n], predicted probability of label 1.
    draws
        How many cohorts.
    seed
        Of their outcomes.

    Returns
    -------
    IndexByChance or None
        None where more than half of the cohorts have no index.

    Notes
    -----
    Each cohort gets the spline that `reliability_curve` would fit to it, with the knots that its
    own number of positives allows. An observed index under the mean speaks for nothing against
    the predictions; one above the 95th percentile is what 5% of perfectly calibrated cohorts show.
    """
    values, weights = _grouped(np.sort(probabilities))
    random = np.random.default_rng(seed)
    counts = weights.astype(np.int64)[:, None]
    positives = random.binomial(counts, values[:, None], size=(len(values), draws))
    total = positives.sum(axis=0)
    # More patients than allow all knots change nothing in where these lie.
    rarer = np.minimum(np.minimum(total, len(probabilities) - total), EVENTS_FOR_ALL_KNOTS)
    found = np.full(draws, np.nan)
    linear = log_odds(probabilities)
    for count in np.unique(rarer).tolist():
        knots = _knots(count, linear)
        if knots is not None:
            chosen = rarer == count
            design = spline_columns(log_odds(values), knots)
            found[chosen] = _indices(positives[:, chosen], values, weights, design)
    known = found[~np.isnan(found)]
    if len(known) <= draws / 2:
        return None
    return IndexByChance(
        mean=float(known.mean()),
        upper=float(np.quantile(known, 0.95)),
        draws=draws,
        undefined=draws - len(known),
        seed=seed,
    )


def _grouped(values: _Floats) -> tuple[_Floats, _Floats]:
    """Distinct predictions and the patients with each; means of neighbours where there are many."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) > MOST_GROUPS:
        parts = np.array_split(values, MOST_GROUPS)
        distinct = np.array([part.mean() for part in parts])
        counts = np.array([len(part) for part in parts])
    return distinct, counts.astype(np.float64)


def _knots(rarer: int, linear: _Floats) -> _Floats | None:
    try:
        return spline_knots(rarer, linear)
    except StatisticsError:
        return None


def _indices(
    positives: NDArray[np.int64], values: _Floats, weights: _Floats, design: _Floats
) -> _Floats:
    """Index of each cohort, [cohorts]; NaN where its likelihood has no maximum.

    Newton's method on all cohorts at once, which differ in their outcomes alone: `positives` is
    [groups, cohorts], `weights` the patients a group, `design` [groups, k].
    """
    cohorts = positives.shape[1]
    scale = design[:, 1:].std(axis=0)
    if (scale < 1e-9).any():
        return np.full(cohorts, np.nan)
    columns = np.column_stack([design[:, 0], (design[:, 1:] - design[:, 1:].mean(0)) / scale])
    k = columns.shape[1]
    products = (columns[:, :, None] * columns[:, None, :]).reshape(len(values), k * k)
    # Where the diagonal is, which is where the maximum is on average.
    beta = np.zeros((k, cohorts))
    beta[0], beta[1] = design[:, 1].mean(), scale[0]
    step = beta
    for _ in range(_STEPS):
        shares = expit(columns @ beta)
        rest = columns.T @ (positives - weights[:, None] * shares)
        spread = weights[:, None] * shares * (1 - shares)
        information = (spread.T @ products).reshape(cohorts, k, k)
        # What diverges is left out below; until then its matrix must not stop the others.
        information += 1e-9 * np.eye(k)
        step = np.linalg.solve(information, rest.T[:, :, None])[:, :, 0].T
        largest = np.abs(step).max(axis=0)
        step = step * np.minimum(1.0, _LONGEST_STEP / np.maximum(largest, 1e-300))
        beta = np.clip(beta + step, -2 * _DIVERGED, 2 * _DIVERGED)
        if largest.max() < 1e-6:
            break
    distances = np.abs(expit(columns @ beta) - values[:, None])
    found = weights @ distances / weights.sum()
    lost = (np.abs(beta).max(axis=0) > _DIVERGED) | (np.abs(step).max(axis=0) > 1e-4)
    return np.where(lost, np.nan, found)
