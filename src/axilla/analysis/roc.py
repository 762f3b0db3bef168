"""Receiver operating characteristic: the curve, its area, and DeLong's variance and tests.

Positives carry label 1, negatives 0; a higher score means more likely positive. Everything is
float64 and O(n log n) (midranks; Sun and Xu 2014, doi:10.1109/LSP.2014.2337313).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtr, ndtri
from scipy.stats import rankdata

from axilla.analysis.intervals import as_json, clopper_pearson, finite_or_none
from axilla.core.errors import StatisticsError
from axilla.core.types import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """The corners of a ROC curve, from (0, 0) to (1, 1); three float64 arrays of one length."""

    fpr: _Floats
    tpr: _Floats
    thresholds: _Floats
    """A score at or above it is positive; falling, the first is infinity (nobody positive)."""


@dataclass(frozen=True, slots=True)
class AucEstimate:
    """The area with both of its intervals (DESIGN, Statistics)."""

    exact: Estimate
    """Clopper-Pearson on AUC times n: what MedCalc does and the paper prints."""
    delong: Estimate

    @property
    def value(self) -> float:
        """The area itself."""
        return self.exact.value

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `metrics.json`."""
        entry = as_json(self.exact)
        reason = entry.pop("reason", None) or self.delong.reason
        entry["delong_low"] = finite_or_none(self.delong.low)
        entry["delong_high"] = finite_or_none(self.delong.high)
        return entry | ({"reason": reason} if reason else {})


class AucComparison(NamedTuple):
    """The first area less the second, with DeLong's test of no difference (two-sided)."""

    difference: float
    z: float
    p: float
    low: float
    """Lower bound of the 95% interval of the difference, from the same variance."""
    high: float


class AucHeterogeneity(NamedTuple):
    """The chi-square test that areas of several groups of patients are all the same."""

    chi_square: float
    df: int
    p: float


