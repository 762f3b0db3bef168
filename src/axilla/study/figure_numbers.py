"""The numbers behind a figure, a row a number; no row is a patient's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from axilla.analysis.reliability import ReliabilityCurve

QUANTILES = {
    "whisker_low": 5, "quartile_1": 25, "median": 50, "quartile_3": 75, "whisker_high": 95,
}  # fmt: skip
"""Percentiles that a box is drawn from (`draw_score_boxes`)."""


def confusion_numbers(matrix: ArrayLike, classes: Sequence[str]) -> pd.DataFrame:
    """Patients by truth and call.

    Parameters
    ----------
    matrix
        Counts [classes, classes]; rows are the true class, columns the called one.
    classes
        Names in order.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    return pd.DataFrame(
        [
            {"true": truth, "called": call, "patients": int(counts[i, j])}
            for i, truth in enumerate(classes)
            for j, call in enumerate(classes)
        ]
    )


def box_numbers(
    classes: Sequence[str], scores: pd.DataFrame, *, threshold: float | None
) -> pd.DataFrame:
    """Quantiles of the scores by class.

    Parameters
    ----------
    classes
        Negative first.
    scores
        Columns label (0 or 1) and score, a row a patient.
    threshold
        From which score on a patient is called positive.
    """
    boxes = [
        {"quantity": f"score_{name}", "true": classes[label], "value": float(value)}
        for label in range(2)
        if len(values := scores.loc[scores["label"] == label, "score"])
        for name, value in zip(
            QUANTILES, np.percentile(values, list(QUANTILES.values())), strict=True
        )
    ]
    if threshold is not None:
        boxes.append({"quantity": "threshold", "true": "", "value": threshold})
    return pd.DataFrame(boxes)


def reliability_numbers(curve: ReliabilityCurve) -> pd.DataFrame:
    """The groups of a reliability curve."""
    return pd.DataFrame(
        {
            "n": [group.n for group in curve.groups],
            "positives": [group.positives for group in curve.groups],
            "predicted": [group.predicted for group in curve.groups],
            "observed": [group.observed.value for group in curve.groups],
            "observed_low": [group.observed.low for group in curve.groups],
            "observed_high": [group.observed.high for group in curve.groups],
        }
    )
