"""What the command line shows: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

    from axilla.analysis.tables.printed import PrintedTable
    from axilla.core.errors import Problem

T = TypeVar("T")


def say(text: str) -> None:
    """One line to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_table(table: PrintedTable) -> None:
    """A table in columns, its first to the left and its figures to the right; then its notes."""
    rows = [[str(name) for name in table.frame.columns], *table.frame.values.tolist()]
    rows = [[_harmless(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        say("  ".join(cells))
    for note in table.notes:
        say(_harmless(note))


def print_problems(problems: Sequence[Problem], *, title: str | None = None) -> None:
    """All problems to standard error, each with patient, file, cause and remedy.

    A table on a terminal, plain lines elsewhere. `title` where they are not the inputs'.
    """
    count = len(problems)
    title = title or f"{count} problem{'s' if count != 1 else ''} in the inputs:"
    if sys.stderr.isatty():
        _print_table(problems, title)
        return
    sys.stderr.write(f"{title}\n")
    for number, problem in enumerate(problems, start=1):
        lines = [f"{number}. {problem.cause}"]
        if problem.patient is not None:
            lines.append(f"   patient: {problem.patient}")
        if problem.slide is not None:
            lines.append(f"   slide:   {problem.slide}")
        if problem.file is not None:
            lines.append(f"   file:    {problem.file}")
        lines.append(f"   remedy:  {problem.remedy}")
        sys.stderr.write("\n".join(map(_harmless, lines)) + "\n")


def _print_table(problems: Sequence[Problem], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True)
    for heading, ratio in (("", 1), ("Patient", 4), ("File", 6), ("Problem", 12), ("Remedy", 10)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for number, problem in enumerate(problems, start=1):
        who = problem.patient or ""
        if problem.slide is not None and problem.slide != who:
            who += f"\nslide {problem.slide}"
        cells = (str(number), who, _place(problem), problem.cause, problem.remedy)
        table.add_row(*(Text(_harmless(cell)) for cell in cells))
    # Text, not strings: a cell of the user's table is no markup of ours.
    console = Console(stderr=True)
    console.print(Text(title))
    console.print(table)
    folders = sorted({str(p.file.parent) for p in problems if p.file is not None})
    if folders:
        console.print(Text(_harmless("Files lie in: " + ", ".join(folders))))


def _place(problem: Problem) -> str:
    """The file by its name: a whole path would leave no room for the rest."""
    return "" if problem.file is None else problem.file.name


def _harmless(text: str) -> str:
    """Without what would steer the terminal: ids and cells come from somebody's table."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


class ConsoleReporter:
    """Progress bars where standard output is a terminal; a line a step everywhere."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()

    def track(self, items: Sequence[T], title: str) -> Iterable[T]:
        """Go through items under a progress bar."""
        if not self._live or not items:
            yield from items
            return
        with _bar() as progress:
            yield from progress.track(items, description=title)

    @contextmanager
    def epochs(self, total: int, title: str) -> Iterator[Callable[[Any], None]]:
        """Show a bar of epochs with loss and validation AUC."""
        if not self._live:
            yield lambda epoch: None
            return
        with _bar() as progress:
            task = progress.add_task(title, total=total)

            def show(epoch: Any) -> None:
                if epoch is not None and epoch.epoch != progress.tasks[task].completed:
                    # Taken up again: the epochs of the run before say nothing of the time left.
                    progress.reset(task, completed=epoch.epoch)
                progress.update(task, advance=1, description=title + _figures(epoch))

            yield show

    def say(self, text: str) -> None:
        """Print one line."""
        say(text)

    def done(self, step: str, detail: str) -> None:
        """Print that a step ended."""
        say(f"{step:<9} {detail}")


def _figures(epoch: Any) -> str:
    """Loss and validation AUC; nothing where what is counted is not an epoch."""
    if epoch is None:
        return ""
    auc = "" if epoch.val_auc is None else f", validation AUC {epoch.val_auc:.3f}"
    return f": loss {epoch.train_loss:.3f}{auc}"


def _bar() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        transient=True,
        # By default what took longer than half a minute never gets a time left.
        speed_estimate_period=7 * 24 * 3600,
    )
