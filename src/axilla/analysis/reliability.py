"""Reliability curves: how often it happened, against how often it was predicted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, ndtri

from axilla.analysis.intervals import as_json, clopper_pearson
from axilla.analysis.logistic import LogisticFit, fit_logistic, log_odds, parse_probabilities
from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from axilla.core.types import Estimate

    Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

SMALLEST_GROUP = 10
"""About the fewest patients that a group of the curve has."""
EVENTS_PER_COEFFICIENT = 10
"""Patients of the rarer class for each slope of the smooth curve (Peduzzi 1996,
doi:10.1016/S0895-4356(96)00236-3); for a curve that is told from chance, Van Calster 2016 asks for
200 of each class."""

_KNOTS = {4: (0.05, 0.35, 0.65, 0.95), 3: (0.1, 0.5, 0.9)}
"""Where the spline's knots lie, as shares of the patients (Harrell, Regression Modeling Strategies,
2nd edition, Table 2.3)."""
EVENTS_FOR_ALL_KNOTS = EVENTS_PER_COEFFICIENT * (max(_KNOTS) - 1)
"""Patients of the rarer class from which on the smooth curve has all its knots."""
_POINTS = 101


@dataclass(frozen=True, slots=True)
class ReliabilityGroup:
    """Patients with neighbouring predictions."""

    n: int
    positives: int
    predicted: float
    """Mean predicted probability."""
    observed: Estimate
    """Share of positives, with its exact interval."""


@dataclass(frozen=True, slots=True, eq=False)
class SmoothCurve:
    """Observed share as a smooth function of the predicted one; four float64 arrays [101]."""

    predicted: NDArray[np.float64]
    """Equally spaced from the smallest prediction to the largest."""
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    """Lower bound of the pointwise 95% interval."""
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityCurve:
    """Groups from the lowest predictions to the highest, and the smooth curve if there is one."""

    groups: tuple[ReliabilityGroup, ...]
    smooth: SmoothCurve | None
    index: float | None
    """Integrated calibration index: mean distance of the smooth curve from the diagonal, over the
    patients (Austin and Steyerberg 2019, doi:10.1002/sim.8281)."""
    reason: str | None = None
    """Why there is no smooth curve."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `metrics.json`."""
        smooth = self.smooth and {
            name: getattr(self.smooth, name).tolist()
            for name in ("predicted", "observed", "low", "high")
        }
        groups = [
            {"n": group.n, "positives": group.positives, "predicted": group.predicted}
            | {"observed": as_json(group.observed)}
            for group in self.groups
        ]
        entry = {"groups": groups, "smooth": smooth}
        return entry | ({"reason": self.reason} if self.reason else {})


def reliability_curve(
    labels: ArrayLike, probabilities: ArrayLike, *, groups: int = 10
) -> ReliabilityCurve:
    r"""Compare predicted probabilities with observed shares, in groups and by a smooth curve.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    probabilities
        [n], predicted probability of label 1.
    groups
        How many groups of equal size (quantiles of the predictions). There are fewer where groups
        would have fewer than 10 patients, and where equal predictions, which stay together, fall
        on a boundary.

    Returns
    -------
    ReliabilityCurve
        Each group's share with its Clopper-Pearson interval. The smooth curve is a logistic
        regression on a restricted cubic spline of the predicted log-odds,
        :math:`\operatorname{logit} P(y = 1) = \beta_0 + s(\operatorname{logit} p)`, with four
        knots, or three where the rarer class has fewer than 30 patients; with a reason in its
        stead below 20, or where the spline has no maximum. Its band is Wald's, point by point.

    Raises
    ------
    StatisticsError
        Labels or probabilities are none, or `groups` is below 1.

    Notes
    -----
    Sources: doi:10.1016/j.jclinepi.2015.12.005 (Van Calster 2016, flexible calibration curves),
    doi:10.1186/s12916-019-1466-7 (Van Calster 2019).
    """
    truth, values = parse_probabilities(labels, probabilities)
    if groups < 1:
        raise StatisticsError(f"{groups} groups are none.", "Ask for one group or more, as 10.")
    grouped = tuple(_groups(truth, values, count=groups))
    try:
        smooth, index = _smooth(truth, values)
    except StatisticsError as error:
        return ReliabilityCurve(grouped, None, None, error.problem.cause.rstrip("."))
    return ReliabilityCurve(grouped, smooth, index)


