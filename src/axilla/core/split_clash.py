"""Whether two splits of the same patients contradict each other.

A model that saw a patient in training must not be measured on that patient, not even by another
study: the original's split files of N0 / N(+) and of the three-way endpoint share 136 patients who
train in the one and are tested in the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from axilla.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SplitClash:
    """Patients of the second split's test cohort whom the first split's models have seen."""

    trained: tuple[str, ...]
    """In training in the first, in the test cohort of the second."""
    validated: tuple[str, ...]
    """In validation in the first, in the test cohort of the second."""

    def __bool__(self) -> bool:
        return bool(self.trained or self.validated)


def split_clash(first: Mapping[str, str], second: Mapping[str, str]) -> SplitClash:
    """Compare two splits, or two split columns, as cohort by patient id.

    Patients of one alone, and empty cells, contradict nothing. The direction counts: what trains in
    the second and is tested in the first is `split_clash(second, first)`.
    """
    tested = {patient for patient, cohort in second.items() if cohort == "test"}
    return SplitClash(
        trained=tuple(p for p, cohort in first.items() if cohort == "train" and p in tested),
        validated=tuple(p for p, cohort in first.items() if cohort == "val" and p in tested),
    )


def clash_problems(
    first: Mapping[str, str], second: Mapping[str, str], *, names: tuple[str, str]
) -> tuple[Problem, ...]:
    """Say in a sentence a direction how two splits contradict each other; none if they do not."""
    found = []
    for seen, tested, (a, b) in (
        (first, second, names),
        (second, first, names[::-1]),
    ):
        clash = split_clash(seen, tested)
        if clash:
            found.append(
                Problem(
                    cause=f"the splits contradict each other: {len(clash.trained)} training and "
                    f"{len(clash.validated)} validation patients of {a} are in the test set of "
                    f"{b} (the first is patient {(clash.trained + clash.validated)[0]}).",
                    remedy=f"Never measure a model of {a} on the test set of {b}; to compare the "
                    "two, give both studies the same split column.",
                )
            )
    return tuple(found)
