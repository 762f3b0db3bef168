"""`python -m axilla` is the command itself."""

from __future__ import annotations

import subprocess
import sys

from axilla import __version__


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "axilla", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == __version__


def test_importing_the_module_runs_nothing() -> None:
    code = "import axilla.__main__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
