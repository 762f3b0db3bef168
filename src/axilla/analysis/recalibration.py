"""Recalibration: a model's probabilities corrected on a labelled sample of a new site."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy.special import expit

from axilla.analysis.logistic import (
    check_probabilities,
    fit_logistic,
    log_odds,
    parse_probabilities,
)
from axilla.core.errors import StatisticsError, StoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    _Floats = NDArray[np.float64]

RecalibrationMethod = Literal["intercept", "platt", "isotonic"]
METHODS: tuple[RecalibrationMethod, ...] = get_args(RecalibrationMethod)
LEAST_OF_A_CLASS = 10
"""Patients of each class that a coefficient asks for (Peduzzi 1996,
doi:10.1016/S0895-4356(96)00236-3)."""
LEAST_ISOTONIC = 500
"""Patients that isotonic regression asks for; see `fit_recalibration`."""
SMALLEST_BLOCK = 10
"""Patients that a knot of the isotonic curve stands for at least, some of each class: a model's
record holds no single patient's value, and no sample proves a probability of 0 or 1."""

_KEYS = {
    "intercept": ("intercept",),
    "platt": ("intercept", "slope"),
    "isotonic": ("predicted", "observed"),
}
"""What each method's JSON holds beside `method`, `n` and `positives`."""


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A correction of predicted probabilities, and how many patients it was fitted on."""

    method: RecalibrationMethod
    n: int
    positives: int
    intercept: float = 0.0
    """Added to the log-odds (`intercept`, `platt`)."""
    slope: float = 1.0
    """The log-odds are multiplied by it, above 0 (`platt`)."""
    predicted: tuple[float, ...] = ()
    """Knots of the isotonic curve, rising: mean predicted probability of each block of patients."""
    observed: tuple[float, ...] = ()
    """Share of positives in each block, rising."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which `recalibration_from_json` reads."""
        entry: dict[str, Any] = {"method": self.method, "n": self.n, "positives": self.positives}
        for key in _KEYS[self.method]:
            value = getattr(self, key)
            entry[key] = list(value) if isinstance(value, tuple) else value
        return entry


def fit_recalibration(
    labels: ArrayLike, probabilities: ArrayLike, *, method: RecalibrationMethod
) -> Recalibration:
    r"""Fit a correction on a labelled sample of the site where the model will be used.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    probabilities
        [n], the model's probability of label 1.
    method
        `intercept`: :math:`\operatorname{logit} p' = a + \operatorname{logit} p`, for another
        prevalence. `platt`: :math:`\operatorname{logit} p' = a + b \operatorname{logit} p`, for
        predictions that are too extreme, or not enough, as well. `isotonic`: any rising curve.

    Raises
    ------
    StatisticsError
        The sample is too small for the method, the fit does not exist, or its slope is not above
        0 and would turn the order of the patients around.

    Notes
    -----
    Sources: doi:10.1002/sim.1844 (Steyerberg 2004, updating by intercept and slope);
    Platt 1999, on log-odds and with the labels as they are; Zadrozny and Elkan 2002,
    doi:10.1145/775047.775151 (isotonic).

    `intercept` and `platt` ask for 10 patients of each class. Isotonic regression has as many
    parameters as blocks, and follows chance where data are scarce (Niculescu-Mizil and Caruana
    2005, doi:10.1145/1102351.1102430). Below 500 patients it is refused: simulated, its curve is
    with 500 some 5 percentage points off the true risks (root mean square; 3 for Platt's way where
    that fits), which is no better than a model that needs little correction. Its blocks are
    merged until each has 10 patients and both classes, and joined by straight lines through their
    means (as in centred isotonic regression, Oron and Flournoy 2017,
    doi:10.1080/19466315.2017.1286256), so that patients keep their order, no single patient becomes
    a knot, and nobody's probability becomes 0 or 1.
    """
    truth, values = parse_probabilities(labels, probabilities)
    _check_enough(truth, method=method)
    n, positives = len(truth), int(truth.sum())
    if method == "isotonic":
        predicted, observed = _isotonic(truth, values)
        return Recalibration(method, n, positives, predicted=predicted, observed=observed)
    linear, ones = log_odds(values), np.ones(len(truth))
    if method == "intercept":
        fit = fit_logistic(truth, ones[:, None], offset=linear)
        return Recalibration(method, n, positives, intercept=float(fit.coefficients[0]))
    fit = fit_logistic(truth, np.column_stack([ones, linear]))
    intercept, slope = fit.coefficients.tolist()
    _check_rising(slope > 0)
    return Recalibration(method, n, positives, intercept=intercept, slope=slope)


