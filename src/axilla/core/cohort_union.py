"""The cohorts of all endpoints of a study together: who is in any of them, and one split for all.

Endpoints share their split. It goes by node stage where any endpoint is made from the nodes, so
that it is the split of every study of the same table with one node endpoint, and adding a column
as an endpoint moves nobody; else by the classes of the first endpoint. A patient with no such
stage or class has a place in the split all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from axilla.core.cohort import CohortReading, read_cohort, without
from axilla.core.config import StudyConfig, endpoint_name
from axilla.core.errors import AxillaError, InputProblems, Problem
from axilla.core.types import Cohort, Exclusion, Patient

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

NO_STRATUM = "none of the strata"
"""Of patients whom the split knows, and who have neither stage nor class of the strata."""


@dataclass(frozen=True, slots=True, eq=False)
class Everybody:
    """The cohort of each endpoint, and all of their patients together."""

    studies: tuple[StudyConfig, ...]
    """One an endpoint."""
    parts: tuple[Cohort, ...]
    """The cohort of each of them."""
    found: tuple[tuple[Problem, ...], ...]
    """What is wrong with the table for each of them."""
    notes: tuple[Problem, ...] = ()
    """What of the table somebody should look at."""
    unusable: tuple[Patient, ...] = ()
    """Patients whom a problem of the table takes out of every endpoint that they are part of."""

    @property
    def names(self) -> tuple[str, ...]:
        """What problems call the endpoints."""
        return tuple(endpoint_name(study.endpoint) for study in self.studies)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the table, the endpoint named where it concerns not all of them."""
        return tuple(self.merge(self.found))

    @property
    def cohort(self) -> Cohort:
        """The patients of any endpoint; the labels number the strata where there are several."""
        return self.parts[0] if len(self.parts) == 1 else _united(self.parts)

    def merge(self, found: Sequence[Sequence[Problem]]) -> list[Problem]:
        """Problems by endpoint as one list: each once, with its endpoint if it is only that one's.

        A patient outside an endpoint has no problem there, which says nothing of the others.
        """
        if len(self.parts) == 1:
            return list(found[0])
        outside = [{e.patient_id for e in part.excluded} for part in self.parts]
        told = [set(problems) for problems in found]
        merged: dict[Problem, None] = {}
        for index, problems in enumerate(found):
            for problem in problems:
                everywhere = all(
                    problem in other or problem.patient in outside[place]
                    for place, other in enumerate(told)
                    if place != index
                )
                cause = f"endpoint {self.names[index]}: {problem.cause}"
                merged[problem if everywhere else replace(problem, cause=cause)] = None
        return list(merged)

    def without(self, shared: Sequence[Problem]) -> Everybody:
        """Without patients who have a problem: one of their endpoint's table, or of `shared`."""
        parts = tuple(
            without(part, dropped_by([*own, *shared], part))
            for part, own in zip(self.parts, self.found, strict=True)
        )
        return replace(self, parts=parts)

    def following(self, cohort: Cohort) -> Everybody:
        """Without those who left `cohort`, all of the patients, in a step that endpoints share."""
        if len(self.parts) == 1:
            return replace(self, parts=(cohort,))
        here = {patient.patient_id for patient in cohort.patients}
        gone = {
            e.patient_id: (e.step, e.reason) for e in cohort.excluded if e.patient_id not in here
        }
        return replace(
            self,
            parts=tuple(
                without(part, {p: why for p, why in gone.items() if p in members})
                for part in self.parts
                for members in [part.labels()]
            ),
        )


def read_everybody(config: StudyConfig) -> Everybody:
    """Read the table once an endpoint; see `read_cohort`.

    Raises
    ------
    AxillaError
        The table cannot be read or lacks a column that the study names.
    InputProblems
        The same, of several endpoints.
    """
    studies = config.studies
    if len(studies) == 1:
        reading = read_cohort(studies[0])
        return Everybody(
            studies, (reading.cohort,), (reading.problems,), reading.notes, reading.unusable
        )
    readings, fatal = [], []
    for study in studies:
        try:
            readings.append(read_cohort(study))
        except AxillaError as error:
            problem = error.problem
            fatal.append(
                replace(problem, cause=f"endpoint {endpoint_name(study.endpoint)}: {problem.cause}")
            )
    if fatal:
        raise InputProblems(tuple(fatal))
    nodes = (i for i, study in enumerate(studies) if isinstance(study.endpoint, str))
    base = readings[next(nodes, 0)].cohort.strata
    known = {patient for reading in readings for patient in reading.cohort.strata}
    strata = {**base, **dict.fromkeys(sorted(known - set(base)), NO_STRATUM)}
    return Everybody(
        studies=studies,
        parts=tuple(replace(reading.cohort, strata=strata) for reading in readings),
        found=tuple(reading.problems for reading in readings),
        notes=tuple(dict.fromkeys(note for reading in readings for note in reading.notes)),
        unusable=_unusable_everywhere(readings),
    )


def _unusable_everywhere(readings: Sequence[CohortReading]) -> tuple[Patient, ...]:
    here = {patient.patient_id for reading in readings for patient in reading.cohort.patients}
    found = {p.patient_id: p for reading in readings for p in reading.unusable}
    return tuple(patient for name, patient in found.items() if name not in here)


def dropped_by(problems: Sequence[Problem], cohort: Cohort) -> dict[str, tuple[str, str]]:
    """Step and reasons by patient; who is outside the endpoint has left before."""
    outside = {exclusion.patient_id for exclusion in cohort.excluded}
    causes: dict[str, list[str]] = {}
    for problem in problems:
        if problem.patient is not None and not problem.fatal and problem.patient not in outside:
            causes.setdefault(problem.patient, []).append(problem.cause)
    return {patient: ("check", " ".join(found)) for patient, found in causes.items()}


def _united(parts: Sequence[Cohort]) -> Cohort:
    first = parts[0]
    strata = first.strata
    classes = tuple(sorted(set(strata.values()) - {NO_STRATUM}))
    number = {name: index for index, name in enumerate(classes)}
    patients = {patient.patient_id: patient for part in parts for patient in part.patients}
    return replace(
        first,
        classes=classes,
        # In the order of the table, of which each part is a piece.
        patients=tuple(
            replace(patients[name], label=number.get(strata[name], -1))
            for name in map(str, first.frame.index)
            if name in patients
        ),
        excluded=tuple(_excluded_everywhere(parts, patients.keys())),
    )


def _excluded_everywhere(parts: Sequence[Cohort], here: Collection[str]) -> list[Exclusion]:
    """Who is in no endpoint, each with a reason: what is wrong goes before being outside."""
    why: dict[str, list[Exclusion]] = {}
    for exclusion in (e for part in parts for e in part.excluded if e.patient_id not in here):
        why.setdefault(exclusion.patient_id, []).append(exclusion)
    found = []
    for patient, exclusions in why.items():
        wrong = next((e for e in exclusions if e.step != "endpoint"), None)
        outside = Exclusion("endpoint", "part of none of the endpoints", patient)
        found.append(wrong or outside)
    return found
