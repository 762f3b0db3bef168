"""The authors' trained model (`best.pth`) to a bundle of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from axilla.cohorts.bcnb import TASKS
from axilla.cohorts.bcnb_standard import STANDARDS
from axilla.core import store
from axilla.core.config import Aggregator, Bags, Patches
from axilla.core.config_encoder import Encoder
from axilla.core.encoder_names import TORCHVISION_ENCODERS, WITHOUT_BATCH_NORM
from axilla.core.endpoint import class_names
from axilla.core.errors import ConfigError, StoreError
from axilla.features.encoders import encoder_to_fill
from axilla.mil.original import BatchNormBy, OriginalPreprocessor
from axilla.mil.original_state import HeadShape, head_shape, read_checkpoint, renamed_state
from axilla.study.model_records import versions

BAG = 10
"""Patches a bag in the paper."""


@dataclass(frozen=True, slots=True)
class ImportedCheckpoint:
    """What an import wrote."""

    folder: Path
    method: str
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    """What the user should know, a sentence each."""


def import_checkpoint(
    path: Path,
    *,
    encoder: str,
    clinical: bool = False,
    task: int | None = None,
    batch_norm: BatchNormBy = "running",
    out: Path | None = None,
) -> ImportedCheckpoint:
    """Write the authors' checkpoint as a bundle: model.safetensors and model.json.

    Parameters
    ----------
    path
        `best.pth` of the authors' code (BALNMP), a state dict; nothing in it is run.
    encoder
        One of the paper's five, that it was trained with.
    clinical
        Whether it is DL-CNB+C.
    task
        The authors' number of the endpoint, 0 to 4 (`import_bcnb`): it decides the names of the
        classes and, with clinical data, how age and tumour size are standardised. None takes 2
        for three classes and 0 for two.
    batch_norm
        running, or batch: as the authors' code predicted, with the statistics of each bag.
    out
        Folder to write to; `<name of the file>-<encoder>` unless given.

    Raises
    ------
    WeightsError
        The file is missing, damaged, no checkpoint, or does not fit.
    ConfigError
        There is no such encoder or task.
    StoreError
        The folder holds another model.
    """
    if encoder not in TORCHVISION_ENCODERS:
        raise ConfigError(
            f"the paper has no encoder `{encoder}`.",
            f"Its five are {', '.join(TORCHVISION_ENCODERS)}.",
        )
    settings = Encoder(name=encoder, weights="none", trainable=True, original=True)
    state = read_checkpoint(path)
    shape = head_shape(state, path=path)
    _refuse_other_variant(shape, clinical=clinical)
    number, notes = _task(task, shape)
    empty = encoder_to_fill(settings, device="meta")
    tensors = renamed_state(
        state,
        shape,
        encoder=encoder,
        features=empty.features,
        wanted=empty.state_dict(),
        path=path,
    )
    folder = out or Path(f"{path.stem}-{encoder}")
    sha = store.file_identity(path, content=True)
    key = store.digest("import-checkpoint", sha, encoder, clinical, number, batch_norm)
    _refuse_another(folder, key)
    record = _record(path, sha, settings, shape, task=number, batch_norm=batch_norm)
    # Its seed is nowhere said.
    record["members"] = [{"key": key, "seed": None, "partition": "imported"}]
    store.write_model(folder, _stored(tensors, record), key=key)
    return ImportedCheckpoint(
        folder=folder,
        method=str(record["method"]),
        classes=tuple(record["classes"]),
        notes=(*notes, *_notes(encoder, batch_norm)),
    )


def _refuse_other_variant(shape: HeadShape, *, clinical: bool) -> None:
    if shape.clinical and not clinical:
        raise ConfigError(
            "the checkpoint is DL-CNB+C: its classifier has 50 inputs more, for clinical data.",
            "Add --clinical.",
        )
    if clinical and not shape.clinical:
        raise ConfigError(
            "the checkpoint is DL-CNB: its classifier has no inputs for clinical data.",
            "Leave out --clinical.",
        )


def _task(task: int | None, shape: HeadShape) -> tuple[int, tuple[str, ...]]:
    """The task, and a note where it was not given."""
    if task is None:
        if shape.classes == 3:
            return 2, ()
        note = (
            "A checkpoint does not say its endpoint: taken as task 0, "
            f"{' against '.join(class_names(TASKS[0]))}; --task says another."
        )
        return 0, (note,)
    if not 0 <= task < len(TASKS):
        raise ConfigError(f"there is no task {task}.", "The authors' tasks are 0 to 4.")
    if len(class_names(TASKS[task])) != shape.classes:
        raise ConfigError(
            f"the checkpoint has {shape.classes} classes, and task {task} "
            f"{len(class_names(TASKS[task]))}.",
            "Give --task 2 for three classes, another for two.",
        )
    return task, ()


def _refuse_another(folder: Path, key: str) -> None:
    path = folder / "model.json"
    if path.exists() and store.read_model_key(folder) != key:
        raise StoreError(
            "the folder holds another model.",
            "Move it away, or give another folder with --out.",
            file=path,
        )


def _record(
    path: Path,
    sha: str,
    encoder: Encoder,
    shape: HeadShape,
    *,
    task: int,
    batch_norm: BatchNormBy,
) -> dict[str, Any]:
    endpoint = TASKS[task]
    preprocessor = _preprocessor(task) if shape.clinical else None
    return {
        "versions": versions(),
        "original": True,
        "batch_norm": batch_norm,
        "source": {"file": path.name, "sha256": sha, "task": task},
        "method": "dl-cnb+c" if shape.clinical else "dl-cnb",
        "endpoint": endpoint,
        "classes": list(class_names(endpoint)),
        "clinical": None if preprocessor is None else preprocessor.to_json(),
        "architecture": {
            "kind": "dl-cnb",
            "features": shape.features,
            "clinical": 0 if preprocessor is None else preprocessor.width,
            "end_to_end": True,
        },
        "encoder": encoder.model_dump(mode="json"),
        "aggregator": Aggregator(original=True).model_dump(mode="json"),
        "patches": Patches(white_by="channel").model_dump(mode="json"),
        "bags": Bags(size=BAG).model_dump(mode="json"),
        "stain": None,
        # What the authors' code compares a score of two classes with; no cohort chose it.
        "threshold": {"rule": 0.5, "value": 0.5 if shape.classes == 2 else None},
    }


def _preprocessor(task: int) -> OriginalPreprocessor:
    standard = STANDARDS[TASKS[task]]
    return OriginalPreprocessor(
        numeric=("age", "tumor_size_cm"),
        means=(standard.age_mean, standard.size_mean),
        sds=(standard.age_sd, standard.size_sd),
        statuses=("er", "pr", "her2"),
    )


def _stored(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> store.StoredModel:
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    return store.StoredModel(tensors=arrays, record=record)


def _notes(encoder: str, batch_norm: BatchNormBy) -> tuple[str, ...]:
    found = []
    if encoder not in WITHOUT_BATCH_NORM:
        found.append(
            "BatchNorm takes the statistics of each bag, as the authors' code did at test time; "
            "--batch-norm running does not."
            if batch_norm == "batch"
            else "BatchNorm takes its running statistics; --batch-norm batch gives the scores of "
            "the authors' code, which used those of each bag."
        )
    if encoder == "inception_v3":
        found.append(
            "The authors' code left one dropout of inception_v3 on at test time, so that its own "
            "scores are random; here it is off."
        )
    return tuple(found)
