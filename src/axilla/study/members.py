"""The members of an ensemble: kept as each is trained, found again, and joined over folds."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from axilla.core import store
from axilla.core.errors import StoreError
from axilla.core.methods import method_spec
from axilla.core.store.model_record import MODEL_SCHEMA
from axilla.core.types import Partition
from axilla.mil.bundle import Bundle, Member, to_stored
from axilla.mil.clinical import Preprocessor
from axilla.mil.history import History, history_csv
from axilla.study.bundles import read_bundle
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.model_records import heatmaps_record
from axilla.study.reference import Vectors, cohort_reference, reference_without
from axilla.study.training_cohort import class_counts, cohort_summary, slide_summary


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """One trained member, with what its bundle tells of it."""

    member: Member
    told: dict[str, Any]
    """As `MemberRecord`."""
    history: pd.DataFrame | None = None
    first_weights: str | None = None
    """Digest of the weights that an encoder trained end to end began with."""


def history_frame(history: History) -> pd.DataFrame:
    """One row an epoch, each cell the text that the file holds: read back, it is the same."""
    return _as_text(io.StringIO(history_csv(history.epochs)))


def _as_text(source: Path | io.StringIO) -> pd.DataFrame:
    return pd.read_csv(source, dtype=str, keep_default_na=False)


def kept_members(fitting: Fitting, method: str, partition: Partition) -> dict[str, Trained]:
    """Members that need no training, by key: of the model that is there, and finished alone.

    The model may have been of fewer seeds, or of more.
    """
    layout = Layout(fitting.config.out)
    seeds = fitting.seeds(method, partition)
    wanted = {fitting.member_key(method, partition, seed) for seed in seeds}
    folders = [layout.model(method, partition.name)]
    folders += [layout.member(method, partition.name, index) for index in range(len(seeds))]
    found: dict[str, Trained] = {}
    for folder in folders:
        if not (folder / "model.json").is_file():
            continue
        try:
            keys = {told["key"] for told in store.read_model_record(folder)["members"]}
        except StoreError:
            continue  # damaged, or of another version: trained again
        if keys & wanted and store.read_model_key(folder) is not None:
            found |= {t.told["key"]: t for t in _members_of(folder) if t.told["key"] in wanted}
    return found


def _members_of(folder: Path) -> list[Trained]:
    bundle = read_bundle(folder)
    history = None
    if (folder / "history.csv").is_file():
        history = _as_text(folder / "history.csv")
    told = bundle.record["members"]
    return [
        Trained(
            member=member,
            told=dict(said),
            history=_own_epochs(history, index),
            first_weights=(bundle.record["encoder"] or {}).get("weights_digest"),
        )
        for index, (member, said) in enumerate(zip(bundle.members, told, strict=True))
    ]


def _own_epochs(history: pd.DataFrame | None, index: int) -> pd.DataFrame | None:
    if history is None or "member" not in history.columns:
        return history
    return history[history["member"] == str(index)].drop(columns="member").reset_index(drop=True)


def join_histories(members: list[Trained]) -> pd.DataFrame | None:
    """The epochs of all; with a column `member` where there are several."""
    frames = [trained.history for trained in members if trained.history is not None]
    if len(members) == 1 or not frames:
        return frames[0] if frames else None
    numbered = [frame.assign(member=str(index)) for index, frame in enumerate(frames)]
    joined = pd.concat(numbered, ignore_index=True)
    return joined[["member", *(name for name in joined.columns if name != "member")]]


def write_bundle(folder: Path, bundle: Bundle, *, history: pd.DataFrame | None, key: str) -> None:
    """Write a model with the history of its training; its record comes last."""
    record = dict(bundle.record)
    if history is not None:
        buffer = io.StringIO()
        history.to_csv(buffer, index=False)
        store.write_text(folder / "history.csv", buffer.getvalue())
        record["history_sha256"] = store.file_identity(folder / "history.csv", content=True)
    whole = Bundle(bundle.method, bundle.classes, record, bundle.members)
    store.write_model(folder, to_stored(whole), key=key)


def forget_members(fitting: Fitting, method: str, partition: Partition) -> None:
    """Remove the members that were kept alone, once their ensemble is whole."""
    folder = Layout(fitting.config.out).model(method, partition.name) / "members"
    if folder.is_dir():
        shutil.rmtree(folder)


def join_folds(fitting: Fitting, method: str, *, keys: list[str], known: Vectors) -> bool:
    """Write the ensemble of all folds' members, for patients of elsewhere; whether it was new.

    Every patient of the study trained some member, so that no patient of the study is scored by it;
    its threshold is the mean of those that the folds chose on their validation patients. `known` is
    as for `cohort_reference`.
    """
    layout = Layout(fitting.config.out)
    folder = layout.ensemble(method)
    folders = [layout.model(method, partition.name) for partition in fitting.partitions]
    thresholds = [store.read_model_record(one)["threshold"] for one in folders]
    key = store.digest("folds", keys, thresholds, *heatmaps_record(fitting.config, method).values())
    if store.read_model_key(folder) == key and is_of_this_version(folder):
        return False
    bundles = [read_bundle(one) for one in folders]
    record = _folds_record(fitting, method, bundles, known=known)
    members = tuple(member for bundle in bundles for member in bundle.members)
    joined = Bundle(method, fitting.cohort.classes, record, members)
    write_bundle(folder, joined, history=None, key=key)
    return True


def is_of_this_version(folder: Path) -> bool:
    """Whether the record holds what this version of axilla tells, or was made by an earlier one."""
    record = store.read_model_record(folder)
    clinical = record.get("clinical")
    return bool(
        record["schema"] == MODEL_SCHEMA and (clinical is None or Preprocessor.is_current(clinical))
    )


def _folds_record(
    fitting: Fitting, method: str, bundles: list[Bundle], *, known: Vectors
) -> dict[str, Any]:
    patients, classes = fitting.cohort.patients, fitting.cohort.classes
    values = [b.record["threshold"]["value"] for b in bundles]
    chosen = [value for value in values if value is not None]
    reasons = [b.record["threshold"].get("reason") for b in bundles if not chosen]
    return {
        **{n: v for n, v in bundles[0].record.items() if n != "history_sha256"},
        "partition": {"name": "folds", "seed": fitting.config.training.seed},
        "members": [dict(told) for bundle in bundles for told in bundle.record["members"]],
        "patients": {"train": class_counts(patients, classes)},
        "training_cohort": cohort_summary(patients, classes=classes, config=fitting.config.clinical)
        | slide_summary(fitting, method, patients),
        "reference": _folds_reference(fitting, method, bundles[0], known=known),
        "best_epoch": None,
        "threshold": {
            "rule": bundles[0].record["threshold"]["rule"],
            "value": float(np.mean(chosen)) if chosen else None,
            "mean_of": len(chosen) if chosen else None,
            **({"reason": reasons[0]} if any(reasons) else {}),
        },
        "validation": None,
        "calibration": None,
    }


def _folds_reference(
    fitting: Fitting, method: str, bundle: Bundle, *, known: Vectors
) -> dict[str, Any] | None:
    """Of everybody's features, where the folds share them; `bundle` is one fold's."""
    network, patients = bundle.network, fitting.cohort.patients
    if network is None or method_spec(method).nuclei:
        return None
    if network.encoder is not None:
        reason = "each fold trained an encoder of its own, and they make other features"
        return reference_without(patients, reason=reason)
    return cohort_reference(fitting, network, patients, known=known)
