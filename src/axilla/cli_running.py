"""What the verbs share that run a study."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from axilla.console import ConsoleReporter, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from axilla.study.chain import Case, Step, StudyResult

StudyFile = Annotated[Path, typer.Argument(metavar="study.yaml", help="The study file.")]
Exclude = Annotated[
    bool,
    typer.Option(
        "--exclude-failed",
        help="Go on without the patients whose inputs are wrong; the report names each.",
    ),
]
ModelFolder = Annotated[
    Path, typer.Argument(metavar="MODEL_DIR", help="A model's folder, such as out/models/dl-cnb.")
]
INPUT_ERROR = 2
INTERRUPTED = 130
"""As a shell tells it of a program that Ctrl-C ended."""
BUSY = 75
"""sysexits' EX_TEMPFAIL: nothing is wrong, try again later."""
_STOPPED = "Stopped. Start the same command again: it goes on where it was."


def run_study(study: Path, *, until: Step, exclude_failed: bool, case: Case | None = None) -> None:
    """Run a study up to a step, or to one case's page, and tell where that lies."""
    with going_on_later():
        _run_study(study, until=until, exclude_failed=exclude_failed, case=case)


def _run_study(study: Path, *, until: Step, exclude_failed: bool, case: Case | None) -> None:
    from axilla.core.config import load_config

    config = load_config(study)  # before the heavy imports: its mistakes are told at once
    devices = config.training.devices
    if devices not in {"auto", 1} and config.uses_slides and until not in {"tile", "embed"}:
        start_processes(int(devices))
    from axilla.study.chain import run

    result = run(
        config, until=until, exclude_failed=exclude_failed, reporter=ConsoleReporter(), case=case
    )
    tell(result)


@contextmanager
def going_on_later() -> Iterator[None]:
    """Within the block Ctrl-C ends the command with a sentence: what is done already stays."""
    from axilla.launching import started_by_us

    try:
        yield
    except KeyboardInterrupt as error:
        if not started_by_us():
            # The terminal has shown `^C` on the line.
            start = "\n" if sys.stderr.isatty() else ""
            sys.stderr.write(f"{start}{_STOPPED}\n")
        raise typer.Exit(INTERRUPTED) from error


def start_processes(count: int) -> None:
    """Start this command so many times over, and end with it, unless that was done already."""
    from axilla.launching import LAUNCHED, run_together

    if LAUNCHED in os.environ:
        return
    sys.stdout.flush()
    command = ["-m", "axilla.cli", *sys.argv[1:]]
    raise typer.Exit(run_together(command, count=count, told={0, INPUT_ERROR, BUSY}))


def tell(result: StudyResult) -> None:
    """Say where the report or the page of the case is."""
    if result.report is not None:
        say(f"Report: {result.report.resolve()}")
    for one in (result, *result.endpoints.values()):
        if one.case is not None:
            say(f"Look at: {one.case.resolve()}")
