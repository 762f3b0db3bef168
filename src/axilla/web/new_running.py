"""New cases wait for the model one behind another, and tell how far they are."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from axilla.core.errors import AxillaError, CohortError, InputProblems, Problem
from axilla.deploy.asking import without_pixels
from axilla.deploy.predicting import CaseResult, predict_case
from axilla.web.new_files import rings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from axilla.deploy.case_inputs import CaseInput
    from axilla.deploy.loading import LoadedModel

T = TypeVar("T")
State = Literal["waiting", "running", "done", "failed", "stopped"]

WAITING = 4
"""Cases that may wait for the one that is worked on; more are told to come again."""
_UNFORESEEN = (
    "Something went wrong that was not foreseen; the server's terminal says what. Other cases are "
    "not touched by it."
)
_OPTION = re.compile(r"(?<!\w)--[a-z]")
_log = logging.getLogger(__name__)


class FullError(Exception):
    """So many cases wait already that no more are taken."""


class _StoppedError(Exception):
    """Whoever waits does not wait any more."""


@dataclass(slots=True)
class Step:
    """A part of the work."""

    title: str
    done: int
    of: int


@dataclass(slots=True, eq=False)
class Job:
    """A case on its way to a result. A `Reporter`: the work tells it how far it is."""

    model: LoadedModel
    case: CaseInput
    work: Path
    """For grids and features; removed when it ends."""
    state: State = "waiting"
    steps: list[Step] = field(default_factory=list)
    problem: str | None = None
    result: CaseResult | None = None
    rings: dict[str, list[list[list[float]]]] = field(default_factory=dict)
    """Outlines that patches were cut from, by slide: given, or of the tissue that was found."""
    remove: Path | None = None
    """What else to remove at its end: the folder of a case that was deleted meanwhile."""
    _stop: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ended(self) -> bool:
        """Whether nothing more is done."""
        return self.state in {"done", "failed", "stopped"}

    def stop(self) -> None:
        """End it before its next step."""
        with self._lock:
            self._stop = True
            if self.state == "waiting":
                self.state = "stopped"

    def run(self) -> None:
        """Ask the model."""
        with self._lock:
            if self._stop:
                return
            self.state = "running"
        try:
            self._keep(predict_case(self.model, self.case, reporter=self, work=self.work))
        except _StoppedError:
            self.state = "stopped"
        except InputProblems as error:
            self._fail(" ".join(map(_told, error.problems)))
        except AxillaError as error:
            self._fail(_told(error.problem))
        else:
            self.state = "done"
        finally:
            for folder in (self.work, self.remove):
                if folder is not None:
                    shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, found: CaseResult) -> None:
        self._go_on()
        tiles = found.prepared.application.tiles
        if tiles is not None and tiles.held is not None:
            for own in found.maps:
                regions = tiles.held.regions_of(own.slide.slide_id) or ()
                self.rings[own.slide.slide_id] = rings_of(regions)
        self.result = replace(found, prepared=without_pixels(found.prepared))

    def ended_by(self, error: BaseException) -> None:
        """Told where the work ended by a mistake of the program's."""
        _log.error("a new case ended by a mistake of the program", exc_info=error)
        self._fail(_UNFORESEEN)

    def _fail(self, sentence: str) -> None:
        self.problem, self.state = sentence, "failed"

    def _go_on(self) -> None:
        if self._stop:
            raise _StoppedError

    def track(self, items: Sequence[T], title: str) -> Iterator[T]:
        """Count items."""
        step = Step(title, 0, len(items))
        self.steps.append(step)
        for item in items:
            self._go_on()
            yield item
            step.done += 1
        self._go_on()

    def epochs(
        self,
        total: int,  # noqa: ARG002 - protocol
        title: str,  # noqa: ARG002 - protocol
    ) -> AbstractContextManager[Callable[[Any], None]]:
        """Nothing is trained here."""
        return nullcontext(lambda _: None)

    def say(self, text: str) -> None:
        """Nothing: what matters stands in the record."""

    def done(self, step: str, detail: str) -> None:  # noqa: ARG002 - protocol
        """A step ended."""
        self._go_on()


class Queue:
    """One thread, and a line before it that has an end."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="axilla-case")
        self._most = waiting
        self._line: list[Job] = []

    def put(self, job: Job) -> None:
        """Work on a job after those before it.

        Raises
        ------
        FullError
            Too many wait already.
        """
        self._line = [one for one in self._line if not one.ended]
        if sum(one.state == "waiting" for one in self._line) >= self._most:
            raise FullError
        self._line.append(job)
        self._pool.submit(job.run).add_done_callback(lambda done: _watch(job, done))

    def ahead(self, job: Job) -> int:
        """How many are before it."""
        line = [one for one in self._line if not one.ended]
        return line.index(job) if job in line else 0

    def close(self) -> None:
        """Stop what runs at its next step, and drop what waits."""
        for job in self._line:
            job.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _watch(job: Job, done: Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        job.ended_by(error)


def _told(problem: Problem) -> str:
    """As the page says it, which has no command line: a remedy that names an option is left out."""
    return problem.cause if _OPTION.search(problem.remedy) else f"{problem.cause} {problem.remedy}"


def full_error() -> CohortError:
    """What is said where the line is full."""
    return CohortError(
        f"{WAITING} cases wait for the model already.", "Try again in a minute: nothing is lost."
    )