class _Placements(NamedTuple):
    """Each patient's share of the other class that is ranked on the right side (ties half)."""

    positives: _Floats
    negatives: _Floats


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, ties counted half (the Mann-Whitney statistic).

    Parameters
    ----------
    labels
        [n], 0 or 1.
    scores
        [n], any scale.

    Raises
    ------
    StatisticsError
        Only one class is present.
    """
    return float(np.mean(_placements(labels, scores).positives))


def delong_variance(labels: ArrayLike, scores: ArrayLike) -> float:
    """Variance of the area (DeLong 1988, doi:10.2307/2531595).

    Raises
    ------
    StatisticsError
        A class has fewer than two patients.
    """
    placements = _placements(labels, scores)
    _need_two(placements)
    return _variance(placements)


def delong_interval(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Area with DeLong's normal interval, cut at 0 and 1.

    Bounds are NaN, with a reason, where a class has a single patient or where the variance is
    zero (perfect separation, or all scores equal): a width of zero would claim certainty.
    """
    placements = _placements(labels, scores)
    value = float(np.mean(placements.positives))
    if min(map(len, placements)) < 2:
        return Estimate(value, reason="a class has a single patient, so DeLong has no variance")
    if _is_constant(placements):
        return Estimate(
            value,
            reason="DeLong's variance is zero (perfect separation or equal scores); "
            "use the exact interval",
        )
    half = float(ndtri(1 - (1 - level) / 2)) * math.sqrt(_variance(placements))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def auc_estimate(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> AucEstimate:
    """Area with the exact binomial interval and with DeLong's.

    The exact one is Clopper-Pearson on AUC times n, n all patients: MedCalc's, and the paper's
    (0.816 of 218 gives 0.758 to 0.865).
    """
    delong = delong_interval(labels, scores, level=level)
    n = np.size(labels)
    return AucEstimate(clopper_pearson(delong.value * n, n, level=level), delong)


def macro_interval(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean one-versus-rest area over the classes, with a normal interval as DeLong's, cut at 1.

    A patient's contribution is the mean over the classes of the patient's placement divided by
    how many stand on the patient's side; contributions of one class are exchangeable, so that the
    variance is the sum over classes of n times the sample variance within the class. With two
    classes this is DeLong's interval.

    Parameters
    ----------
    labels
        [n], index of the class.
    scores
        [n, classes], probabilities.

    Raises
    ------
    StatisticsError
        A class has no patient.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    count = values.shape[1]
    share = np.zeros(len(truth))
    areas = []
    for index in range(count):
        own = truth == index
        placements = _placements(own, values[:, index])
        areas.append(float(np.mean(placements.positives)))
        share[own] += placements.positives / (count * own.sum())
        share[~own] += placements.negatives / (count * (~own).sum())
    value = float(np.mean(areas))
    parts = [share[truth == index] for index in range(count)]
    if min(map(len, parts)) < 2:
        return Estimate(value, reason="a class has a single patient, so DeLong has no variance")
    variance = sum(len(part) * float(np.var(part, ddof=1)) for part in parts)
    if all(np.ptp(part) < 1e-15 for part in parts):
        return Estimate(value, reason="the variance is zero (perfect separation or equal scores)")
    half = float(ndtri(1 - (1 - level) / 2)) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def compare_paired(labels: ArrayLike, a: ArrayLike, b: ArrayLike) -> AucComparison:
    """DeLong's test of two scores of the same patients.

    Scores that rank the patients alike have difference and variance zero: z is 0, p is 1 and
    the interval is 0 to 0.

    Raises
    ------
    StatisticsError
        A class has fewer than two patients, or the areas differ without any variance.
    """
    first, second = _placements(labels, a), _placements(labels, b)
    _need_two(first)
    # The variance of the differences is that of DeLong's quadratic form, without its cancellation.
    between = _Placements(first.positives - second.positives, first.negatives - second.negatives)
    variance = 0.0 if _is_constant(between) else _variance(between)
    return _test(float(np.mean(between.positives)), variance)


def compare_unpaired(
    labels_a: ArrayLike, scores_a: ArrayLike, labels_b: ArrayLike, scores_b: ArrayLike
) -> AucComparison:
    """DeLong's test of areas measured on different patients, such as two subgroups.

    Equal areas that both have zero variance give z 0 and p 1.

    Raises
    ------
    StatisticsError
        A class has fewer than two patients, or the areas differ without any variance.
    """
    groups = _placements(labels_a, scores_a), _placements(labels_b, scores_b)
    variance = 0.0
    for placements in groups:
        _need_two(placements)
        variance += 0.0 if _is_constant(placements) else _variance(placements)
    means = [float(np.mean(placements.positives)) for placements in groups]
    return _test(means[0] - means[1], variance)


def compare_groups(groups: Sequence[tuple[ArrayLike, ArrayLike]]) -> AucHeterogeneity:
    r"""Test whether areas measured on different patients are all the same.

    .. math::
        Q = \sum_g (A_g - \bar A)^2 / V_g, \quad
        \bar A = \sum_g (A_g / V_g) / \sum_g (1 / V_g)

    with DeLong's variances; without a difference it is chi-square with one degree of freedom fewer
    than groups. With two groups it is the square of the z of `compare_unpaired`.

    Parameters
    ----------
    groups
        Labels [n] and scores [n] of each group, two or more.

    Raises
    ------
    StatisticsError
        A group has fewer than two patients of a class, or an area without variance.

    Notes
    -----
    Source: DeLong 1988 (doi:10.2307/2531595), its contrast test with independent areas; in this
    form Cochran 1954 (doi:10.2307/3001666).
    """
    parts = [_placements(labels, scores) for labels, scores in groups]
    for part in parts:
        _need_two(part)
        if _is_constant(part):
            raise StatisticsError(
                "an area has no variance (perfect separation or equal scores), so its group has no "
                "weight.",
                "Leave the group out, or gather more patients.",
            )
    areas = np.array([np.mean(part.positives) for part in parts])
    weights = 1 / np.array([_variance(part) for part in parts])
    common = float(weights @ areas / weights.sum())
    chi_square, df = float(weights @ (areas - common) ** 2), len(parts) - 1
    return AucHeterogeneity(chi_square, df, float(chdtrc(df, chi_square)))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Every corner of the curve, one a distinct score, from the strictest threshold down.

    Raises
    ------
    StatisticsError
        Only one class is present.
    """
    truth, values = parse_scores(labels, scores, of="ROC curve")
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    tp = np.cumsum(truth)[last_of_tie]
    fp = np.cumsum(~truth)[last_of_tie]
    return RocCurve(
        fpr=np.concatenate([[0.0], fp / fp[-1]]),
        tpr=np.concatenate([[0.0], tp / tp[-1]]),
        thresholds=np.concatenate([[np.inf], values[last_of_tie]]),
    )


def parse_scores(
    labels: ArrayLike, scores: ArrayLike, *, of: str
) -> tuple[NDArray[np.bool_], _Floats]:
    """Return who is positive [n] and the scores [n], both classes present.

    Raises
    ------
    StatisticsError
        They do not match, a value cannot be used, or there is one class and so none `of` it.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise StatisticsError(
            f"labels of shape {truth.shape} do not match scores of shape {values.shape}.",
            "Give one label and one score a patient.",
        )
    if not np.isin(truth, (0, 1)).all() or not np.isfinite(values).all():
        raise StatisticsError(
            "a label is neither 0 nor 1, or a score is not finite.",
            "Correct or leave out the patients without label or score.",
        )
    positive = truth.astype(bool)
    if positive.all() or not positive.any():
        raise StatisticsError(
            f"{one_class(positive)}, so there is no {of}.",
            "Both classes must be present.",
        )
    return positive, values


def one_class(positive: NDArray[np.bool_]) -> str:
    """Say which single class the patients are of."""
    count = len(positive)
    who = "the only patient is" if count == 1 else f"all {count} patients are"
    return f"{who} {'positive' if positive.any() else 'negative'}" if count else "nobody is there"


def _placements(labels: ArrayLike, scores: ArrayLike) -> _Placements:
    positive, values = parse_scores(labels, scores, of="ROC curve")
    ranks = rankdata(values)
    above, below = values[positive], values[~positive]
    m, n = len(above), len(below)
    return _Placements(
        positives=(ranks[positive] - rankdata(above)) / n,
        negatives=1 - (ranks[~positive] - rankdata(below)) / m,
    )


def _variance(placements: _Placements) -> float:
    return float(sum(np.var(part, ddof=1) / len(part) for part in placements))


def _is_constant(placements: _Placements) -> bool:
    # Placements are multiples of half a patient of the other class, so a spread below a quarter
    # is rounding: exact where a tolerance on the variance would be a guess.
    positives, negatives = placements
    return bool(
        np.ptp(positives) < 0.25 / len(negatives) and np.ptp(negatives) < 0.25 / len(positives)
    )


def _need_two(placements: _Placements) -> None:
    if min(map(len, placements)) < 2:
        raise StatisticsError(
            "a class has a single patient, so DeLong's method has no variance.",
            "Compare on a cohort with at least two patients of each class.",
        )


def _test(difference: float, variance: float) -> AucComparison:
    if variance > 0:
        error = math.sqrt(variance)
        z, half = difference / error, float(ndtri(0.975)) * error
        p = float(2 * ndtr(-abs(z)))
        return AucComparison(difference, z, p, difference - half, difference + half)
    if abs(difference) < 1e-12:
        return AucComparison(0.0, 0.0, 1.0, 0.0, 0.0)
    raise StatisticsError(
        f"the areas differ by {difference:.3f} with zero variance, so DeLong's test is undefined.",
        "A cohort this small or this cleanly separated cannot be tested; gather more patients.",
    )
