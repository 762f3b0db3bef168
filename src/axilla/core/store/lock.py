"""One run at a time in an output folder: a second one is told who holds it."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from axilla.core.errors import BusyError
from axilla.core.store.atomic import write_text, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".axilla.lock"
HOLDER = ".axilla.lock.json"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the output folder `out` for the time of the block.

    The lock is the kernel's (`flock`) and ends with the process, however that ends: after a kill
    there is nothing to clean up. Its empty file stays, because taking it away could give two runs
    the lock; who holds it stands beside it, for the message only.

    Raises
    ------
    BusyError
        Another run holds it; the message names its process, host and beginning.
    WriteError
        The folder cannot be made or written.
    """
    lock = FileLock(out / LOCK, timeout=0)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise BusyError(
                f"another run is working in this folder ({_holder(out / HOLDER)}).",
                "Wait until it has ended, stop it, or give this study another `out:`.",
                file=out,
            ) from error
    try:
        who = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_text(out / HOLDER, json.dumps(who) + "\n")
        yield
    finally:
        (out / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    """Who holds the lock, in words; the record is read while its writer may be anywhere."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {int(who['pid'])} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has only just begun and has not said who it is"
