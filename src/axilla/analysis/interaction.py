"""Whether a score means the same in every subgroup: the likelihood-ratio test of an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import chdtrc, logit

from axilla.analysis.logistic import fit_logistic
from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class LikelihoodRatio(NamedTuple):
    """Twice the gain in log-likelihood by the larger model, and its chi-square test."""

    chi_square: float
    df: int
    p: float


def interaction_test(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> LikelihoodRatio:
    r"""Likelihood-ratio test of score by subgroup in a logistic regression.

    .. math::
        \operatorname{logit} P(y = 1) = a_g + b_g \operatorname{logit}(s)
        \quad\text{against}\quad a_g + b \operatorname{logit}(s)

    with one a for every group g in both models; under the smaller one the statistic is chi-square
    with one degree of freedom fewer than groups.

    It asks whether the odds of positive nodes rise as steeply with the score in every group, each
    group having its own frequency of positive nodes: whether a step of the score means the same. It
    does not ask whether the score ranks equally well, as the test of the areas does. Where the
    scores of a group lie further apart its area is larger with the same slope; and a score that is
    scaled differently in two groups has the same area in both and two slopes.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    scores
        [n], probabilities, above 0 and below 1.
    groups
        [n], the group of each patient; two groups or more.

    Raises
    ------
    StatisticsError
        There is one group only, a score is 0 or 1 (its logit is infinite), or in a group the score
        is constant or separates the classes, so that the slope is unknown or infinite.

    Notes
    -----
    Source: Hosmer, Lemeshow and Sturdivant 2013,
    doi:10.1002/9781118548387.
    """
    truth = np.asarray(labels, dtype=np.float64)
    values = np.asarray(scores, dtype=np.float64)
    names = np.asarray(groups)
    levels = list(dict.fromkeys(names.tolist()))
    if len(levels) < 2:
        raise StatisticsError(
            "there is only one group.", "An interaction needs two groups or more."
        )
    if not ((values > 0) & (values < 1)).all():
        raise StatisticsError(
            "a score is not between 0 and 1, or is 0 or 1 exactly: it has no finite logit.",
            "Give probabilities; a model that is this certain needs calibration first.",
        )
    steps = logit(values)
    member = np.column_stack([names == level for level in levels])  # [n, groups]
    for level, own in zip(levels, member.T, strict=True):
        _need_overlap(str(level), steps[own & (truth == 1)], steps[own & (truth == 0)])
    # The test does not change with the scale of the logits, the fit becomes steadier.
    steps = (steps - steps.mean()) / steps.std()
    # An intercept, and of every group but the first how it differs: the same models.
    others = member[:, 1:]
    common = np.column_stack([np.ones(len(truth)), others, steps])
    own_slopes = np.column_stack([common, others * steps[:, None]])
    gain = _log_likelihood(truth, own_slopes) - _log_likelihood(truth, common)
    chi_square, df = max(0.0, 2 * gain), len(levels) - 1
    return LikelihoodRatio(chi_square, df, float(chdtrc(df, chi_square)))


def _need_overlap(level: str, positives: NDArray[Any], negatives: NDArray[Any]) -> None:
    """Refuse a group whose slope has no finite estimate (doi:10.1093/biomet/71.1.1)."""
    if not len(positives) or not len(negatives):
        raise StatisticsError(f"all patients of {level} are of one class.", "Leave the group out.")
    if np.ptp(np.concatenate([positives, negatives])) == 0:
        raise StatisticsError(
            f"all scores of {level} are equal, so its slope is unknown.", "Leave the group out."
        )
    if positives.min() >= negatives.max() or positives.max() <= negatives.min():
        raise StatisticsError(
            f"the score separates the classes of {level}, so its slope is infinite.",
            "Leave the group out, or gather more patients.",
        )


def _log_likelihood(truth: NDArray[np.float64], design: NDArray[np.float64]) -> float:
    try:
        return fit_logistic(truth, design).log_likelihood
    except StatisticsError as error:
        raise StatisticsError(
            "the logistic regression does not converge.",
            "The groups are too small or nearly separated; gather more patients.",
        ) from error
