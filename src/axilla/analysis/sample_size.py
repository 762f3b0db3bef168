"""How many patients an external validation needs for intervals of a wanted width.

Widths are those expected if the model performs as assumed, is well calibrated, and its linear
predictor is normal within each class (variance the same), which the area and the prevalence then
fix: its mean is logit(prevalence) -+ d^2/2 and its variance d^2, d = sqrt(2) times the normal
quantile of the area. Sources: Riley 2021 (doi:10.1002/sim.9025) for the area, O/E and the slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtri
from scipy.stats import binom

from axilla.analysis.intervals import clopper_pearson
from axilla.core.errors import StatisticsError

PlannedFigure = Literal[
    "auc", "auc_exact", "sensitivity", "specificity", "npv", "oe", "calibration_slope"
]
Z = 1.96
"""As in Riley 2021, and in the logit intervals that the tables print."""
MOST = 10_000_000
"""Patients; who needs more has asked for too narrow an interval."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """How the model is expected to perform on the new cohort."""

    auc: float
    prevalence: float
    """Share of positive patients."""
    sensitivity: float | None = None
    """At the model's locked threshold; None leaves it out."""
    specificity: float | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("auc", 0.5), ("prevalence", 0.0), ("sensitivity", 0.0), ("specificity", 0.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not least < value < 1:
                shown = "AUC" if name == "auc" else name
                raise StatisticsError(
                    f"{'an' if name == 'auc' else 'a'} {shown} of {value:g} cannot be planned for.",
                    f"Give a fraction above {least:g} and below 1.",
                )

    @property
    def npv(self) -> float:
        """Negative predictive value; NaN where sensitivity or specificity is left out."""
        if self.sensitivity is None or self.specificity is None:
            return math.nan
        right = self.specificity * (1 - self.prevalence)
        return right / (right + (1 - self.sensitivity) * self.prevalence)


@dataclass(frozen=True, slots=True)
class Planned:
    """One figure, the patients, and how wide its 95% interval is expected to be."""

    figure: PlannedFigure
    value: float
    """As assumed; 1 for O/E and the calibration slope."""
    n: int
    positives: int
    """Of the `n` patients, expected."""
    width: float
    """Upper less lower bound of the 95% interval."""


def plan_validation(
    assumed: Assumed,
    *,
    n: int | None = None,
    width: float = 0.1,
    oe_width: float = 0.2,
    slope_width: float = 0.2,
) -> tuple[Planned, ...]:
    """Expected widths with `n` patients, or the patients for the wanted widths.

    Parameters
    ----------
    assumed
        How the model is expected to perform.
    n
        Patients; None asks for as many as give the widths.
    width
        Wanted of the area, sensitivity, specificity and NPV, as a fraction.
    oe_width, slope_width
        Wanted of observed / expected and of the calibration slope, as Riley 2021 proposes them.

    Returns
    -------
    tuple
        One entry a figure: the area's closed-form and binomial-exact interval, sensitivity,
        specificity and NPV where they are assumed, O/E, calibration slope.

    Raises
    ------
    StatisticsError
        A width cannot be had, or `n` leaves a class with fewer than two patients.
    """
    wanted = {"oe": oe_width, "calibration_slope": slope_width}
    planned = []
    for figure in _figures(assumed):
        count = n
        if count is None:
            count = patients_needed(figure, assumed, width=wanted.get(figure, width))
        planned.append(
            Planned(
                figure=figure,
                value=_value(figure, assumed),
                n=count,
                positives=round(count * assumed.prevalence),
                width=interval_width(figure, assumed, n=count),
            )
        )
    return tuple(planned)


def interval_width(figure: PlannedFigure, assumed: Assumed, *, n: int) -> float:
    """Expected width of a figure's 95% interval with `n` patients.

    Notes
    -----
    `auc`: Newcombe's standard error, as DeLong's on average (Riley 2021, equation of the
    C statistic). `auc_exact`: Clopper-Pearson on AUC times n, as the tables print; it does not
    know the prevalence. `sensitivity`, `specificity`: Clopper-Pearson, expected over the binomial
    of the class. `npv`: the logit interval of Mercaldo 2007. `oe`: normal on the logarithm.
    `calibration_slope`: from the logistic model's expected information.

    Raises
    ------
    StatisticsError
        A class has fewer than two patients, or the figure needs a sensitivity and specificity.
    """
    if n < _least(assumed):
        raise StatisticsError(
            f"{n} patients at a prevalence of {assumed.prevalence:g} leave a class with fewer "
            "than two.",
            f"Plan with at least {_least(assumed)} patients.",
        )
    if figure not in _figures(assumed):
        raise StatisticsError(
            f"{figure} cannot be planned without its assumed value.",
            "Give the sensitivity and the specificity at the threshold.",
        )
    return _WIDTHS[figure](assumed, n)


def patients_needed(figure: PlannedFigure, assumed: Assumed, *, width: float) -> int:
    """Fewest patients with whom the expected width is not above the wanted one.

    Raises
    ------
    StatisticsError
        The width is not above 0, or needs more than ten million patients.
    """
    if not width > 0:
        raise StatisticsError(
            f"an interval cannot be {width:g} wide.", "Give a width above 0, such as 0.1."
        )
    # The widths fall with n: double until narrow enough, then halve the gap.
    low, high = _least(assumed) - 1, _least(assumed)
    while interval_width(figure, assumed, n=high) > width:
        low, high = high, 2 * high
        if high > MOST:
            raise StatisticsError(
                f"a width of {width:g} needs more than {MOST:,} patients.", "Give a greater width."
            )
    while high - low > 1:
        middle = (low + high) // 2
        if interval_width(figure, assumed, n=middle) > width:
            low = middle
        else:
            high = middle
    return high


def auc_standard_error(auc: float, *, prevalence: float, n: float) -> float:
    r"""Expected standard error of the area (Newcombe 2006, method 4; Riley 2021).

    .. math::
        SE^2 = \frac{C (1 - C) \left[1 + (\frac n2 - 1) \frac{1 - C}{2 - C}
        + (\frac n2 - 1) \frac{C}{1 + C}\right]}{n^2 \phi (1 - \phi)}

    Notes
    -----
    Source: doi:10.1002/sim.2324.
    """
    shares = (1 - auc) / (2 - auc) + auc / (1 + auc)
    inner = auc * (1 - auc) * (1 + (n / 2 - 1) * shares)
    return math.sqrt(inner / (n**2 * prevalence * (1 - prevalence)))


def slope_standard_error(linear_predictor: ArrayLike, weights: ArrayLike, *, n: float) -> float:
    """Expected standard error of the calibration slope of a well calibrated model (Riley 2021).

    Parameters
    ----------
    linear_predictor
        [k], log odds that the model gives.
    weights
        [k], share of the patients with each; they sum to 1.
    n
        Patients.
    """
    values, share = np.asarray(linear_predictor), np.asarray(weights)
    risk = expit(values)
    information = share * risk * (1 - risk)
    intercept, both, slope = (float(np.sum(information * values**power)) for power in range(3))
    return math.sqrt(intercept / (n * (intercept * slope - both**2)))


def _figures(assumed: Assumed) -> tuple[PlannedFigure, ...]:
    known: list[PlannedFigure] = ["auc", "auc_exact"]
    if assumed.sensitivity is not None:
        known.append("sensitivity")
    if assumed.specificity is not None:
        known.append("specificity")
    if not math.isnan(assumed.npv):
        known.append("npv")
    return (*known, "oe", "calibration_slope")


def _value(figure: PlannedFigure, assumed: Assumed) -> float:
    return {
        "auc": assumed.auc,
        "auc_exact": assumed.auc,
        "sensitivity": assumed.sensitivity or math.nan,
        "specificity": assumed.specificity or math.nan,
        "npv": assumed.npv,
    }.get(figure, 1.0)


def _least(assumed: Assumed) -> int:
    """Patients of whom two are expected to be of the rarer class."""
    return math.ceil(2 / min(assumed.prevalence, 1 - assumed.prevalence))


def _auc_width(assumed: Assumed, n: int) -> float:
    return 2 * Z * auc_standard_error(assumed.auc, prevalence=assumed.prevalence, n=n)


def _auc_exact_width(assumed: Assumed, n: int) -> float:
    figure = clopper_pearson(assumed.auc * n, n)
    return figure.high - figure.low


def _share_width(share: float, n: int) -> float:
    """Width of Clopper-Pearson's interval, expected over the binomial."""
    low, high = (int(k) for k in binom.ppf((1e-9, 1 - 1e-9), n, share))
    counts = np.arange(low, high + 1)
    figures = [clopper_pearson(count, n) for count in counts.tolist()]
    widths = [figure.high - figure.low for figure in figures]
    return float(np.average(widths, weights=binom.pmf(counts, n, share)))


def _sensitivity_width(assumed: Assumed, n: int) -> float:
    return _share_width(assumed.sensitivity or math.nan, round(n * assumed.prevalence))


def _specificity_width(assumed: Assumed, n: int) -> float:
    negatives = n - round(n * assumed.prevalence)
    return _share_width(assumed.specificity or math.nan, negatives)


def _npv_width(assumed: Assumed, n: int) -> float:
    se, sp = assumed.sensitivity or math.nan, assumed.specificity or math.nan
    variance = se / (1 - se) / assumed.prevalence + (1 - sp) / sp / (1 - assumed.prevalence)
    half = Z * math.sqrt(variance / n)
    middle = float(logit(assumed.npv))
    return float(expit(middle + half) - expit(middle - half))


def _oe_width(assumed: Assumed, n: int) -> float:
    return 2 * math.sinh(Z * math.sqrt((1 - assumed.prevalence) / (n * assumed.prevalence)))


def _slope_width(assumed: Assumed, n: int) -> float:
    spread = math.sqrt(2) * float(ndtri(assumed.auc))
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    middle = float(logit(assumed.prevalence))
    values = np.concatenate([middle + sign * spread**2 / 2 + spread * nodes for sign in (1, -1)])
    shares = np.concatenate([assumed.prevalence * weights, (1 - assumed.prevalence) * weights])
    return 2 * Z * slope_standard_error(values, shares, n=n)


_WIDTHS: dict[PlannedFigure, Callable[[Assumed, int], float]] = {
    "auc": _auc_width,
    "auc_exact": _auc_exact_width,
    "sensitivity": _sensitivity_width,
    "specificity": _specificity_width,
    "npv": _npv_width,
    "oe": _oe_width,
    "calibration_slope": _slope_width,
}
