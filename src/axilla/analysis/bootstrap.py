"""Intervals by redrawing patients, for figures that have no closed form.

A patient's rows are drawn together, since they are not independent. A redraw in which the figure
is undefined (of one class only, for example) is counted and left out, never drawn again: drawing
until it fits would sample from other cohorts than the one at hand.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap as scipy_bootstrap

from axilla.analysis.intervals import as_json
from axilla.core.errors import StatisticsError
from axilla.core.types import Estimate

Figure = Callable[[NDArray[Any], NDArray[np.float64]], float]
"""Of labels [n] and scores [n] or [n, classes]; undefined is NaN or a StatisticsError."""
Method = Literal["bca", "percentile"]

_OfRows = Callable[[NDArray[np.intp]], float]


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A figure with its interval, and how that was drawn."""

    estimate: Estimate
    draws: int
    """Redraws in all, also the undefined ones."""
    undefined: int
    """Redraws in which the figure could not be computed; the interval leaves them out."""
    patients: int
    seed: int
    method: Method
    stratified: bool
    """Each class keeps its number of patients in every redraw."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `metrics.json`."""
        return as_json(self.estimate) | {
            "bootstrap": {
                "method": self.method,
                "draws": self.draws,
                "undefined": self.undefined,
                "patients": self.patients,
                "seed": self.seed,
                "stratified": self.stratified,
            }
        }


