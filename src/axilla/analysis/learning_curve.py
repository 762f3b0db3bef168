"""How the figure of a method grows with the patients it learns from, and what more would bring."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeWarning, curve_fit

from axilla.analysis.intervals import as_json, finite_or_none
from axilla.core.errors import StatisticsError
from axilla.core.types import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

_Floats = NDArray[np.float64]

LEAST_SIZES = 4
"""Sizes that a curve of three parameters needs."""
LEAST_REPEATS = 3
"""Repeats that say anything of its uncertainty."""


@dataclass(frozen=True, slots=True)
class LearningRun:
    """One training: on how many patients, and the area it reached."""

    n: int
    repeat: int
    auc: float


@dataclass(frozen=True, slots=True)
class LearningPoint:
    """All trainings on so many patients."""

    n: int
    values: tuple[float, ...]
    mean: float
    sd: float
    """NaN where there is a single training."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `learning_curve.json`."""
        return {
            "n": self.n, "mean": self.mean, "sd": finite_or_none(self.sd),
            "values": list(self.values),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """The area as `a - b n^-c` of the training patients, with an extrapolation."""

    a: float
    """Where the curve ends up; at most 1."""
    b: float
    c: float
    n: int
    """Patients of the extrapolation."""
    extrapolated: Estimate
    """Area expected with `n` patients; bounds from redrawn repeats."""

    def at(self, n: ArrayLike) -> _Floats:
        """Area on the fitted curve with `n` patients."""
        return _curve(np.asarray(n, dtype=np.float64), self.a, self.b, self.c)

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `learning_curve.json`."""
        return {
            "a": self.a, "b": self.b, "c": self.c,
            "extrapolated": {"n": self.n, **as_json(self.extrapolated)},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The points of one method by size, and the law through them or why there is none."""

    points: tuple[LearningPoint, ...]
    law: PowerLaw | None
    reason: str | None = None
    notes: tuple[str, ...] = ()
    """What else must be known of the trainings, such as those that could not be made."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `learning_curve.json`."""
        entry: dict[str, Any] = {
            "points": [point.as_json() for point in self.points],
            "law": None if self.law is None else self.law.as_json(),
        }
        if self.reason is not None:
            entry["reason"] = self.reason
        return entry | ({"notes": list(self.notes)} if self.notes else {})


def nested_subsets(
    labels: ArrayLike, *, shares: Sequence[float], seed: int | Sequence[int]
) -> list[NDArray[np.intp]]:
    """Patients of each share, stratified by class; a smaller share lies within a larger one.

    Parameters
    ----------
    labels
        [n], class of each patient.
    shares
        Fractions above 0 and at most 1.
    seed
        The same seed gives the same patients.

    Returns
    -------
    list
        By share, in the order of `shares`: sorted places in `labels`. Of each class the share is
        rounded, and at least two patients (all, where there are fewer) are kept.

    Raises
    ------
    StatisticsError
        A share is not a fraction.
    """
    for share in shares:
        if not 0 < share <= 1:
            raise StatisticsError(
                f"a share of {share:g} of the training patients cannot be taken.",
                "Give fractions above 0 and at most 1, such as 0.25,0.5,0.75,1.",
            )
    truth = np.asarray(labels)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.flatnonzero(truth == label)) for label in np.unique(truth)]
    return [
        np.sort(np.concatenate([order[: max(2, round(share * len(order)))] for order in orders]))
        for share in shares
    ]


def learning_curve(
    runs: Sequence[LearningRun], *, extrapolate_to: int, seed: int, draws: int = 200
) -> LearningCurve:
    """Mean and spread by size, and an inverse power law where the runs allow one.

    Parameters
    ----------
    runs
        Every training; those of one repeat learn from nested patients.
    extrapolate_to
        Patients for which the law says what to expect.
    seed, draws
        Of the redraws: repeats are drawn with replacement, whole, and the law is fitted to each.
        The bounds hold the chance of which patients train, not of who validates.

    Returns
    -------
    LearningCurve
        Without a law, and with the reason, where there are fewer than four sizes or three
        repeats, where the area does not grow, or where the law cannot be fitted.

    Notes
    -----
    Source of the law: Figueroa 2012, doi:10.1186/1472-6947-12-8.
    """
    points = tuple(_point(n, runs) for n in sorted({run.n for run in runs}))
    if len(points) < LEAST_SIZES:
        reason = f"a law needs {LEAST_SIZES} sizes, and there are {len(points)}"
        return LearningCurve(points, None, reason)
    repeats = sorted({run.repeat for run in runs})
    if len(repeats) < LEAST_REPEATS:
        reason = f"a law needs {LEAST_REPEATS} repeats for its uncertainty"
        return LearningCurve(points, None, reason)
    fitted = _fit([(run.n, run.auc, 1.0) for run in runs])
    if fitted is None:
        return LearningCurve(points, None, "the power law could not be fitted")
    sizes = np.array([points[0].n, points[-1].n], dtype=np.float64)
    first, last = _curve(sizes, *fitted)
    if last - first < 0.005:
        return LearningCurve(points, None, "the AUC does not grow with the patients")
    bounds = _bounds(runs, repeats, extrapolate_to, seed=seed, draws=draws)
    if bounds is None:
        return LearningCurve(points, None, "the power law could not be fitted to redrawn repeats")
    value = float(_curve(np.array([float(extrapolate_to)]), *fitted)[0])
    law = PowerLaw(*fitted, n=extrapolate_to, extrapolated=Estimate(value, *bounds))
    return LearningCurve(points, law)


def _point(n: int, runs: Sequence[LearningRun]) -> LearningPoint:
    values = tuple(run.auc for run in runs if run.n == n)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return LearningPoint(n, values, float(np.mean(values)), sd)


def _bounds(
    runs: Sequence[LearningRun], repeats: list[int], n: int, *, seed: int, draws: int
) -> tuple[float, float] | None:
    """95% interval of the area with `n` patients over redrawn repeats."""
    rng = np.random.default_rng(seed)
    # A size that is trained once, on all patients by a method without chance, belongs to no repeat.
    once = {point_n for point_n, count in Counter(run.n for run in runs).items() if count == 1}
    found = []
    for _ in range(draws):
        times = Counter(rng.choice(repeats, len(repeats)).tolist())
        weighted = [
            (run.n, run.auc, 1.0 if run.n in once else float(times[run.repeat]))
            for run in runs
            if run.n in once or times[run.repeat]
        ]
        fitted = _fit(weighted)
        if fitted is not None:
            found.append(float(_curve(np.array([float(n)]), *fitted)[0]))
    if len(found) < 0.95 * draws:
        return None
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def _fit(weighted: Sequence[tuple[int, float, float]]) -> tuple[float, float, float] | None:
    """a, b, c by weighted least squares; None where the search does not end."""
    n, area, weight = (np.array(column, dtype=np.float64) for column in zip(*weighted, strict=True))
    # Sizes as shares of the largest: b and c are of one magnitude then.
    scale = float(n.max())
    start = (min(1.0, float(area.max())), 0.05, 0.5)
    with warnings.catch_warnings():
        # Of the covariance, which is not used.
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            (a, b, c), _ = curve_fit(
                _curve, n / scale, area, p0=start, sigma=1 / np.sqrt(weight),
                bounds=((0, 0, 0.05), (1, 1, 3)),
            )  # fmt: skip
        except RuntimeError:
            return None
    return float(a), float(b * scale**c), float(c)


def _curve(n: _Floats, a: float, b: float, c: float) -> _Floats:
    return np.asarray(a - b * n**-c)
