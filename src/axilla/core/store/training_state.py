"""The state of a training that is under way: one file, so that it is always of one moment."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from axilla.core.errors import StoreError
from axilla.core.store.atomic import write_bytes
from axilla.core.store.records import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """Tensors by name, and everything else as JSON values."""

    tensors: Mapping[str, NDArray[Any]]
    record: Mapping[str, Any]


def write_training_state(path: Path, state: TrainingState, *, key: str) -> None:
    """Write the state whole or not at all; the record lies in the header of the tensors' file.

    Two files could be of two moments after a kill, and would have to be thrown away.
    """
    tensors = {name: np.asarray(t, order="C") for name, t in state.tensors.items()}
    record = json.dumps(dict(state.record), sort_keys=True)
    header = {"schema": str(SCHEMA_VERSION), "key": key, "record": record}
    header["sha256"] = _digest(tensors, header)
    write_bytes(path, save(tensors, metadata=header))


def read_training_state(path: Path, *, key: str) -> TrainingState | None:
    """Read the state; None where there is none.

    Raises
    ------
    StoreError
        The file is damaged, or is of a training with other patients or settings.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        whole = header.pop("sha256", "") == _digest(tensors, header)
    except (OSError, ValueError, SafetensorError) as error:
        raise _refused(path, "is damaged") from error
    if not whole:
        raise _refused(path, "is damaged")
    if header.get("schema") != str(SCHEMA_VERSION) or header.get("key") != key:
        raise _refused(path, "is of other patients or settings")
    return TrainingState(tensors=tensors, record=json.loads(header["record"]))


def _refused(path: Path, what: str) -> StoreError:
    return StoreError(f"the interrupted training's state {what}.", "It begins anew.", file=path)


def _digest(tensors: Mapping[str, NDArray[Any]], header: Mapping[str, str]) -> str:
    found = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode("utf-8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name}:{tensor.dtype}:{tensor.shape}:".encode())
        # reshape: a scalar's buffer has no length of its own
        found.update(tensor.reshape(-1).view(np.uint8).data)
    return found.hexdigest()
