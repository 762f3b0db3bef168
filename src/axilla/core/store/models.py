"""`models/<method>/`: `model.safetensors` and `model.json`; no pickle is written or read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from axilla.core.errors import StoreError
from axilla.core.store.atomic import atomic_path
from axilla.core.store.records import SCHEMA_VERSION, read_json, write_json

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
    """Write a model; `model.json` comes last and so tells that the model is whole."""
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file({n: np.ascontiguousarray(t) for n, t in model.tensors.items()}, temporary)
    write_json(folder / "model.json", {"schema": SCHEMA_VERSION, "key": key, **dict(model.record)})


def read_model_key(folder: Path) -> str | None:
    """Key of the training that wrote the model; None where there is no whole one."""
    if not ((folder / "model.json").is_file() and (folder / "model.safetensors").is_file()):
        return None
    record = read_json(folder / "model.json")
    return str(record["key"]) if record.get("schema") == SCHEMA_VERSION else None


def read_model(folder: Path) -> StoredModel:
    """Read a model.

    Raises
    ------
    StoreError
        The files are missing, damaged, or of another schema.
    """
    record = read_json(folder / "model.json")
    if not isinstance(record, dict) or record.get("schema") != SCHEMA_VERSION:
        raise StoreError(
            "the model was written by another version of axilla.",
            "Train it again.",
            file=folder / "model.json",
        )
    try:
        tensors = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise StoreError(
            "the model's weights are missing or damaged.",
            "Train it again: `axilla train study.yaml`.",
            file=folder / "model.safetensors",
        ) from error
    return StoredModel(tensors=tensors, record=record)
