"""What sparing the biopsy costs: the patients whose score is below the threshold.

A patient called negative would be spared sentinel lymph node biopsy; a patient with positive nodes
among them is missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from axilla.analysis.intervals import as_json, clopper_pearson
from axilla.core.types import Confusion, Estimate


@dataclass(frozen=True, slots=True)
class Spared:
    """Biopsies avoided and positives missed, each a count of 100 with its exact 95% interval."""

    avoided_per_100: Estimate
    """Patients called negative, of 100 patients."""
    missed_per_100: Estimate
    """Positives called negative, of 100 patients."""
    missed_per_100_spared: Estimate
    """Positives called negative, of 100 patients called negative: 100 (1 - NPV)."""

    def as_json(self) -> dict[str, Any]:
        """Return its three entries."""
        return {
            "avoided_per_100": as_json(self.avoided_per_100),
            "missed_per_100": as_json(self.missed_per_100),
            "missed_per_100_spared": as_json(self.missed_per_100_spared),
        }


def count_spared(confusion: Confusion) -> Spared:
    """Count who would be spared, and who of them is missed, with Clopper-Pearson intervals.

    Parameters
    ----------
    confusion
        Counts at one threshold.

    Returns
    -------
    Spared
        Of nobody spared, the share that is missed is NaN with its reason.

    Examples
    --------
    The paper's DL-CNB+C model on its test cohort, 9 of 84 positives called negative:

    >>> spared = count_spared(Confusion(tp=75, fn=9, tn=90, fp=44))
    >>> round(spared.avoided_per_100.value, 1), round(spared.missed_per_100_spared.value, 1)
    (45.4, 9.1)
    """
    below = confusion.fn + confusion.tn
    n = below + confusion.tp + confusion.fp
    return Spared(
        avoided_per_100=_per_100(clopper_pearson(below, n)),
        missed_per_100=_per_100(clopper_pearson(confusion.fn, n)),
        missed_per_100_spared=_per_100(clopper_pearson(confusion.fn, below))
        if below
        else Estimate(math.nan, reason="no patient would be spared"),
    )


def _per_100(share: Estimate) -> Estimate:
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high, share.reason)
