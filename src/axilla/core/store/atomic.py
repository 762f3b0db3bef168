"""Whole files or none: write under a temporary name, flush, rename."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIX = ".axilla-tmp"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def sweep(folder: Path) -> int:
    """Remove what killed runs left half-written; return how many files."""
    left = list(folder.rglob(f".*{_SUFFIX}")) if folder.is_dir() else []
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def digest(*values: Any) -> str:
    """SHA-256 of JSON-able values in a canonical form; the key of a step."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def file_identity(path: Path, *, content: bool = False) -> str:
    """What tells that a file changed: its content's SHA-256, or name, size and time.

    The content of a slide is gigabytes; the size and the time of change stand for it.
    """
    if content:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    status = path.stat()
    return f"{path.name}:{status.st_size}:{status.st_mtime_ns}"
