"""The numbers behind a figure, as the text of a CSV; no row is a patient's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def confusion_and_boxes(
    counts: Mapping[str, int],
    classes: Sequence[str],
    scores: pd.DataFrame,
    *,
    threshold: float | None,
) -> str:
    """Patients by truth and call, then the quantiles of the scores by class.

    Parameters
    ----------
    counts
        tp, fn, tn and fp.
    classes
        Negative first.
    scores
        Columns label (0 or 1) and score, a row a patient.
    threshold
        From which score on a patient is called positive.
    """
    matrix = [[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]]
    told = _confusion(matrix, classes).rename(columns={"patients": "value"})
    told.insert(0, "quantity", "patients")
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
    both = pd.concat([told.astype({"value": object}), pd.DataFrame(boxes, dtype=object)])
    return to_csv(both[["quantity", "true", "called", "value"]].fillna(""))


def _confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"true": truth, "called": call, "patients": int(matrix[i][j])}
            for i, truth in enumerate(classes)
            for j, call in enumerate(classes)
        ]
    )
