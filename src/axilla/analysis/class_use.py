"""What a clinic asks of a model of three classes or more: calibration a class, and decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.analysis.bootstrap import bootstrap
from axilla.analysis.calibration import calibration_entry
from axilla.analysis.decision import decision_curve
from axilla.core.endpoint import are_node_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from axilla.analysis.bootstrap import Bootstrapped
    from axilla.analysis.score_table import Scores

REDRAW_SEED = 2021
"""Of the redrawn patients, so that a metrics file made again is the same, bit by bit."""
OF_ANY_NODES = (
    "The classes with positive nodes are taken together: a patient's risk is 1 - P(N0), and the "
    "positives are all who are not N0."
)
NO_DECISION = (
    "there is no decision curve: these classes are not node stages with N0 as the negative one, so "
    "no single risk says whom a biopsy could be spared"
)


def class_use_entry(part: Scores, *, classes: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one method on one cohort of more classes that go into `metrics.json`.

    Parameters
    ----------
    part
        The cohort's labels and probabilities.
    classes
        Names in the order of the labels.

    Returns
    -------
    dict
        `calibration_by_class`, each class against all others as `calibration_entry` measures it;
        `brier`, see `summed_brier`; and `decision_curve`: of N0 against positive nodes with a
        `note` that says so, or a `reason` where the classes are others.
    """
    by_class = {
        name: calibration_entry(part.labels == index, part.scores[:, index])
        for index, name in enumerate(classes)
    }
    return {
        "calibration_by_class": by_class,
        "brier": summed_brier(part.labels, part.scores).as_json(),
        "decision_curve": _decision(part, classes),
    }


def summed_brier(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> Bootstrapped:
    r"""Brier score of several classes, as Brier (1950) wrote it.

    .. math::
        B = \frac{1}{n} \sum_{i=1}^{n} \sum_{k} (p_{ik} - [y_i = k])^2

    Parameters
    ----------
    labels
        [n], the class's number.
    scores
        [n, classes], probabilities.

    Returns
    -------
    Bootstrapped
        0 is perfect, 2 the worst; of two classes it is twice `Calibration.brier`. The interval is
        BCa's of 2,000 redraws of the patients.

    Notes
    -----
    Source: doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    return bootstrap(_summed, labels, scores, seed=REDRAW_SEED)


def any_nodes(
    labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Whether a patient is in any class but the first, and the risk of it: 1 - P(first), each [n].

    Examples
    --------
    >>> any_nodes(np.array([0, 2]), np.array([[0.75, 0.25, 0.0], [0.5, 0.25, 0.25]]))
    (array([0, 1]), array([0.25, 0.5 ]))
    """
    return (labels > 0).astype(np.int64), 1 - scores[:, 0]


def _summed(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    truth = labels[:, None] == np.arange(scores.shape[1])
    return float(((scores - truth) ** 2).sum(axis=1).mean())


def _decision(part: Scores, classes: Sequence[str]) -> dict[str, Any]:
    if not are_node_classes(classes):
        return {"reason": NO_DECISION}
    positive, risks = any_nodes(part.labels, part.scores)
    return decision_curve(positive, risks).as_json() | {"note": OF_ANY_NODES}
