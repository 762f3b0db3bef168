"""Processes that were started together: whose code counts, who is heard, and that none stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axilla import launching
from axilla.launching import run_together

TOLD = {0, 2, 75}


def command(*by_rank: str) -> list[str]:
    """A script for each rank."""
    whole = "import os, sys, time\nrank = os.environ['RANK']\n"
    for rank, script in enumerate(by_rank):
        whole += f"if rank == '{rank}':\n    {script}\n"
    return ["-c", whole]


SAY = "sys.stderr.write('helper is lost'); sys.exit(1)"


@pytest.mark.parametrize("code", [0, 2, 75])
def test_the_first_process_ends_all_and_its_code_is_the_command_s(
    code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    first = f"sys.stderr.write('sentence'); sys.exit({code})"
    start = time.monotonic()
    assert run_together(command(first, "time.sleep(600)"), count=2, told=TOLD) == code
    assert time.monotonic() - start < 120
    assert capfd.readouterr().err == "sentence"


def test_what_others_say_of_a_mistake_that_is_told_is_not_heard(
    capfd: pytest.CaptureFixture[str],
) -> None:
    first = "time.sleep(1); sys.stderr.write('sentence'); sys.exit(2)"
    assert run_together(command(first, SAY), count=2, told=TOLD) == 2
    assert capfd.readouterr().err == "sentence"


def test_another_process_that_fails_is_heard_and_ends_the_first(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launching, "GRACE_S", 0.3)
    lost = SAY.replace("exit(1)", "exit(9)")
    assert run_together(command("time.sleep(600)", "pass", lost), count=3, told=TOLD) == 9
    assert capfd.readouterr().err == "helper is lost"


def test_a_crash_of_the_first_keeps_its_code(capfd: pytest.CaptureFixture[str]) -> None:
    first = "os.kill(os.getpid(), 9)"
    assert run_together(command(first, "time.sleep(600)"), count=2, told=TOLD) == 137
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_all(tmp_path: Path, number: signal.Signals) -> None:
    started = f"open({str(tmp_path)!r} + '/' + rank, 'w').write(str(os.getpid())); time.sleep(600)"
    # Whoever runs the tests in the background may ignore some of these signals.
    heard = "import signal as s\ns.signal(s.SIGINT, s.default_int_handler)\n"
    heard += "s.signal(s.SIGHUP, s.SIG_DFL)\ns.signal(s.SIGTERM, s.SIG_DFL)\n"
    own = f"{heard}from axilla.launching import run_together\n"
    own += f"run_together({command(started, started)!r}"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{own}, count=2, told=[0])"], stderr=subprocess.DEVNULL
    )
    try:
        while not all((tmp_path / r).is_file() and (tmp_path / r).read_text() for r in "01"):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(number)
        assert parent.wait(60) in {128 + number, -number}
    finally:
        parent.kill()
        parent.wait()
    for rank in "01":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / rank).read_text()), 0)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    first = "os.kill(os.getppid(), 1); time.sleep(1); sys.exit(0)"
    own = "import signal as s\ns.signal(s.SIGHUP, s.SIG_IGN)\n"
    own += "import sys\nfrom axilla.launching import run_together\n"
    own += f"sys.exit(run_together({command(first, 'time.sleep(600)')!r}, count=2, told=[0]))"
    assert subprocess.run([sys.executable, "-c", own], check=False, timeout=120).returncode == 0
