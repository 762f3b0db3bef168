"""Confidence intervals of shares: exact for accuracy, sensitivity and specificity, logit for PPV.

Together they reproduce the intervals of the paper's tables to the last digit.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from scipy.special import betaincinv, ndtri

from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion, Estimate


def clopper_pearson(successes: float, n: int, *, level: float = 0.95) -> Estimate:
    """Exact binomial interval of a share (Clopper and Pearson 1934).

    Parameters
    ----------
    successes
        How often it happened, 0 to `n`; AUC times n is not whole, and need not be.
    n
        How many were looked at.
    level
        Coverage, 0.95 for the 95% interval.

    Returns
    -------
    Estimate
        The share as a fraction; value and bounds are NaN, with a reason, where n is 0.

    Raises
    ------
    StatisticsError
        `successes` is not between 0 and `n`.

    Notes
    -----
    Source: doi:10.1093/biomet/26.4.404.

    Examples
    --------
    >>> clopper_pearson(0.816 * 218, 218).low  # doctest: +ELLIPSIS
    0.758...
    """
    if n == 0:
        return Estimate(math.nan, reason="there is nobody to count")
    if not 0 <= successes <= n:
        raise StatisticsError(
            f"{successes} of {n} is no share.", "Give a count between 0 and the number counted."
        )
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return Estimate(successes / n, low, high)


def logit_predictive_value(
    confusion: Confusion,
    *,
    of: Literal["ppv", "npv"],
    prevalence: float | None = None,
    level: float = 0.95,
) -> Estimate:
    r"""Positive or negative predictive value with its logit interval (Mercaldo 2007).

    .. math::
        \operatorname{logit} PPV = \log\frac{se \cdot p}{(1 - sp)(1 - p)}, \quad
        \operatorname{var} = \frac{1 - se}{se \, n_1} + \frac{sp}{(1 - sp) \, n_0}

    and NPV with the classes exchanged.

    Parameters
    ----------
    confusion
        Counts at one threshold.
    of
        Which of the two.
    prevalence
        Share of positives where the test will be used, 0 to 1 exclusive; None takes the sample's.
    level
        Coverage.

    Returns
    -------
    Estimate
        Fractions. Where a cell that the logit needs is zero, or everybody was called alike, the
        value stands, the bounds are NaN and the reason says so; where nobody was called positive
        (negative) the value is NaN too.

    Notes
    -----
    Source: doi:10.1002/sim.2677.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise StatisticsError(
            f"a prevalence of {prevalence} is not between 0 and 1.",
            "Give the share of patients with positive nodes, for example 0.3.",
        )
    # NPV is the PPV of the exchanged classes.
    counts = confusion
    if of == "npv":
        counts = Confusion(tp=confusion.tn, fn=confusion.fp, tn=confusion.tp, fp=confusion.fn)
    called = "positive" if of == "ppv" else "negative"
    right, wrong = counts.tp, counts.fp
    own, other = counts.tp + counts.fn, counts.tn + counts.fp
    if right + wrong == 0:
        return Estimate(math.nan, reason=f"no patient was called {called}")
    if prevalence is not None and (own == 0 or other == 0):
        return Estimate(
            math.nan, reason="only one class is present: sensitivity or specificity is unknown"
        )
    if right == 0 or wrong == 0:
        # A share of exactly 0 or 1 holds at every prevalence; its logit is infinite.
        return Estimate(
            right / (right + wrong),
            reason=f"there are no {'true' if right == 0 else 'false'} {called}s, "
            "so the logit interval does not exist",
        )
    share = own / (own + other)
    if prevalence is not None:
        share = prevalence if of == "ppv" else 1 - prevalence
    logit = math.log(right / own * share) - math.log(wrong / other * (1 - share))
    variance = counts.fn / own / right + counts.tn / other / wrong
    if variance == 0:
        return Estimate(
            _expit(logit),
            reason=f"everybody was called {called}, so the logit interval has no width",
        )
    half = _normal_quantile(level) * math.sqrt(variance)
    return Estimate(_expit(logit), _expit(logit - half), _expit(logit + half))


def f1_interval(confusion: Confusion, *, level: float = 0.95) -> Estimate:
    """F1 with an exact interval.

    F1 = 2J / (1 + J) rises with J = TP / (TP + FN + FP), and given TP + FN + FP the count TP is
    binomial with share J; so Clopper-Pearson's bounds of J, carried through, are exact for F1.
    """
    counted = confusion.tp + confusion.fn + confusion.fp
    if counted == 0:
        return Estimate(math.nan, reason="no patient is, or was called, positive")
    jaccard = clopper_pearson(confusion.tp, counted, level=level)
    return Estimate(
        2 * jaccard.value / (1 + jaccard.value),
        2 * jaccard.low / (1 + jaccard.low),
        2 * jaccard.high / (1 + jaccard.high),
    )


def as_json(estimate: Estimate) -> dict[str, Any]:
    """Write an estimate as `metrics.json` holds it: null for NaN, with its reason beside it."""
    entry: dict[str, Any] = {
        "value": finite_or_none(estimate.value),
        "low": finite_or_none(estimate.low),
        "high": finite_or_none(estimate.high),
    }
    if estimate.reason is not None:
        entry["reason"] = estimate.reason
    return entry


def finite_or_none(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return float(value) if math.isfinite(value) else None


def _normal_quantile(level: float) -> float:
    # 1.96, not 1.959964: three of the 196 bounds that the paper prints (MedCalc's) come out one off
    # in their last digit otherwise.
    return 1.96 if level == 0.95 else float(ndtri(1 - (1 - level) / 2))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))
