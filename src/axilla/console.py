"""What the command line shows: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

    from axilla.core.errors import Problem

T = TypeVar("T")


def say(text: str) -> None:
    """One line to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_problems(problems: Sequence[Problem]) -> None:
    """All problems to standard error, each with patient, file, cause and remedy."""
    count = len(problems)
    sys.stderr.write(f"{count} problem{'s' if count != 1 else ''} in the inputs:\n")
    for number, problem in enumerate(problems, start=1):
        lines = [f"{number}. {problem.cause}"]
        if problem.patient is not None:
            lines.append(f"   patient: {problem.patient}")
        if problem.file is not None:
            lines.append(f"   file:    {problem.file}")
        lines.append(f"   remedy:  {problem.remedy}")
        sys.stderr.write("\n".join(lines) + "\n")


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
    )
