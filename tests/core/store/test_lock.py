"""One run at a time; a killed one leaves nothing to clean up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from axilla.core import store
from axilla.core.errors import BusyError, WriteError

HOLDING = """
import sys, time
from pathlib import Path
from axilla.core import store
with store.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_second_run_is_told_who_holds_it_and_a_killed_one_holds_nothing(tmp_path: Path):
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, out], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError) as caught, store.locked(out):
            pass
        problem = caught.value.problem
        since = json.loads((out / ".axilla.lock.json").read_text())["since"]
        assert problem.cause == (
            f"another run is working in this folder (process {other.pid} on "
            f"{socket.gethostname()}, since {since})."
        )
        assert problem.remedy.startswith("Wait until it has ended")
        assert problem.file == out
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (out / ".axilla.lock.json").is_file(), "nobody cleaned up"
    with store.locked(out):
        assert json.loads((out / ".axilla.lock.json").read_text())["pid"] == os.getpid()
    assert [p.name for p in out.iterdir()] == [".axilla.lock"]
    assert (out / ".axilla.lock").read_bytes() == b""


def test_it_holds_within_one_process_and_is_let_go_after_an_error(tmp_path: Path):
    def fail() -> None:
        with store.locked(tmp_path):
            with pytest.raises(BusyError), store.locked(tmp_path):
                pass
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fail()


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"pid": 1}'])
def test_a_holder_that_has_not_yet_said_who_it_is(tmp_path: Path, record):
    with store.locked(tmp_path):
        path = tmp_path / ".axilla.lock.json"
        path.unlink()
        if record is not None:
            path.write_text(record)
        with pytest.raises(BusyError, match="it has only just begun"), store.locked(tmp_path):
            pass


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    for out in (tmp_path / "taken", tmp_path / "taken" / "out"):
        with pytest.raises(WriteError) as caught, store.locked(out):
            pass
        assert caught.value.problem.file == out
