"""Logistic regression by maximum likelihood, with its covariance, and the log-odds it works on.

Only what calibration and the interaction test need: an offset, standard errors and the likelihood,
which scikit-learn's does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

CLIP = 1e-6
"""Log-odds are taken of probabilities not nearer to 0 or 1 than this: those of 0 and 1 are
infinite, and a network's float32 cannot tell 1 - 1e-8 from 1."""

_STEPS = 100
_LONGEST_STEP = 2.0
_DIVERGED = 100.0
"""Log-odds per standard deviation of a column. A coefficient, or its standard error, beyond it
means that the likelihood has no maximum: it still rises where the coefficient grows."""


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """The maximum of the likelihood."""

    coefficients: NDArray[np.float64]
    """[k], log-odds."""
    covariance: NDArray[np.float64]
    """[k, k], of the coefficients."""
    log_likelihood: float
    """At the maximum."""


def parse_probabilities(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check labels [n], 0 or 1, and probabilities [n] of label 1; both come back as float64.

    Raises
    ------
    StatisticsError
        Their shapes differ, nobody is there, a label is neither 0 nor 1, or a probability is none.
    """
    truth, values = np.asarray(labels, dtype=np.float64), check_probabilities(probabilities)
    if truth.shape != values.shape or truth.ndim != 1:
        raise StatisticsError(
            f"labels of shape {truth.shape} do not match probabilities of shape {values.shape}.",
            "Give one label and one probability a patient.",
        )
    if not len(truth):
        raise StatisticsError("nobody is there to calibrate on.", "Give at least one patient.")
    if not np.isin(truth, (0, 1)).all():
        raise StatisticsError(
            "a label is neither 0 nor 1.", "Correct or leave out the patients without a label."
        )
    return truth, values


def check_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return the probabilities as float64.

    Raises
    ------
    StatisticsError
        One is not between 0 and 1, or is NaN.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    # Negated, so that NaN counts as outside.
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        raise StatisticsError(
            f"{values[outside].flat[0]:g} is not a probability between 0 and 1.",
            "Calibration is about probabilities: give the model's, not a score of another scale.",
        )
    return values


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 - p)) of probabilities, those beyond `CLIP` clipped to it."""
    return np.asarray(logit(np.clip(probabilities, CLIP, 1 - CLIP)))


def count_clipped(probabilities: NDArray[np.float64]) -> int:
    """How many of the probabilities `log_odds` clips."""
    return int(np.sum((probabilities < CLIP) | (probabilities > 1 - CLIP)))


def fit_logistic(
    labels: NDArray[np.float64],
    design: NDArray[np.float64],
    *,
    offset: NDArray[np.float64] | None = None,
) -> LogisticFit:
    r"""Maximise the likelihood of :math:`\operatorname{logit} P(y = 1) = o + X \beta`.

    Newton's method with step halving; covariance is the inverse of the information at the maximum.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    design
        [n, k]; the first column is the intercept's, all ones.
    offset
        [n], log-odds that are added as they are; None for none.

    Raises
    ------
    StatisticsError
        The likelihood has no maximum: a single class, classes that the columns separate, or a
        column that says nothing of its own.
    """
    centre, scale = design[:, 1:].mean(axis=0), design[:, 1:].std(axis=0)
    if (scale < 1e-9).any() or labels.min() == labels.max():
        raise _no_maximum()
    columns = np.column_stack([design[:, 0], (design[:, 1:] - centre) / scale])
    fixed = np.zeros(len(labels)) if offset is None else offset
    beta = _maximise(labels, columns, fixed)
    information, rest = _newton(labels, columns, fixed + columns @ beta)
    covariance = np.linalg.inv(information)
    extremes = np.append(np.abs(beta[1:]), np.sqrt(np.diag(covariance)))
    if extremes.max() > _DIVERGED or np.abs(rest).max() > 1e-6:
        raise _no_maximum()
    # Back to the columns as they came: slope / sd, and the intercept at 0 and not at the mean.
    back = np.diag(np.append(1.0, 1 / scale))
    back[0, 1:] = -centre / scale
    likelihood = _log_likelihood(labels, fixed + columns @ beta)
    return LogisticFit(back @ beta, back @ covariance @ back.T, likelihood)


def _maximise(
    labels: NDArray[np.float64], columns: NDArray[np.float64], fixed: NDArray[np.float64]
) -> NDArray[np.float64]:
    beta = np.zeros(columns.shape[1])
    value = _log_likelihood(labels, fixed)
    for _ in range(_STEPS):
        _, step = _newton(labels, columns, fixed + columns @ beta)
        # Far from the maximum the likelihood is so flat that a full step leads out of sight.
        step = step * min(1.0, _LONGEST_STEP / max(np.abs(step).max(), 1e-300))
        candidate = _log_likelihood(labels, fixed + columns @ (beta + step))
        while candidate < value and np.abs(step).max() > 1e-10:
            step = step / 2
            candidate = _log_likelihood(labels, fixed + columns @ (beta + step))
        beta, value = beta + step, candidate
        if np.abs(step).max() <= 1e-10:
            break
    return beta


def _newton(
    labels: NDArray[np.float64], columns: NDArray[np.float64], linear: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Information at the linear predictor, and the step from there."""
    shares = expit(linear)
    information = columns.T @ (columns * (shares * (1 - shares))[:, None])
    # Beyond 1e12, what `solve` returns is rounding error.
    if not np.linalg.cond(information) < 1e12:
        raise _no_maximum()
    return information, np.linalg.solve(information, columns.T @ (labels - shares))


def _log_likelihood(labels: NDArray[np.float64], linear: NDArray[np.float64]) -> float:
    # log(1 + e^x) without overflow.
    return float(np.sum(labels * linear - np.logaddexp(0, linear)))


def _no_maximum() -> StatisticsError:
    return StatisticsError(
        "the likelihood has no maximum, so the logistic fit does not exist.",
        "Both classes must overlap, and the predictions must differ; gather more patients.",
    )