def _groups(
    truth: NDArray[np.float64], values: NDArray[np.float64], *, count: int
) -> list[ReliabilityGroup]:
    most = max(1, min(count, len(values) // SMALLEST_GROUP))
    edges = np.quantile(values, np.arange(1, most) / most, method="inverted_cdf")
    # On the left of its edge, so that a run of equal predictions is never cut.
    places = np.searchsorted(np.unique(edges), values, side="left")
    found = []
    for place in np.unique(places):
        inside = places == place
        n, positives = int(inside.sum()), int(truth[inside].sum())
        share = clopper_pearson(positives, n)
        found.append(ReliabilityGroup(n, positives, float(values[inside].mean()), share))
    return found


def _smooth(truth: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[SmoothCurve, float]:
    linear = log_odds(values)
    positives = int(truth.sum())
    knots = spline_knots(min(positives, len(truth) - positives), linear)
    try:
        fit = fit_logistic(truth, spline_columns(linear, knots))
    except StatisticsError as error:
        raise StatisticsError(
            "the spline's likelihood has no maximum: the predictions separate the classes, or "
            "nearly do.",
            "Look at the groups instead.",
        ) from error
    grid = np.linspace(values.min(), values.max(), _POINTS)
    design = spline_columns(log_odds(grid), knots)
    centre, half = design @ fit.coefficients, _half_width(design, fit)
    curve = SmoothCurve(grid, expit(centre), expit(centre - half), expit(centre + half))
    own = expit(spline_columns(linear, knots) @ fit.coefficients)
    return curve, float(np.mean(np.abs(own - values)))


def _half_width(design: NDArray[np.float64], fit: LogisticFit) -> NDArray[np.float64]:
    variance = np.einsum("ij,jk,ik->i", design, fit.covariance, design)
    # Rounding may leave a variance of -1e-17 where it is zero.
    return np.asarray(ndtri(0.975) * np.sqrt(np.maximum(variance, 0.0)))


def spline_knots(rarer: int, linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the smooth curve's knots lie, in log-odds: three or four.

    Parameters
    ----------
    rarer
        Patients of the rarer class.
    linear
        [n], the predictions' log-odds.

    Raises
    ------
    StatisticsError
        There are too few patients, or too many equal predictions.
    """
    for count, shares in _KNOTS.items():
        if rarer < EVENTS_PER_COEFFICIENT * (count - 1):
            continue
        knots = np.quantile(linear, shares)
        if np.diff(knots).min() > 1e-6:
            return knots
    least = EVENTS_PER_COEFFICIENT * (min(_KNOTS) - 1)
    raise StatisticsError(
        f"the rarer class counts {rarer}, and a smooth curve asks for {least} patients."
        if rarer < least
        else "too many predictions are equal for a smooth curve.",
        "Look at the groups instead.",
    )


def spline_columns(linear: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intercept, the log-odds, and Harrell's terms, straight beyond the outer knots, [n, knots]."""
    last, before = knots[-1], knots[-2]
    width = (last - knots[0]) ** 2
    columns = [np.ones_like(linear), linear]
    for knot in knots[:-2]:
        term = _cubed(linear - knot) - (
            _cubed(linear - before) * (last - knot) - _cubed(linear - last) * (before - knot)
        ) / (last - before)
        columns.append(term / width)
    return np.column_stack(columns)


def _cubed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(values, 0.0) ** 3
