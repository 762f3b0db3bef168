"""Calibration: whether of patients with a predicted probability of 30% some 30% are positive."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from axilla.analysis.index_by_chance import index_by_chance
from axilla.analysis.intervals import as_json
from axilla.analysis.logistic import count_clipped, fit_logistic, log_odds, parse_probabilities
from axilla.analysis.reliability import reliability_curve
from axilla.analysis.roc import one_class
from axilla.core.errors import StatisticsError
from axilla.core.types import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from axilla.analysis.reliability import ReliabilityCurve

    _Floats = NDArray[np.float64]

LEAST_OF_A_CLASS = 10
"""Patients of each class below which the calibration's intervals stand on nothing (each class, for
intercept and slope; the positives, for observed/expected; both together, for the Brier score)."""

_Z = float(ndtri(0.975))
_NO_INDEX_INTERVAL = (
    "it is never below zero, and redrawn patients only raise it, so that a bootstrap interval of a "
    "well calibrated model lies above the truth; `by_chance` says what to compare it with"
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How predicted probabilities fit what happened, each figure with its 95% interval."""

    intercept: Estimate
    """Calibration-in-the-large, in log-odds: 0 is ideal, below 0 the predictions are too high."""
    slope: Estimate
    """Calibration slope: 1 is ideal, below 1 the predictions are too extreme (overfitted)."""
    observed_expected: Estimate
    """Positives observed by positives expected: 1 is ideal, below 1 predictions are too high."""
    brier: Estimate
    """Mean squared distance of prediction and outcome: 0 is perfect; to be judged against that of
    the prevalence, which the scaled score does."""
    scaled_brier: Estimate
    """1 - Brier / Brier of predicting the prevalence: 1 is perfect, 0 no better than that."""


def calibration(labels: ArrayLike, probabilities: ArrayLike) -> Calibration:
    r"""Measure the calibration of predicted probabilities.

    .. math::
        \operatorname{logit} P(y = 1) = a + \operatorname{logit} p, \qquad
        \operatorname{logit} P(y = 1) = a' + b \operatorname{logit} p, \qquad
        \frac{O}{E} = \frac{\sum y}{\sum p}, \qquad B = \frac{1}{n} \sum (y - p)^2

    The intercept is :math:`a` (the slope fixed at 1), the slope :math:`b` (the intercept free),
    each with Wald's interval from its fit.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    probabilities
        [n], predicted probability of label 1, 0 to 1; for intercept and slope those nearer to 0 or
        1 than `logistic.CLIP`, whose log-odds are (almost) infinite, are clipped to it.

    Returns
    -------
    Calibration
        A figure that does not exist is NaN and says why: with one class, or fewer than 10 patients
        of either, there is neither intercept nor slope; with equal predictions, or predictions
        that separate the classes, there is no slope.

    Raises
    ------
    StatisticsError
        Labels or probabilities are none.

    Notes
    -----
    Sources: doi:10.1016/j.jclinepi.2015.12.005 (Van Calster 2016),
    doi:10.1186/s12916-019-1466-7 (Van Calster 2019) for intercept, slope and O/E;
    doi:10.1097/EDE.0b013e3181c30fb2 (Steyerberg 2010) for the Brier score and its scaling.
    The interval of O/E is normal in log(O/E), its variance that of a ratio of two means over the
    same patients, :math:`\sum (y - p O/E)^2 / O^2`: the binomial one, :math:`(1 - O/n) / O`, takes
    all patients' risks for alike and covers too much. The Brier score's interval comes from the
    variance of the patients' squared distances, the scaled one's from the same by the delta method.
    """
    truth, values = parse_probabilities(labels, probabilities)
    reason = _too_few(truth)
    undefined = Estimate(math.nan, reason=reason)
    return Calibration(
        intercept=undefined if reason else _intercept(truth, values),
        slope=undefined if reason else _slope(truth, values),
        observed_expected=_ratio(truth, values),
        brier=_brier(truth, values),
        scaled_brier=_scaled_brier(truth, values),
    )


def calibration_entry(
    labels: ArrayLike, probabilities: ArrayLike, *, groups: int = 10
) -> dict[str, Any]:
    """Return a cohort's `calibration` as `metrics.json` holds it.

    Parameters
    ----------
    labels, probabilities
        As for `calibration`.
    groups
        As for `reliability_curve`.

    Returns
    -------
    dict
        `n`, `positives`, `clipped` (predictions so near to 0 or 1 that intercept, slope and smooth
        curve took their log-odds as of `logistic.CLIP`), every field of `Calibration` and `ici`
        (integrated calibration index, a probability) as value, low and high, and `curve`. In place
        of an interval `ici` has `by_chance`, what perfectly calibrated predictions come to (see
        `index_by_chance`); None where that cannot be told.
    """
    truth, values = parse_probabilities(labels, probabilities)
    figures = calibration(truth, values)
    curve = reliability_curve(truth, values, groups=groups)
    return {
        "n": len(truth),
        "positives": int(truth.sum()),
        "clipped": count_clipped(values),
        **{field.name: as_json(getattr(figures, field.name)) for field in fields(figures)},
        "ici": _index(curve, values),
        "curve": curve.as_json(),
    }