def bootstrap(
    figure: Figure,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    seed: int,
    patients: ArrayLike | None = None,
    draws: int = 2000,
    stratified: bool = False,
    method: Method = "bca",
    level: float = 0.95,
) -> Bootstrapped:
    """Interval of any figure, by redrawing patients with replacement.

    Parameters
    ----------
    figure
        Takes the labels and scores of the rows drawn, returns a number.
    labels
        [n], the class of each row.
    scores
        [n] or [n, classes], in the order of `labels`.
    seed
        The same seed gives the same interval.
    patients
        [n], whose row each is; None where every row is a patient.
    draws
        Redraws; 2000 steady the bounds to a few hundredths of the interval's width.
    stratified
        Draw within each class, as where the classes' numbers were set by design.
    method
        `bca` corrects for bias and skewness (Efron 1987, doi:10.1080/01621459.1987.10478410);
        `percentile` takes the quantiles of the redraws as they are.
    level
        Coverage, 0.95 for the 95% interval.

    Returns
    -------
    Bootstrapped
        Bounds are NaN, with a reason, where more redraws than `1 - level` are undefined (all of
        them might lie beyond one bound), where all give the same figure, or where BCa has no
        correction. The value is NaN where the figure is undefined on the patients themselves.

    Raises
    ------
    StatisticsError
        Rows do not match, or a patient's rows are of two classes and the draws are stratified.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    _need_rows(truth, values)
    return _bootstrap(
        lambda rows: figure(truth[rows], values[rows]),
        truth,
        seed=seed,
        patients=patients,
        draws=draws,
        stratified=stratified,
        method=method,
        level=level,
    )


def bootstrap_difference(
    figure: Figure,
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    seed: int,
    patients: ArrayLike | None = None,
    draws: int = 2000,
    stratified: bool = False,
    method: Method = "bca",
    level: float = 0.95,
) -> Bootstrapped:
    """Interval of the figure of `a` less that of `b`, both on the same redrawn patients.

    Parameters, returns and errors are those of `bootstrap`; `a` and `b` are scores of two methods,
    row by row of the same patients.
    """
    truth = np.asarray(labels)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    _need_rows(truth, first)
    _need_rows(truth, second)
    return _bootstrap(
        lambda rows: figure(truth[rows], first[rows]) - figure(truth[rows], second[rows]),
        truth,
        seed=seed,
        patients=patients,
        draws=draws,
        stratified=stratified,
        method=method,
        level=level,
    )


def _bootstrap(
    of_rows: _OfRows,
    truth: NDArray[Any],
    *,
    seed: int,
    patients: ArrayLike | None,
    draws: int,
    stratified: bool,
    method: Method,
    level: float,
) -> Bootstrapped:
    rows_of = _rows_by_patient(len(truth), patients)
    strata = _strata(truth, rows_of) if stratified else (np.arange(len(rows_of)),)

    alone = len(rows_of) == len(truth)

    def of_patients(*drawn: NDArray[np.intp]) -> float:
        # Joining single rows would take longer than most figures do.
        rows = np.concatenate(
            drawn if alone else [rows_of[patient] for part in drawn for patient in part]
        )
        try:
            return float(of_rows(rows))
        except StatisticsError:
            return math.nan

    value = of_patients(*strata)
    rng = np.random.default_rng(seed)
    redrawn = np.array(
        [
            of_patients(*(part[rng.integers(0, len(part), len(part))] for part in strata))
            for _ in range(draws if math.isfinite(value) else 0)
        ]
    )
    defined = redrawn[np.isfinite(redrawn)]
    undefined = len(redrawn) - len(defined)
    reason = _why_not(value, redrawn, defined, strata, level=level)
    estimate = (
        Estimate(value if math.isfinite(value) else math.nan, reason=reason)
        if reason
        else _interval(of_patients, value, defined, strata, method=method, level=level)
    )
    return Bootstrapped(
        estimate=estimate,
        draws=len(redrawn),
        undefined=undefined,
        patients=len(rows_of),
        seed=seed,
        method=method,
        stratified=stratified,
    )


def _why_not(
    value: float,
    redrawn: NDArray[np.float64],
    defined: NDArray[np.float64],
    strata: tuple[NDArray[np.intp], ...],
    *,
    level: float,
) -> str | None:
    """Reason why there are no bounds, None where there are some."""
    if not math.isfinite(value):
        return "the figure is not defined on these patients"
    if min(map(len, strata)) < 2:
        return "a single patient cannot be redrawn" + (
            " within the class" if len(strata) > 1 else ""
        )
    missing = len(redrawn) - len(defined)
    if missing > (1 - level) * len(redrawn) * (1 + 1e-9):
        return (
            f"the figure is not defined in {missing} of {len(redrawn)} redraws, "
            "too many for an interval"
        )
    if np.ptp(defined) <= 1e-12 * max(1.0, abs(value)):
        return "every redraw gives the same figure"
    return None


def _interval(
    of_patients: Callable[..., float],
    value: float,
    defined: NDArray[np.float64],
    strata: tuple[NDArray[np.intp], ...],
    *,
    method: Method,
    level: float,
) -> Estimate:
    """Bounds of the redraws; scipy leaves out a patient at a time for the acceleration of BCa."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Where BCa has no correction scipy warns and gives NaN; here that is a reason.
        warnings.simplefilter("ignore")
        interval = scipy_bootstrap(
            strata,
            of_patients,
            n_resamples=0,
            bootstrap_result=SimpleNamespace(bootstrap_distribution=defined),
            vectorized=False,
            paired=False,
            method={"bca": "BCa", "percentile": "percentile"}[method],
            confidence_level=level,
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    if math.isnan(low) or math.isnan(high):
        return Estimate(
            value, reason="BCa has no correction for these patients; use the percentile interval"
        )
    return Estimate(value, low, high)


def _need_rows(truth: NDArray[Any], values: NDArray[np.float64]) -> None:
    if truth.ndim != 1 or values.ndim not in {1, 2} or len(truth) != len(values):
        raise StatisticsError(
            f"labels of shape {truth.shape} do not match scores of shape {values.shape}.",
            "Give one label and one row of scores a patient.",
        )
    if not len(truth):
        raise StatisticsError("nobody is there to redraw.", "Give the scores of some patients.")


def _rows_by_patient(n: int, patients: ArrayLike | None) -> list[NDArray[np.intp]]:
    """Rows of each patient, patients in the order in which they first come."""
    if patients is None:
        return list(np.arange(n)[:, None])
    names = np.asarray(patients)
    if names.shape != (n,):
        raise StatisticsError(
            f"{n} labels do not match patients of shape {names.shape}.",
            "Give the patient of each row.",
        )
    _, first, number = np.unique(names, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))[number]
    order = np.argsort(place, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(place[order])) + 1)


def _strata(truth: NDArray[Any], rows_of: list[NDArray[np.intp]]) -> tuple[NDArray[np.intp], ...]:
    """Patients of each class."""
    if any(len(np.unique(truth[rows])) > 1 for rows in rows_of):
        raise StatisticsError(
            "a patient's rows are of more than one class, so there are no strata.",
            "Redraw without strata.",
        )
    own = np.array([truth[rows[0]] for rows in rows_of])
    return tuple(np.flatnonzero(own == label) for label in np.unique(own))
