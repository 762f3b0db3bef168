"""Whom to explain, and why that cannot be done; light, so that a mistake is told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from axilla.core.cohort_union import read_everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import CohortError, ConfigError, StoreError
from axilla.core.types import Cohort, CohortName, Partition

_NEAR = 3
"""So many names a sentence offers for one that is not there."""


@dataclass(frozen=True, slots=True)
class Case:
    """Whom to explain."""

    patient_id: str
    page: Path | None = None
    """The page to write; None for `explained/<patient>.html` in the study's folder."""


def refuse_case(config: StudyConfig, case: Case) -> None:
    """Tell what is wrong with a case before anything is computed for it.

    Raises
    ------
    ConfigError
        No method of the study can be explained, or its several endpoints would share one page.
    StoreError
        The page is not named .html.
    CohortError
        The table has no such patient, or no endpoint does.
    """
    if not config.uses_slides:
        raise ConfigError(
            "there is nothing to explain: no method of this study looks at patches or nuclei "
            f"({', '.join(config.methods)}).",
            "Add one that does, such as dl-cnb, to `methods:`.",
        )
    if case.page is not None:
        if case.page.suffix.lower() != ".html":
            raise StoreError("is no name of a page.", "Name it .html.", file=case.page)
        if len(config.studies) > 1:
            raise ConfigError(
                "this study has several endpoints, and each gets a page of its own.",
                "Leave out --out: the pages come into each endpoint's folder.",
            )
    everybody = read_everybody(config)
    known = [str(name) for name in everybody.parts[0].frame.index]
    if case.patient_id not in known:
        near = difflib.get_close_matches(case.patient_id, known, _NEAR, 0.4)
        named = f" The nearest: {', '.join(near)}." if near else ""
        raise CohortError(
            f"there is no patient {case.patient_id!r} in the table.{named}",
            "Give an id as it stands in the column patient_id.",
            file=config.cohort,
        )
    refuse_absent(everybody.parts, case.patient_id, file=config.cohort, only_outside=True)


def refuse_absent(
    cohorts: tuple[Cohort, ...], patient_id: str, *, file: Path, only_outside: bool = False
) -> None:
    """Tell why a patient of the table is in none of the endpoints' cohorts.

    Parameters
    ----------
    only_outside
        Of patients whom the endpoints leave out; what is wrong with others is told elsewhere.

    Raises
    ------
    CohortError
        The patient left, for the reason that is told.
    """
    left = [e for part in cohorts for e in part.excluded if e.patient_id == patient_id]
    here = any(patient_id in part.labels() for part in cohorts)
    if here or (only_outside and len(left) < len(cohorts)):
        return
    reasons = "; ".join(dict.fromkeys(exclusion.reason for exclusion in left))
    raise CohortError(
        f"the patient is not in the study: {reasons or 'see exclusions.csv'}.",
        "Only patients of the study can be explained.",
        patient=patient_id,
        file=file,
    )


def asked_partition(
    partitions: Iterable[Partition], patient_id: str
) -> tuple[Partition, CohortName]:
    """The partition whose model is asked of a patient, and on which side of it the patient is.

    A model that did not see the patient goes before one that did; of several the first.
    """
    sides = [(p, p.cohort_of[patient_id]) for p in partitions if patient_id in p.cohort_of]
    return min(sides, key=lambda side: side[1] != "test")
