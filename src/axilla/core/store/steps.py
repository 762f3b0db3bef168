"""Which steps are done: a small record a step, with the key of its inputs and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axilla.core.errors import StoreError
from axilla.core.store.atomic import file_identity
from axilla.core.store.records import SCHEMA_VERSION, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def _record(out: Path, step: str) -> Path:
    return out / "steps" / f"{step}.json"


def step_is_done(out: Path, step: str, *, key: str) -> bool:
    """Whether the step ran with this key and all its files still hold what it wrote."""
    value = _read(out, step)
    if value is None or value.get("key") != key:
        return False
    return all(
        (out / name).is_file() and file_identity(out / name, content=True) == sha
        for name, sha in value["files"].items()
    )


def step_files(out: Path, step: str) -> dict[str, str]:
    """SHA-256 of each file that the step wrote, by its path under `out`; empty without a record."""
    value = _read(out, step)
    return {} if value is None else dict(value["files"])


def _read(out: Path, step: str) -> dict[str, Any] | None:
    """The record of a step, None where there is no whole one of this schema."""
    record = _record(out, step)
    if not record.is_file():
        return None
    try:
        value = read_json(record)
    except StoreError:
        return None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA_VERSION:
        return None
    return value


def write_step(out: Path, step: str, *, key: str, files: Iterable[Path]) -> None:
    """Record that a step is done; `files` lie under `out`."""
    write_json(
        _record(out, step),
        {
            "schema": SCHEMA_VERSION,
            "step": step,
            "key": key,
            "files": {
                path.relative_to(out).as_posix(): file_identity(path, content=True)
                for path in sorted(files)
            },
        },
    )


def forget_step(out: Path, step: str) -> None:
    """Make a step run again."""
    _record(out, step).unlink(missing_ok=True)
