"""Temporary folders that only their owner can read, and that a killed process leaves to the next.

Uploaded slides, pyramids and features of a patient must not outlive whoever made them, however that
ended.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "axilla-private-"
LOCK = ".axilla.lock"
"""Held for as long as the folder is in use. The lock is the kernel's and ends with the process."""
EMPTY_S = 3600.0
"""A folder without contents may be one that is just being made: it is swept when so old."""


class PrivateFolder:
    """A folder of the system's temporary one, mode 0700; removed by `remove`, or at the end.

    Parameters
    ----------
    purpose
        A word for its name.
    """

    def __init__(self, purpose: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
        # A sweeper may hold it for a moment: it finds nothing, and lets go.
        self._lock = FileLock(self.path / LOCK, thread_local=False)
        self._lock.acquire()
        self._end = weakref.finalize(self, _remove, self.path, self._lock)

    def remove(self) -> None:
        """Remove it with all that is in it; again is no mistake."""
        self._end()


@contextmanager
def private_folder(purpose: str) -> Iterator[Path]:
    """Such a folder for the time of the block."""
    made = PrivateFolder(purpose)
    try:
        yield made.path
    finally:
        made.remove()


def sweep_private_folders() -> int:
    """Remove what killed processes of this user left; how many folders.

    A folder whose lock somebody holds is never touched. What cannot be removed is left for another
    time.
    """
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not _is_own(folder) or not (folder / LOCK).is_file():
            continue
        lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except (Timeout, OSError):
            continue  # in use, or going just now
        if _is_left(folder):
            _remove(folder, lock)
            swept += 1
        lock.release()
    return swept


def _is_own(folder: Path) -> bool:
    """Whether it is a folder of this user's, and no link to one."""
    try:
        told = folder.lstat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or told.st_uid == os.getuid()
    return mine and stat.S_ISDIR(told.st_mode)


def _is_left(folder: Path) -> bool:
    """Whether its maker, who does not hold the lock, had it before; not where it is to come."""
    try:
        contents = any(path.name != LOCK for path in folder.iterdir())
        return contents or folder.stat().st_mtime < time.time() - EMPTY_S
    except OSError:
        return False


def _remove(folder: Path, lock: FileLock) -> None:
    """The lock goes last: a folder that is half gone is nobody else's to finish."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != LOCK:
                path.unlink(missing_ok=True)
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)
