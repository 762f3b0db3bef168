"""What of a trained model's record may change without training, or was not told when it trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from axilla.core import store
from axilla.core.methods import method_spec
from axilla.core.store.model_record import MODEL_SCHEMA
from axilla.core.types import Partition
from axilla.mil.clinical import VERSION, Preprocessor, fit_preprocessor
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.locking import calibration_of, lock_threshold
from axilla.study.model_records import heatmaps_record, same_but
from axilla.study.reference import Vectors, cohort_reference
from axilla.study.scoring import load_bundle
from axilla.study.training_cohort import cohort_summary, slide_summary


def bring_up_to_date(
    fitting: Fitting, method: str, partition: Partition, *, key: str, known: Vectors
) -> None:
    """Threshold, recalibration, and what a new case is compared with or drawn by; where it changed.

    No slide of the test cohort is read. The weights, and a threshold whose rule is still the
    study's, stay as they are.

    Parameters
    ----------
    fitting
        What the method sees of the study.
    key
        Of the model.
    known
        As for `cohort_reference`.
    """
    folder = Layout(fitting.config.out).model(method, partition.name)
    record = store.read_model_record(folder)
    changes: dict[str, Any] = {"training_cohort": _summary(fitting, method, partition, record)}
    scale = heatmaps_record(fitting.config, method).get("heatmaps")
    if scale != record.get("heatmaps"):
        changes["heatmaps"] = scale
    if not all(map(Preprocessor.is_current, _clinical_parts(record))):
        changes |= _with_ranges(fitting, partition, record)
    other_rule = record["threshold"]["rule"] != fitting.config.model_dump(mode="json")["threshold"]
    without_calibration = record["schema"] != MODEL_SCHEMA
    spec = method_spec(method)
    without_reference = spec.images and not spec.nuclei and record.get("reference") is None
    if other_rule or without_calibration or without_reference:
        bundle = load_bundle(fitting, method, partition)
        if other_rule:
            changes |= lock_threshold(fitting, bundle, partition)
        elif without_calibration:
            changes["calibration"] = calibration_of(fitting, bundle, partition)
        if without_reference and bundle.network is not None:
            changes["reference"] = cohort_reference(
                fitting, bundle.network, fitting.patients(partition, "train"), known=known
            )
    changed = same_but(record, **changes)
    if changed is not None or without_calibration:
        stored = replace(store.read_model(folder), record=changed or record)
        store.write_model(folder, stored, key=key)


def _summary(
    fitting: Fitting, method: str, partition: Partition, record: dict[str, Any]
) -> dict[str, Any]:
    """Part `training_cohort`; the grids are read once, as another one would be another model."""
    patients = fitting.patients(partition, "train")
    summary = cohort_summary(
        patients, classes=fitting.cohort.classes, config=fitting.config.clinical
    )
    before = record.get("training_cohort") or {}
    if before.get("patches") is not None:
        return summary | {name: before[name] for name in ("slide_mpp", "patches")}
    return summary | slide_summary(fitting, method, patients)


def _clinical_parts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The preprocessor of the model, and those that members have of their own."""
    parts = [record.get("clinical"), *(told.get("clinical") for told in record["members"])]
    return [part for part in parts if part is not None]


def _with_ranges(fitting: Fitting, partition: Partition, record: dict[str, Any]) -> dict[str, Any]:
    """Parts `clinical` and `members` with ranges of this version.

    Older ones may be the numbers of single patients. The rest of a preprocessor stays as it is, as
    the model reads its vector.
    """
    patients = fitting.patients(partition, "train")
    fitted = fit_preprocessor(patients, config=fitting.config.clinical)
    own = {"version": VERSION, "ranges": fitted.to_json()["ranges"], "centiles": False}

    def told(part: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if part is None else {**part, **own}

    members = [{**member, "clinical": told(member.get("clinical"))} for member in record["members"]]
    return {"clinical": told(record.get("clinical")), "members": members}
