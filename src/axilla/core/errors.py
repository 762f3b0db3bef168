"""The errors a user can cause, each a sentence with who, what file, why and what to do about it.

Every class is also the closest builtin, so that a caller of the Python API can catch either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the inputs."""

    cause: str
    remedy: str
    patient: str | None = None
    file: Path | None = None
    fatal: bool = True
    """False for what only takes a patient or slide out of the study, not the study itself."""
    slide: str | None = None
    code: str = "input"
    """The kind of problem, for programs that read `check.json`."""

    def __str__(self) -> str:
        where = ", ".join(
            part
            for part in (
                f"patient {self.patient}" if self.patient is not None else "",
                str(self.file) if self.file is not None else "",
            )
            if part
        )
        return f"{where + ': ' if where else ''}{self.cause} {self.remedy}"


class AxillaError(Exception):
    """A mistake in the inputs; `str()` of it is what the user reads."""

    code: ClassVar[str] = "input"

    def __init__(
        self, cause: str, remedy: str, *, patient: str | None = None, file: Path | None = None
    ) -> None:
        self.problem = Problem(
            cause=cause, remedy=remedy, patient=patient, file=file, code=self.code
        )
        super().__init__(str(self.problem))


class ConfigError(AxillaError, ValueError):
    """The study file says something that cannot be done."""

    code = "config"


class CohortError(AxillaError, ValueError):
    """The table of patients is wrong."""

    code = "cohort"


class SlideError(AxillaError, OSError):
    """A slide is missing or cannot be read."""

    code = "slide"
    __str__ = AxillaError.__str__


class AnnotationError(AxillaError, ValueError):
    """An annotation cannot be read or does not fit its slide."""

    code = "annotation"


class WeightsError(AxillaError, OSError):
    """Encoder weights cannot be had."""

    code = "weights"
    __str__ = AxillaError.__str__


class FeaturesError(AxillaError, ValueError):
    """Features made elsewhere are missing, damaged or do not go together."""

    code = "features"


class StatisticsError(AxillaError, ValueError):
    """A figure cannot be computed from these numbers."""

    code = "statistics"


class StoreError(AxillaError, OSError):
    """An artefact in the output folder is missing, damaged or of another version."""

    code = "store"
    __str__ = AxillaError.__str__


class WriteError(StoreError):
    """The disk refuses an artefact: it is full, read-only or somebody else's."""

    code = "write"


class BusyError(AxillaError, BlockingIOError):
    """Another run holds the output folder."""

    code = "busy"
    __str__ = AxillaError.__str__


class InputProblems(AxillaError, ValueError):  # noqa: N818 - what it holds
    """Everything that `check` found, raised at once by whoever needs the inputs to be right."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        count = len(problems)
        super().__init__(
            f"{count} problem{'s' if count != 1 else ''} in the inputs:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\n",
            "`axilla check` lists them as a table.",
        )
