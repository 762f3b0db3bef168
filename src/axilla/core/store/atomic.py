"""Whole files or none: write under a temporary name, flush, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import socket
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axilla.core.errors import AxillaError, WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX = ".axilla-tmp"
_WRITER = re.compile(r"\.(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]+" + _SUFFIX)
_NAME_BYTES = 120
"""So much of a file's name stands in its temporary one; file systems take 255 bytes."""
_FOREIGN_S = 3600.0
"""Seconds after which another machine's temporary file is nobody's: we cannot ask for its pid."""

_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.ENOTDIR: "part of the path is a file, not a folder",
    errno.EEXIST: "a file stands where the folder should be",
    errno.ENAMETOOLONG: "its name is too long",
}
_REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space or ask for more",
    errno.EFBIG: "Raise the limit (`ulimit -f`)",
    errno.ENAMETOOLONG: "Give the slide or patient a shorter id",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses within the block into a sentence about `path`.

    Raises
    ------
    WriteError
        Instead of the `OSError`; it keeps its `errno`.
    """
    try:
        yield
    except AxillaError:
        raise
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> WriteError:
    number = error.errno or 0
    cause = _CAUSES.get(number) or error.strerror or (str(error).splitlines() or ["unknown"])[0]
    remedy = _REMEDIES.get(number, "Check the permissions and the disk, or set another `out:`")
    told = WriteError(
        f"it cannot be written: {cause}.",
        f"{remedy}, and start again: what is done stays done.",
        file=path,
    )
    told.errno = error.errno
    return told


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends without an error.

    Raises
    ------
    WriteError
        The disk refuses: it is full, read-only, not yours. The old file, if any, is as it was.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.name.encode()[:_NAME_BYTES].decode(errors="ignore")
        temporary = path.with_name(f".{name}.{_writer()}-{secrets.token_hex(3)}{_SUFFIX}")
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
    """Remove what killed runs left half-written; return how many files.

    A file that a live process of this machine is writing stays, and so does one of another machine
    that was written to within the hour.
    """
    left = [p for p in folder.rglob(f".*{_SUFFIX}") if not _is_live(p)] if folder.is_dir() else []
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _is_live(temporary: Path) -> bool:
    found = _WRITER.search(temporary.name)
    if found is None:
        return False
    if found["host"] != _host():
        try:
            return time.time() - temporary.stat().st_mtime < _FOREIGN_S
        except FileNotFoundError:
            return False
    return _start(int(found["pid"])) == int(found["start"])


def _writer() -> str:
    pid = os.getpid()  # not remembered: a forked process is another writer
    return f"{_host()}-{pid}-{_start(pid)}"


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _start(pid: int) -> int | None:
    """When a process began, in the kernel's ticks: a pid alone is given again to another.

    None where there is no such process, or only its remains; 0 where the system does not tell.
    """
    try:
        # The name, in brackets, may itself hold spaces and brackets; the 22nd field is the start.
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()
        return None if fields[0] == "Z" else int(fields[19])
    except OSError:
        return 0 if not Path("/proc/self").exists() and _exists(pid) else None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def digest(*values: Any) -> str:
    """SHA-256 of JSON-able values in a canonical form; the key of a step."""
    return text_digest(json.dumps(values, sort_keys=True, separators=(",", ":"), default=str))


def text_digest(text: str) -> str:
    """SHA-256 of a text as UTF-8; that of the file's content where it was written so."""
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