def apply_recalibration(recalibration: Recalibration, probabilities: ArrayLike) -> _Floats:
    """Correct the model's probabilities of other patients of the site.

    Parameters
    ----------
    recalibration
        From `fit_recalibration`.
    probabilities
        [n], 0 to 1; for `intercept` and `platt`, those nearer to 0 or 1 than `logistic.CLIP` are
        clipped to it.

    Returns
    -------
    ndarray
        float64 [n], 0 to 1; where one patient's probability was higher than another's, it is not
        lower now.

    Raises
    ------
    StatisticsError
        A probability is none.
    """
    values = check_probabilities(probabilities)
    if recalibration.method == "isotonic":
        return np.interp(values, recalibration.predicted, recalibration.observed)
    return np.asarray(expit(recalibration.intercept + recalibration.slope * log_odds(values)))


def recalibration_from_json(value: Any) -> Recalibration:
    """Read what `to_json` wrote, checked field by field.

    Raises
    ------
    StoreError
        A field is missing, unknown, of the wrong kind or makes no rising curve.
    """
    given = value.get("method") if isinstance(value, dict) else None
    method = next((name for name in METHODS if name == given), None)
    if method is None:
        raise _damaged(f"its method is none of {', '.join(METHODS)}")
    keys = ("method", "n", "positives", *_KEYS[method])
    if set(value) != set(keys):
        raise _damaged(f"a recalibration by {method} holds {', '.join(keys)}, and nothing else")
    n, positives = value["n"], value["positives"]
    if type(n) is not int or type(positives) is not int or not 0 < positives < n:
        raise _damaged("n and positives are not counts of patients of both classes")
    if method == "isotonic":
        predicted, observed = _knots(value["predicted"]), _knots(value["observed"])
        if len(predicted) != len(observed) or len(set(predicted)) < len(predicted):
            raise _damaged("predicted and observed are not the knots of one curve")
        return Recalibration(method, n, positives, predicted=predicted, observed=observed)
    intercept, slope = _numbers([value["intercept"], value.get("slope", 1.0)])
    if slope <= 0:
        raise _damaged("its slope is not above 0")
    return Recalibration(method, n, positives, intercept=intercept, slope=slope)


def _check_enough(truth: _Floats, *, method: RecalibrationMethod) -> None:
    if method not in METHODS:
        raise StatisticsError(
            f"there is no recalibration by {method}.", f"Choose one of {', '.join(METHODS)}."
        )
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if min(positives, negatives) < LEAST_OF_A_CLASS:
        raise StatisticsError(
            f"the sample has {positives} positives and {negatives} negatives, and a recalibration "
            f"asks for {LEAST_OF_A_CLASS} of each.",
            "Gather more labelled patients of the site, or use the probabilities as they are.",
        )
    if method == "isotonic" and len(truth) < LEAST_ISOTONIC:
        raise StatisticsError(
            f"the sample has {len(truth)} patients, and isotonic recalibration asks for "
            f"{LEAST_ISOTONIC}: on fewer its curve follows chance.",
            "Recalibrate by `platt` or by `intercept`.",
        )


def _check_rising(rising: bool) -> None:
    if not rising:
        raise StatisticsError(
            "on this sample a higher probability does not go with more positives, so a "
            "recalibration would turn the order of the patients around, or make all alike.",
            "The model does not work at this site; check the labels, and do not use it here.",
        )


def _isotonic(truth: _Floats, values: _Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(values, truth)
    order = np.argsort(values, kind="stable")
    _, starts = np.unique(fitted[order], return_index=True)
    positives = np.append(0, np.cumsum(truth[order]))
    negatives = np.arange(len(values) + 1) - positives
    kept = [0]
    for start in starts[1:].tolist():
        large = min(start - kept[-1], len(values) - start) >= SMALLEST_BLOCK
        # The curve rises: if the first block has a positive and the last a negative, all have both.
        mixed = positives[start] > positives[kept[-1]] and negatives[start] < negatives[-1]
        if large and mixed:
            kept.append(start)
    _check_rising(len(kept) > 1)
    sizes = np.diff([*kept, len(values)])
    predicted = np.add.reduceat(values[order], kept) / sizes
    observed = np.add.reduceat(truth[order], kept) / sizes
    # Means of neighbouring blocks may differ by less than a float64 can tell.
    distinct = np.diff(predicted, prepend=-1.0) > 0
    return tuple(predicted[distinct].tolist()), tuple(observed[distinct].tolist())


def _knots(value: Any) -> tuple[float, ...]:
    knots = _numbers(value)
    if not knots or min(knots) < 0 or max(knots) > 1 or list(knots) != sorted(knots):
        raise _damaged("its curve is no list of rising probabilities")
    return knots


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(
        type(number) in (int, float) and math.isfinite(number) for number in value
    ):
        raise _damaged("one of its numbers is none")
    return tuple(float(number) for number in value)


def _damaged(cause: str) -> StoreError:
    return StoreError(
        f"the recalibration in the model's record is not valid: {cause}.",
        "Recalibrate the model again, or get its folder again as it was written.",
    )
