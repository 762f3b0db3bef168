"""Clinical values that would stop the study where it is predicted, found before it is trained."""

from __future__ import annotations

from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
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


def fit_on_training(cohort: Cohort, partition: Partition, *, config: StudyConfig) -> Preprocessor:
    """The preprocessor of a partition's training patients."""
    members = set(partition.members("train"))
    training = [p for p in cohort.patients if p.patient_id in members]
    return fit_preprocessor(training, config=config.clinical)
