"""Predictive values where positives are rarer or more common than in the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from axilla.analysis.intervals import as_json, logit_predictive_value
from axilla.core.types import Confusion, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class PredictiveValues:
    """Both predictive values at one prevalence, fractions."""

    prevalence: float
    ppv: Estimate
    npv: Estimate


def predictive_values_at(
    confusion: Confusion, prevalences: Sequence[float]
) -> tuple[PredictiveValues, ...]:
    """PPV and NPV by Bayes' rule from sensitivity and specificity, with logit intervals.

    It holds where sensitivity and specificity do: the patients differ in how many are positive,
    not in how hard they are to tell apart.

    Parameters
    ----------
    confusion
        Counts at one threshold.
    prevalences
        Shares of positives where the test will be used, 0 to 1 exclusive.

    Raises
    ------
    StatisticsError
        A prevalence is not between 0 and 1.

    Notes
    -----
    Source: Mercaldo 2007, doi:10.1002/sim.2677.

    Examples
    --------
    >>> counts = Confusion(tp=75, fn=9, tn=90, fp=44)
    >>> round(predictive_values_at(counts, [0.2])[0].npv.value, 3)
    0.962
    """
    return tuple(
        PredictiveValues(
            prevalence=float(prevalence),
            ppv=logit_predictive_value(confusion, of="ppv", prevalence=prevalence),
            npv=logit_predictive_value(confusion, of="npv", prevalence=prevalence),
        )
        for prevalence in prevalences
    )


def predictive_values_json(values: Sequence[PredictiveValues]) -> list[dict[str, Any]]:
    """Return the entry `predictive_values` of `metrics.json`, one a prevalence."""
    return [
        {"prevalence": at.prevalence, "ppv": as_json(at.ppv), "npv": as_json(at.npv)}
        for at in values
    ]
