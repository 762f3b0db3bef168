"""Why a case's record has no number where one would look for it, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from axilla.analysis.recalibration import LEAST_OF_A_CLASS
from axilla.deploy.asking import PreparedCase

CALIBRATED_SINCE = 3
"""Schema of `model.json` from which on a recalibration is fitted."""
_JOINED = "every patient of the study trained or validated some of the joined members"


def reasons(case: PreparedCase, told: Mapping[str, Any]) -> dict[str, str]:
    """A sentence for each field of `told` that is null, by the field's name.

    Parameters
    ----------
    told
        Of `case_scores`.
    """
    return dict(_reasons(case, told))


def _reasons(case: PreparedCase, told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    record, classes = case.bundle.record, case.bundle.classes
    several = None
    if len(classes) > 2:
        several = f"The model tells {len(classes)} classes apart, and this is defined for two."
    if told["spread"] is None:
        yield "spread", "The model has one member only, which cannot disagree with another."
    undrawn = several or _why_nothing_is_drawn(case)
    if told["range"] is None:
        yield "range", undrawn
    if told["calibrated"] is None:
        yield "calibrated", several or why_no_recalibration(record, classes)
    call = told["call"]
    if call is None:
        yield "call", several or _why_no_threshold(record)
    elif call.validation is None:
        yield "call.validation", _why_no_validation(record)
    if told["stability"] is None:
        where = "Without a threshold no class is called that could change."
        yield "stability", several or (where if call is None else undrawn)
    if told["log_odds"] is None and several is not None:
        yield "log_odds", several


def _why_nothing_is_drawn(case: PreparedCase) -> str:
    if case.bundle.network is None:
        return "A model of clinical values draws no bags, so that asked again it says the same."
    return "The patient's bags are given by name, so that no others are drawn."


def why_no_recalibration(record: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    """Why a bundle of two classes holds none; as `locking` decides it when a model is trained."""
    if _imported(record):
        return (
            "The model was trained elsewhere and imported, without validation patients that a "
            "recalibration could be fitted on."
        )
    if _of_folds(record):
        return f"No patients are left to fit a recalibration on: {_JOINED}."
    if record["schema"] < CALIBRATED_SINCE:
        return "The model was trained by an earlier version of axilla, which fitted none."
    counts = (record.get("patients") or {}).get("val") or {}
    if not sum(counts.values()):
        return "No patients were kept for validation that a recalibration could be fitted on."
    groups = " and ".join(f"{counts.get(name, 0)} {name}" for name in classes)
    if min(counts.get(name, 0) for name in classes) < LEAST_OF_A_CLASS:
        return (
            f"A recalibration asks for {LEAST_OF_A_CLASS} validation patients of each class, and "
            f"the study had {groups}."
        )
    return (
        f"Among the study's validation patients ({groups}) no recalibration exists that keeps "
        "their order: the probabilities separate the classes wholly, or not at all."
    )


def _why_no_threshold(record: Mapping[str, Any]) -> str:
    threshold = record["threshold"]
    if threshold.get("reason"):
        return f"No threshold could be chosen: {threshold['reason'].rstrip('.')}."
    if threshold["rule"] == "youden-per-cohort":
        return "In the study each cohort chose its own threshold, which one patient cannot do."
    return "The model has no locked threshold."


def _why_no_validation(record: Mapping[str, Any]) -> str:
    if _imported(record):
        return (
            "It is not known which patients trained the imported model, chose its epoch, or were "
            "kept apart."
        )
    if _of_folds(record):
        return f"No patients are left to measure it on: {_JOINED}."
    if record.get("validation") is not None:
        return "The model's validation figures are of no threshold."
    return "No patients were kept for validation."


def _of_folds(record: Mapping[str, Any]) -> bool:
    """Whether it joins the members of several folds, as `model_card` tells it."""
    return (record.get("partition") or {}).get("name") == "folds"


def _imported(record: Mapping[str, Any]) -> bool:
    return record.get("source") is not None
