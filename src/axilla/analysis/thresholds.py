"""The score from which on a patient is called positive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from axilla.core.config import NpvThreshold, SensitivityThreshold, Threshold
from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def choose_threshold(labels: ArrayLike, scores: ArrayLike, *, rule: Threshold) -> float:
    """Find the threshold that a rule asks for; a score at or above it is positive.

    What a rule settles on these patients is between which two scores the line runs. Where several
    gaps serve, the highest is taken, the one that calls the fewest patients positive; the
    threshold stands in the middle of it, for a line drawn at the lowest positive score itself
    would miss every new patient who lies a hair below. With nobody below, it is the lowest score.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    scores
        [n].
    rule
        A number is returned as it is; both Youden rules take the highest sensitivity +
        specificity - 1 of these patients (which cohort they are of is the caller's choice), a
        fixed sensitivity or NPV the highest threshold that reaches it.

    Raises
    ------
    StatisticsError
        No threshold reaches the asked value, or there is only one class to choose on.

    Notes
    -----
    Source: doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3 (Youden 1950).
    """
    if isinstance(rule, float | int):
        return float(rule)
    truth = np.asarray(labels).astype(bool)
    values = np.asarray(scores, dtype=np.float64)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives == 0 or negatives == 0:
        raise StatisticsError(
            "a threshold cannot be chosen on patients of one class.",
            "Choose it on a cohort with both classes, or set a fixed threshold such as 0.5.",
        )
    candidates = np.unique(values)[::-1]
    tp = positives - np.searchsorted(np.sort(values[truth]), candidates, side="left")
    fp = negatives - np.searchsorted(np.sort(values[~truth]), candidates, side="left")
    if isinstance(rule, SensitivityThreshold):
        reached = _reaches(tp, positives, rule.sensitivity)
    elif isinstance(rule, NpvThreshold):
        fn, tn = positives - tp, negatives - fp
        reached = (fn + tn > 0) & _reaches(tn, fn + tn, rule.npv)
        if not reached.any():
            raise _unreachable(tn, fn + tn, rule.npv)
    else:
        # In whole numbers, so that ties are ties: J * positives * negatives.
        gain = tp * negatives - fp * positives
        reached = gain == gain.max()
    return _middle_of_gap(candidates, int(np.argmax(reached)))


def is_chosen_on_validation(rule: Threshold) -> bool:
    """Whether the rule needs the validation cohort (DESIGN, Threshold)."""
    return rule == "youden-validation" or isinstance(rule, SensitivityThreshold | NpvThreshold)


def _middle_of_gap(descending: NDArray[np.float64], at: int) -> float:
    lowest_called = float(descending[at])
    if at + 1 == len(descending):
        return lowest_called
    highest_below = float(descending[at + 1])
    middle = highest_below + (lowest_called - highest_below) / 2
    # Between neighbouring floating-point numbers there is no middle.
    return middle if middle > highest_below else lowest_called


def _reaches(
    count: NDArray[np.int64], of: NDArray[np.int64] | int, share: float
) -> NDArray[np.bool_]:
    # 19 of 20 must reach 0.95, whatever the last bit of 0.95 * 20 is.
    return count >= np.multiply(of, share) - 1e-9


def _unreachable(tn: NDArray[np.int64], called: NDArray[np.int64], asked: float) -> StatisticsError:
    best = float(np.max(tn[called > 0] / called[called > 0], initial=0.0))
    return StatisticsError(
        f"no threshold reaches a negative predictive value of {asked:g} on these patients "
        f"(the highest is {best:.3f}).",
        "Ask for less, for example `threshold: {npv: " + f"{np.floor(best * 100) / 100:.2f}"
        "}`, or fix the sensitivity instead.",
    )