def _index(curve: ReliabilityCurve, values: _Floats) -> dict[str, Any]:
    if curve.index is None:
        return as_json(Estimate(math.nan, reason=curve.reason))
    chance = index_by_chance(values)
    entry = as_json(Estimate(curve.index, reason=_NO_INDEX_INTERVAL))
    return entry | {"by_chance": None if chance is None else chance.as_json()}


def _too_few(truth: _Floats) -> str | None:
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return one_class(truth.astype(bool))
    if min(positives, negatives) >= LEAST_OF_A_CLASS:
        return None
    name, count = ("positive", positives) if positives <= negatives else ("negative", negatives)
    who = f"only {count} patients are" if count > 1 else "only 1 patient is"
    return f"{who} {name}, and the fit asks for {LEAST_OF_A_CLASS} of each class"


def _intercept(truth: _Floats, values: _Floats) -> Estimate:
    try:
        fit = fit_logistic(truth, np.ones((len(truth), 1)), offset=log_odds(values))
    except StatisticsError:
        return Estimate(
            math.nan,
            reason="the predictions are (almost) 0 and 1, and right, so any intercept fits",
        )
    return _wald(fit.coefficients[0], fit.covariance[0, 0])


def _slope(truth: _Floats, values: _Floats) -> Estimate:
    linear = log_odds(values)
    if np.ptp(linear) < 1e-9:
        return Estimate(
            math.nan,
            reason="all predictions are equal, or too near to 0 or 1 to be told apart, so there is "
            "no slope",
        )
    below, above = linear[truth == 0], linear[truth == 1]
    if below.max() <= above.min() or above.max() <= below.min():
        return Estimate(
            math.nan, reason="the predictions separate the classes, so there is no slope"
        )
    try:
        fit = fit_logistic(truth, np.column_stack([np.ones_like(linear), linear]))
    except StatisticsError as error:
        return Estimate(math.nan, reason=error.problem.cause.rstrip("."))
    return _wald(fit.coefficients[1], fit.covariance[1, 1])


def _wald(value: float, variance: float) -> Estimate:
    half = _Z * math.sqrt(variance)
    return Estimate(float(value), float(value - half), float(value + half))


def _ratio(truth: _Floats, values: _Floats) -> Estimate:
    observed, expected = float(truth.sum()), float(values.sum())
    if expected == 0:
        return Estimate(math.nan, reason="no positives are expected: every prediction is 0")
    ratio = observed / expected
    if observed < LEAST_OF_A_CLASS:
        return Estimate(
            ratio,
            reason=f"with {int(observed)} positives the logarithm of observed/expected is far from "
            f"normal; the interval asks for {LEAST_OF_A_CLASS}",
        )
    variance = float(np.sum((truth - ratio * values) ** 2)) / observed**2
    if variance < 1e-20:
        return Estimate(ratio, reason="every prediction is right, so the variance is zero")
    factor = math.exp(_Z * math.sqrt(variance))
    return Estimate(ratio, ratio / factor, ratio * factor)


def _brier(truth: _Floats, values: _Floats) -> Estimate:
    distances = (truth - values) ** 2
    return _mean(float(distances.mean()), distances, lowest=0.0)


def _scaled_brier(truth: _Floats, values: _Floats) -> Estimate:
    share = float(truth.mean())
    worst = share * (1 - share)
    if worst == 0:
        return Estimate(math.nan, reason=one_class(truth.astype(bool)))
    distances = (truth - values) ** 2
    value = 1 - float(distances.mean()) / worst
    # What each patient adds to the first order: d(B / W) = dB / W - B dW / W^2.
    parts = distances / worst - (1 - value) * (1 - 2 * share) * truth / worst
    return _mean(value, parts, lowest=-math.inf)


def _mean(value: float, parts: _Floats, *, lowest: float) -> Estimate:
    """The value with its normal interval, from the variance of the patients' parts in it."""
    if len(parts) < LEAST_OF_A_CLASS:
        return Estimate(value, reason=f"an interval asks for {LEAST_OF_A_CLASS} patients")
    spread = float(parts.std(ddof=1))
    if spread < 1e-10:
        return Estimate(value, reason="all patients are equally far off, so the variance is zero")
    half = _Z * spread / math.sqrt(len(parts))
    return Estimate(value, max(lowest, value - half), min(1.0, value + half))
