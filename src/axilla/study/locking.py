"""What the validation patients decide of a trained model: its threshold, and a recalibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.analysis.recalibration import fit_recalibration
from axilla.analysis.thresholds import choose_threshold, is_chosen_on_validation
from axilla.core.config import Threshold
from axilla.core.errors import StatisticsError
from axilla.core.types import Partition
from axilla.mil.bundle import Bundle
from axilla.study.fitting import Fitting
from axilla.study.model_records import validation_entry
from axilla.study.scoring import scores_of


def lock_threshold(fitting: Fitting, bundle: Bundle, partition: Partition) -> dict[str, Any]:
    """The threshold, chosen on validation and locked here (DESIGN, Threshold); and its figures.

    Returns
    -------
    dict
        The parts `threshold`, `validation` and `calibration` of the model's record.
    """
    rule = fitting.config.threshold
    threshold: dict[str, Any] = {
        "rule": fitting.config.model_dump(mode="json")["threshold"], "value": None,
    }  # fmt: skip
    labels, scores = _validation_scores(fitting, bundle, partition)
    if len(bundle.classes) == 2 and rule != "youden-per-cohort":
        if is_chosen_on_validation(rule):
            threshold |= _chosen(labels, scores[:, 1], rule=rule)
        else:
            threshold["value"] = choose_threshold([0, 1], [0.0, 1.0], rule=rule)
    entry = None
    if len(labels):
        entry = validation_entry(
            labels, scores, classes=bundle.classes, threshold=threshold["value"]
        )
    return {
        "threshold": threshold,
        "validation": entry,
        "calibration": _calibration(labels, scores),
    }


def calibration_of(fitting: Fitting, bundle: Bundle, partition: Partition) -> dict[str, Any] | None:
    """Part `calibration` alone: the threshold of the model stays as it was locked."""
    return _calibration(*_validation_scores(fitting, bundle, partition))


def _validation_scores(
    fitting: Fitting, bundle: Bundle, partition: Partition
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels [n] and probabilities [n, K]."""
    patients = fitting.patients(partition, "val")
    found = scores_of(fitting, bundle, patients)
    labels = np.array([p.label for p in patients], dtype=np.int64)
    scores = np.array([found[p.patient_id] for p in patients]).reshape(-1, len(bundle.classes))
    return labels, scores


def _calibration(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, Any] | None:
    """By Platt's way; None where there are too few patients, or no correction exists."""
    if scores.shape[1] != 2 or not len(labels):
        return None
    try:
        found = fit_recalibration(labels, scores[:, 1], method="platt")
    except StatisticsError:
        return None
    return {"on": "validation", **found.to_json()}


def _chosen(
    labels: NDArray[np.int64], scores: NDArray[np.float64], *, rule: Threshold
) -> dict[str, Any]:
    """The threshold that these validation patients choose, or why they can choose none."""
    try:
        value = choose_threshold(labels, scores, rule=rule)
    except StatisticsError as error:
        # The model is whole without it, and hours may stand behind it: it is told, not lost.
        return {"reason": error.problem.cause.rstrip(".")}
    return {"value": value, "validation_patients": len(labels)}
