"""Clinical values that would stop the study where it is predicted, found before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from axilla.core.cohort_union import Everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems, Problem
from axilla.core.naming import first_few
from axilla.core.split import cut_partitions
from axilla.core.types import Cohort, Partition
from axilla.mil.clinical import Preprocessor, fit_preprocessor


def unseen_categories(
    cohort: Cohort, partitions: tuple[Partition, ...], *, config: StudyConfig
) -> list[Problem]:
    """Patients of validation and test with a category that no training patient has.

    Each would stop the study where it is predicted. None under `unseen: unknown`.

    Raises
    ------
    CohortError
        A column cannot be learned from.
    """
    found: dict[tuple[str, str], Problem] = {}
    for partition in partitions:
        preprocessor = fit_on_training(cohort, partition, config=config)
        if config.clinical.unseen != "error":
            continue
        for cell in preprocessor.filled(cohort.patients):
            if cell.value is None:
                continue
            where = "" if len(partitions) == 1 else f" of {partition.name}"
            known = preprocessor.categories[preprocessor.categorical.index(cell.column)]
            problem = Problem(
                cause=f"`{cell.column}` is {cell.value!r}, which no training patient{where} has "
                f"({', '.join(known)}).",
                remedy="Correct the value, take the patient out, or set clinical.unseen: unknown.",
                patient=cell.patient_id,
                file=config.cohort,
                code="unseen",
            )
            found.setdefault((cell.patient_id, cell.column), problem)
    return list(found.values())


def check_again(
    everybody: Everybody, partitions: Sequence[Partition], *, checked: Everybody
) -> None:
    """Stop where the split or the clinical columns no longer do, before anything long is computed.

    Patients who leave when their slides are cut may be the only ones of a category who train, and
    folds are drawn anew without them.

    Parameters
    ----------
    everybody
        The patients who are left.
    partitions
        Of them.
    checked
        The patients whose inputs were checked.

    Raises
    ------
    CohortError
        A cohort of the split lacks patients of a class, or a column cannot be learned from.
    InputProblems
        Patients have a category that no training patient is left with.
    """
    found = []
    for study, part in zip(everybody.studies, everybody.parts, strict=True):
        own = cut_partitions(partitions, part, config=study)
        found.append(unseen_categories(part, own, config=study) if study.uses_clinical else [])
    problems = everybody.merge(found)
    left = checked.cohort.labels().keys() - everybody.cohort.labels().keys()
    if problems and left:
        named = first_few(sorted(left))
        who = f"without the patients who left after the inputs were checked ({named}), "
        problems = [replace(problem, cause=who + problem.cause) for problem in problems]
    if problems:
        raise InputProblems(tuple(problems))


def fit_on_training(cohort: Cohort, partition: Partition, *, config: StudyConfig) -> Preprocessor:
    """The preprocessor of a partition's training patients."""
    members = set(partition.members("train"))
    training = [p for p in cohort.patients if p.patient_id in members]
    return fit_preprocessor(training, config=config.clinical)
