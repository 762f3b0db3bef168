"""What a killed process leaves is removed by the next one; what a living one holds never is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axilla.core.private_folder import (
    EMPTY_S,
    LOCK,
    PrivateFolder,
    private_folder,
    sweep_private_folders,
)

HOLD = """
import time
from axilla.core.private_folder import PrivateFolder
held = PrivateFolder("test")
(held.path / "case").mkdir()
(held.path / "case" / "slide-1.tif").write_bytes(b"a patient's slide")
print(held.path, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def holder(tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_killed_process_s_folder_is_swept_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    (dead, left), (living, held) = holder(tmp_path), holder(tmp_path)
    try:
        assert (left / "case" / "slide-1.tif").is_file()
        assert left.stat().st_mode & 0o777 == 0o700
        assert sweep_private_folders() == 0
        dead.send_signal(signal.SIGKILL)
        dead.communicate(timeout=60)
        assert (left / "case" / "slide-1.tif").is_file()
        assert sweep_private_folders() == 1
        assert not left.exists()
        assert (held / "case" / "slide-1.tif").is_file()
    finally:
        for process in (dead, living):
            process.kill()
            process.communicate()
    assert sweep_private_folders() == 1
    assert list(tmp_path.iterdir()) == []


def test_it_is_removed_at_the_end_and_twice_is_no_mistake(tmp_path: Path) -> None:
    with private_folder("test") as path:
        (path / "a").write_text("a")
        assert sweep_private_folders() == 0  # the same process holds it
    assert list(tmp_path.iterdir()) == []
    made = PrivateFolder("test")
    made.remove()
    made.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_just_being_made_is_left(tmp_path: Path) -> None:
    """Between its making and its locking it has no contents."""
    making = tmp_path / "axilla-private-test-1"
    making.mkdir(mode=0o700)
    assert sweep_private_folders() == 0
    (making / LOCK).touch()
    assert sweep_private_folders() == 0
    then = time.time() - EMPTY_S - 10
    os.utime(making, (then, then))
    assert sweep_private_folders() == 1
    assert list(tmp_path.iterdir()) == []


def test_links_and_what_is_not_ours_stay(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in (LOCK, "kept"):
        (other / name).touch()
    (tmp_path / "axilla-private-link").symlink_to(other)
    strange = tmp_path / "axilla-private-strange"
    strange.mkdir()
    (strange / "no-lock").touch()
    left = tmp_path / "axilla-private-left"
    left.mkdir()
    (left / LOCK).touch()
    (left / "slide").symlink_to(other)  # a slide that was picked stays where it is
    assert sweep_private_folders() == 1
    assert (other / "kept").is_file()
    assert (strange / "no-lock").is_file()
    assert not left.exists()
