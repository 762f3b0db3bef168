"""What is shown while something runs, on a terminal and where nobody watches."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from axilla.console import ConsoleReporter, print_problems
from axilla.core.errors import Problem
from axilla.mil.training import Epoch


def test_problems_are_a_table_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = Problem(
        "it is [red]wrong[/red] \x1b[31m.", "Mend it.", "P1", Path("/data/a.svs"), slide="S1"
    )
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    print_problems((problem,))
    shown = capsys.readouterr().err
    assert shown.startswith("1 problem in the inputs:\n")
    for cell in ("P1", "slide S1", "a.svs", "[red]wrong[/red]", "Mend it.", "lie in: /data"):
        assert cell in shown
    assert "\x1b[31m" not in shown, "a table cannot steer the terminal"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    print_problems((problem,))
    assert capsys.readouterr().err == (
        "1 problem in the inputs:\n1. it is [red]wrong[/red] \N{REPLACEMENT CHARACTER}[31m.\n"
        "   patient: P1\n   slide:   S1\n   file:    /data/a.svs\n   remedy:  Mend it.\n"
    )


class Terminal(io.StringIO):
    """A standard output that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    reporter = ConsoleReporter()
    assert list(reporter.track([1, 2, 3], "Cutting patches")) == [1, 2, 3]
    with reporter.epochs(2, "Training dl-cnb") as on_epoch:
        on_epoch(Epoch(0, 1e-4, 0.6931, None, None))
        on_epoch(Epoch(1, 1e-4, 0.5, 0.6, 0.75))
    with reporter.epochs(1, "Painting slides") as on_slide:
        on_slide(None)
    shown = screen.getvalue()
    assert "Cutting patches" in shown
    assert "loss 0.500, validation AUC 0.750" in shown
    assert "Painting slides" in shown


def test_a_training_taken_up_again_goes_on_from_its_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    with ConsoleReporter().epochs(9, "Training") as on_epoch:
        on_epoch(Epoch(6, 1e-4, 0.6, None, None))
        on_epoch(Epoch(7, 1e-4, 0.5, 0.6, 0.75))
    assert "8/9" in screen.getvalue()


def test_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter()
    assert list(reporter.track([1, 2], "Cutting patches")) == [1, 2]
    with reporter.epochs(1, "Training") as on_epoch:
        on_epoch(Epoch(0, 1e-4, 0.7, None, None))
    reporter.done("tile", "2 slides")
    assert capsys.readouterr().out == "tile      2 slides\n"
