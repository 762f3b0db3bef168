"""Which models lie under some folders, and what each says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from axilla.analysis.tables.printed import DASH, PrintedTable, format_auc
from axilla.core import store
from axilla.core.errors import StoreError
from axilla.core.store import ModelRecord
from axilla.core.store.model_record import parse_model_record

DEEPEST = 6
"""Folders below a given one that are looked into; a study's own models lie within four."""
_DIGEST = 12
"""First characters of the weights' SHA-256 that a line shows."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """One model's folder."""

    folder: str
    damaged: str | None = None
    """What is wrong with it; then nothing else is known of it."""
    method: str | None = None
    study: str | None = None
    endpoint: Any = None
    """A named endpoint, or a column with its values."""
    classes: tuple[str, ...] = ()
    encoder: str | None = None
    """None for a clinical model."""
    end_to_end: bool = False
    members: int = 0
    partition: str | None = None
    auc: dict[str, Any] | None = None
    """On the validation patients: value, low, high; None where nobody validated."""
    validation_patients: int | None = None
    threshold: float | None = None
    weights_sha256: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def find_models(folders: Sequence[Path], *, deepest: int = DEEPEST) -> list[FoundModel]:
    """Every model under these folders, in the order of their paths.

    Links are not followed, and a folder is looked into once. Weights are compared with their
    digest, so that a damaged model is not listed as whole.

    Parameters
    ----------
    folders
        Where to look; each may be a model's own folder.
    deepest
        Levels below a given folder.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        for model in _model_folders(folder, deepest):
            found.setdefault(model.resolve(), model)
    return [_told(folder) for folder in sorted(found.values())]


def models_table(found: Sequence[FoundModel]) -> PrintedTable:
    """A line a model that is whole; the damaged ones are notes."""
    rows = [_row(model) for model in found if model.damaged is None]
    columns = ["Folder", "Method", "Endpoint", "Encoder", "Validation AUC", "Threshold", "Digest",
               "Study"]  # fmt: skip
    notes = tuple(f"{m.folder}: damaged. {m.damaged}" for m in found if m.damaged is not None)
    return PrintedTable(pd.DataFrame(rows, columns=columns), notes=notes)


def _model_folders(folder: Path, deepest: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # not ours to read
    if any(
        entry.name == "model.json" and entry.is_file(follow_symlinks=False) for entry in entries
    ):
        yield folder
    if deepest <= 0:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _model_folders(Path(entry.path), deepest - 1)


def _told(folder: Path) -> FoundModel:
    shown = str(folder)
    try:
        record = store.read_model_record(folder)
        parsed = parse_model_record(record, file=folder / "model.json")
    except StoreError as error:
        return FoundModel(shown, damaged=error.problem.cause)
    try:
        whole = store.read_model_key(folder) is not None
    except OSError as error:
        return FoundModel(shown, damaged=f"its weights cannot be read ({error.strerror}).")
    if not whole:
        cause = "a file beside the record is missing, or is not the one that the record names."
        return FoundModel(shown, damaged=cause)
    return _summary(shown, parsed)


def _summary(folder: str, record: ModelRecord) -> FoundModel:
    found, encoder = record.validation, record.encoder
    return FoundModel(
        folder=folder,
        method=record.method,
        study=record.study or None,
        endpoint=record.endpoint,
        classes=record.classes,
        encoder=None if encoder is None else encoder.name or "not named",
        end_to_end=record.architecture.end_to_end,
        members=len(record.members),
        partition=None if record.partition is None else record.partition.name,
        auc=None if found is None else found.auc.model_dump(include={"value", "low", "high"}),
        validation_patients=None if found is None else found.n,
        threshold=record.threshold.value,
        weights_sha256=record.weights_sha256,
    )


def _row(model: FoundModel) -> list[str]:
    endpoint = model.endpoint if isinstance(model.endpoint, str) else " or ".join(model.classes)
    encoder = model.encoder or DASH
    cells = [
        model.folder,
        f"{model.method}" + (f" x{model.members}" if model.members > 1 else ""),
        endpoint,
        encoder + (", trained" if model.end_to_end else ""),
        DASH if model.auc is None else format_auc(model.auc),
        DASH if model.threshold is None else f"{model.threshold:.4f}",
        (model.weights_sha256 or "")[:_DIGEST],
        model.study or DASH,
    ]
    return [" ".join(cell.split()) for cell in cells]  # a line each, whatever names hold
