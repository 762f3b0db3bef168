"""The numbers behind a figure, as the text of a CSV; no row is a patient's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from axilla.analysis.tables.markup import to_csv

QUANTILES = {
    "whisker_low": 5, "quartile_1": 25, "median": 50, "quartile_3": 75, "whisker_high": 95,
}  # fmt: skip
"""Percentiles that a box is drawn from (`draw_score_boxes`)."""


def confusion_numbers(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Patients by truth and call.

    Parameters
    ----------
    matrix
        Counts [classes, classes]; rows are the true class, columns the called one.
    classes
        Names in order.
    """
    return to_csv(_confusion(matrix, classes))


def box_numbers(classes: Sequence[str], scores: pd.DataFrame, *, threshold: float | None) -> str:
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
    return to_csv(pd.DataFrame(boxes))


def _confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"true": truth, "called": call, "patients": int(matrix[i][j])}
            for i, truth in enumerate(classes)
            for j, call in enumerate(classes)
        ]
    )
