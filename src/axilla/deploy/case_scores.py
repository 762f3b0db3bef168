"""The numbers of one case: probability, how far to trust it, and what it would have meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.analysis.recalibration import apply_recalibration, recalibration_from_json
from axilla.deploy.asking import PreparedCase, member_scores, redrawn_scores, told_apart
from axilla.deploy.case_record import (
    Calibrated,
    Call,
    LogOdds,
    Measure,
    Range,
    Stability,
    ThresholdOnValidation,
)
from axilla.mil.ensemble import combine


def case_scores(case: PreparedCase) -> dict[str, Any]:
    """Fields of `CaseRecord` from `probability` to `log_odds`."""
    classes = case.bundle.classes
    exact = member_scores(case, exact=True)  # [M, K]
    drawn = redrawn_scores(case)  # [R, M, K]
    whole = combine(list(exact))
    told: dict[str, Any] = {
        "probability": dict(zip(classes, map(float, whole.mean), strict=True)),
        "members": [dict(zip(classes, map(float, row), strict=True)) for row in exact],
        "spread": whole.spread,
        "range": None, "calibrated": None, "call": None, "stability": None, "log_odds": None,
    }  # fmt: skip
    if len(classes) != 2:
        return told
    positive = float(whole.mean[1])
    ends = _range(exact, drawn)
    parts = told_apart(case)
    told["range"] = ends
    told["calibrated"] = _calibrated(case.bundle.record, positive, ends)
    told["call"] = call = _call(case.bundle.record, positive, classes)
    if call is not None and len(drawn):
        told["stability"] = _stability(drawn, call.threshold, positive)
    if parts is not None:
        told["log_odds"] = LogOdds(
            prevalence=parts.prevalence,
            image=parts.image,
            clinical=parts.clinical,
            columns=dict(parts.columns),
            reason=parts.reason,
        )
    return told


def _range(exact: NDArray[np.float64], drawn: NDArray[np.float64]) -> Range | None:
    if not len(drawn) and len(exact) == 1:
        return None
    seen = np.concatenate([exact[:, 1], drawn[:, :, 1].ravel()])
    return Range(low=float(seen.min()), high=float(seen.max()), redraws=len(drawn))


def _calibrated(
    record: Mapping[str, Any], positive: float, ends: Range | None
) -> Calibrated | None:
    told = record.get("calibration")
    if told is None:
        return None
    found = recalibration_from_json({n: v for n, v in told.items() if n != "on"})
    points = [positive] if ends is None else [positive, ends.low, ends.high]
    value, *others = map(float, apply_recalibration(found, points))
    low, high = others or (None, None)
    return Calibrated(
        probability=value, low=low, high=high, method=found.method, fitted_on=told["on"], n=found.n
    )


def _call(record: Mapping[str, Any], positive: float, classes: tuple[str, ...]) -> Call | None:
    threshold = record["threshold"]
    if threshold["value"] is None:
        return None
    value, rule = float(threshold["value"]), threshold["rule"]
    told = record.get("validation")
    validation = None
    if told is not None and told.get("sensitivity") is not None:
        measures = {name: _measure(told.get(name)) for name in _MEASURES}
        validation = ThresholdOnValidation(
            n=told["n"],
            positives=told.get("positives"),
            chose_threshold=rule == "youden-validation" or isinstance(rule, Mapping),
            **measures,
        )
    return Call(
        threshold=value,
        rule=rule,
        called=classes[int(positive >= value)],
        validation=validation,
    )


_MEASURES = ("sensitivity", "specificity", "ppv", "npv")


def _measure(told: Mapping[str, Any] | None) -> Measure | None:
    if told is None:
        return None
    return Measure(value=told["value"], low=told.get("low"), high=told.get("high"))


def _stability(drawn: NDArray[np.float64], threshold: float, positive: float) -> Stability:
    side = positive >= threshold
    whole = drawn[:, :, 1].mean(axis=1) >= threshold
    each = drawn[:, :, 1] >= threshold
    return Stability(
        redraws=len(drawn),
        same=float((whole == side).mean()),
        same_by_member=float((each == side).mean()),
    )
