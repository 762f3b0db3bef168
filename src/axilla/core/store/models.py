"""`models/<method>/`: `model.safetensors` and `model.json`; no pickle is written or read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from axilla.core.errors import StoreError
from axilla.core.store.atomic import file_identity, write_bytes
from axilla.core.store.model_record import MAX_RECORD_BYTES, MODEL_SCHEMA, parse_model_record
from axilla.core.store.records import as_json, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class StoredModel:
    """Weights by name, and everything else that prediction needs, as JSON values."""

    tensors: Mapping[str, NDArray[Any]]
    record: Mapping[str, Any]


def write_model(folder: Path, model: StoredModel, *, key: str) -> None:
    """Write a model; `model.json` comes last and so tells that the model is whole.

    Weights that are there already stay: killed at any moment, the model is the old one or the new.

    Raises
    ------
    StoreError
        The record is not one that `read_model` would take: what was there stays.
    """
    path, weights = folder / "model.json", folder / "model.safetensors"
    # Through memory: safetensors tells of a full disk in an error of its own.
    content = save({n: np.asarray(t, order="C") for n, t in model.tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    ours = {"schema": MODEL_SCHEMA, "key": key, "weights_sha256": digest}
    others = {name: value for name, value in model.record.items() if name not in ours}
    parse_model_record(json.loads(as_json(ours | others)), file=path)
    if not weights.is_file() or file_identity(weights, content=True) != digest:
        # The old record goes first: a run killed in between must not leave it beside new weights.
        path.unlink(missing_ok=True)
        write_bytes(weights, content)
    write_json(path, ours | others)


def read_model_key(folder: Path) -> str | None:
    """Key of the training that wrote the model; None where there is no whole one.

    The files are read whole and compared with their digests: a cut one is trained again, not used.
    """
    if not (folder / "model.json").is_file():
        return None
    try:
        record = read_model_record(folder)
    except StoreError:
        return None
    files = {"model.safetensors": record.get("weights_sha256")}
    if record.get("history_sha256") is not None:
        files["history.csv"] = record["history_sha256"]
    for name, sha in files.items():
        path = folder / name
        if not path.is_file() or file_identity(path, content=True) != sha:
            return None
    return str(record.get("key"))


def read_model(folder: Path) -> StoredModel:
    """Read a model.

    Raises
    ------
    StoreError
        The files are missing, damaged, or of another schema; or a field of the record is missing,
        unknown or of the wrong kind.
    """
    weights = folder / "model.safetensors"
    record = read_model_record(folder)
    try:
        tensors = _load_weights(weights, sha256=record.get("weights_sha256"))
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(
            "the model's weights are missing, damaged or not those of its record.",
            "Delete the folder and train it again: `axilla train study.yaml`.",
            file=weights,
        ) from error
    return StoredModel(tensors=tensors, record=record)


def read_model_record(folder: Path) -> dict[str, Any]:
    """Read `model.json` alone, checked field by field (see `ModelRecord`).

    Raises
    ------
    StoreError
        It is missing, damaged, too large, of another schema, or not valid.
    """
    path = folder / "model.json"
    if path.is_file() and path.stat().st_size > MAX_RECORD_BYTES:
        raise StoreError(
            f"the model's record is larger than {MAX_RECORD_BYTES // 2**20} MiB.",
            "Get the model's folder again as it was written.",
            file=path,
        )
    record = read_json(path)
    parse_model_record(record, file=path)
    return dict(record)


def _load_weights(path: Path, *, sha256: str | None) -> dict[str, NDArray[Any]]:
    if file_identity(path, content=True) != sha256:
        raise ValueError("other weights than the record's")
    return dict(load_file(path))
