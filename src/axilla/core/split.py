"""Partitions of patients: by patient, stratified, seeded (DESIGN, Split; paper, section 2.2)."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from axilla.core.cohort import SPLIT_NAMES
from axilla.core.config import ColumnSplit, FoldSplit, RandomSplit, Split, StudyConfig
from axilla.core.errors import CohortError
from axilla.core.split_folds import fold_partitions
from axilla.core.types import Cohort, CohortName, Partition

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_partitions(cohort: Cohort, *, config: StudyConfig) -> tuple[Partition, ...]:
    """One partition for a split, one a fold and repeat for cross-validation.

    A random split is made over all enrolled patients by node stage and then cut down to those of
    the endpoint, so that all endpoints share it.

    Raises
    ------
    CohortError
        The cohort is too small, or a cohort of the split lacks patients of a class.
    """
    return cut_partitions(partitions_of(cohort, config=config), cohort, config=config)


def partitions_of(everybody: Cohort, *, config: StudyConfig) -> tuple[Partition, ...]:
    """The partitions of all patients; whether every class is in its place is not asked yet.

    Folds are stratified by the labels: where several endpoints share the folds, these number the
    strata (`axilla.core.cohort_union`).

    Raises
    ------
    CohortError
        There are fewer groups than folds.
    """
    split = config.split
    if isinstance(split, ColumnSplit):
        given = {p.patient_id: p.split or "train" for p in everybody.patients}
        return (Partition(name="split", cohort_of=given, seed=config.training.seed),)
    if isinstance(split, RandomSplit):
        where = _random_split(everybody, split)
        given = {p.patient_id: where[p.patient_id] for p in everybody.patients}
        return (Partition(name="split", cohort_of=given, seed=config.training.seed),)
    return fold_partitions(everybody, split, seed=config.training.seed)


def cut_partitions(
    partitions: Sequence[Partition], cohort: Cohort, *, config: StudyConfig
) -> tuple[Partition, ...]:
    """The partitions of one endpoint's patients, in the order of its table.

    A fold that tests nobody of this endpoint is left out.

    Raises
    ------
    CohortError
        A class has fewer patients than there are folds, or a cohort lacks patients of a class.
    """
    _check_folds(cohort, config.split)
    cut = []
    for partition in partitions:
        where = {p.patient_id: partition.cohort_of[p.patient_id] for p in cohort.patients}
        if not config.crossed or "test" in where.values():
            cut.append(replace(partition, cohort_of=where))
    for partition in cut:
        _check_training(cohort, partition, config)
    return tuple(cut)


def enrolled_split(cohort: Cohort, *, config: StudyConfig) -> dict[str, CohortName] | None:
    """The one split that all endpoints of a study share, over every patient of the table.

    It names patients outside the endpoint and patients with a problem as well, so that neither
    another endpoint nor an exclusion moves anybody. Sorted by patient id. None for folds, in which
    everybody is tested once a repeat.
    """
    if isinstance(config.split, RandomSplit):
        return _random_split(cohort, config.split)
    if isinstance(config.split, ColumnSplit):
        cells = cohort.frame[config.split.column].dropna()
        named = {str(p): SPLIT_NAMES.get(str(cell).lower()) for p, cell in cells.items()}
        return {patient: name for patient, name in sorted(named.items()) if name is not None}
    return None


def _random_split(cohort: Cohort, split: RandomSplit) -> dict[str, CohortName]:
    """Within each node stage, patients in the order of a seeded hash of their id.

    The head of that order is tested, its tail validates, and the rest trains. The order of the
    table plays no part, and a patient who is added or taken away changes nobody's place in the
    order: at most the one patient at each of the two borders of that stage moves.
    """
    strata = cohort.strata or {p: cohort.classes[label] for p, label in cohort.labels().items()}
    where: dict[str, CohortName] = {}
    for stratum in sorted(set(strata.values())):
        members = [patient for patient, value in strata.items() if value == stratum]
        order = sorted(members, key=lambda patient: (_place(patient, split.seed), patient))
        tested = round(split.test * len(order))
        validating = round(split.validation * (len(order) - tested))
        for position, patient in enumerate(order):
            where[patient] = (
                "test" if position < tested
                else "val" if position >= len(order) - validating
                else "train"
            )  # fmt: skip
    return dict(sorted(where.items()))


def _place(patient: str, seed: int) -> bytes:
    return hashlib.blake2b(patient.encode(), key=seed.to_bytes(4), digest_size=16).digest()


def _check_folds(cohort: Cohort, split: Split) -> None:
    """Every stratified fold tests every class."""
    if not isinstance(split, FoldSplit) or split.group is not None:
        return
    counts = Counter(cohort.labels().values())
    for index, name in enumerate(cohort.classes):
        if counts[index] < split.folds:
            raise CohortError(
                f"{name} has {counts[index]} patients, fewer than the {split.folds} folds.",
                "Set fewer folds.",
            )


def _check_training(cohort: Cohort, partition: Partition, config: StudyConfig) -> None:
    """Training must hold every class, and validation where something is chosen on it."""
    labels = cohort.labels()
    said = partition.name
    if partition.held_out is not None:
        said = f"the fold that leaves out {partition.held_out!r}"
    needed: Sequence[CohortName] = ["train"]
    share = 0.0 if isinstance(config.split, ColumnSplit) else config.split.validation
    stops = config.uses_slides and config.training.patience is not None
    if partition.members("val") or share > 0 or config.needs_validation or stops:
        needed = ["train", "val"]
    for name in needed:
        present = {labels[patient] for patient in partition.members(name)}
        absent = [cohort.classes[i] for i in range(len(cohort.classes)) if i not in present]
        if absent:
            where = "training" if name == "train" else "validation"
            raise CohortError(
                f"the {where} cohort of {said} has no patient with {absent[0]}.",
                "Enlarge the cohort, change the split, or, for validation, set a fixed threshold"
                + (" and take training.patience out." if stops else "."),
            )
    if not partition.members("test"):
        raise CohortError(f"the test cohort of {said} has no patient.", "Enlarge the test share.")
