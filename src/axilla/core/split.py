"""Partitions of patients: by patient, stratified, seeded (DESIGN, Split; paper, section 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from axilla.core.config import ColumnSplit, FoldSplit, RandomSplit, StudyConfig
from axilla.core.errors import CohortError
from axilla.core.types import Cohort, CohortName, Partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def make_partitions(cohort: Cohort, *, config: StudyConfig) -> tuple[Partition, ...]:
    """One partition for a split, one a fold and repeat for cross-validation.

    Raises
    ------
    CohortError
        The cohort is too small, or a cohort of the split lacks patients of a class.
    """
    split = config.split
    if isinstance(split, ColumnSplit):
        given = {p.patient_id: p.split or "train" for p in cohort.patients}
        partitions: tuple[Partition, ...] = (
            Partition(name="split", cohort_of=given, seed=config.training.seed),
        )
    elif isinstance(split, RandomSplit):
        partitions = (_random_partition(cohort, split, seed=config.training.seed),)
    else:
        partitions = _fold_partitions(cohort, split, seed=config.training.seed)
    for partition in partitions:
        _check_training(cohort, partition, config)
    return partitions


def _random_partition(cohort: Cohort, split: RandomSplit, *, seed: int) -> Partition:
    rng = np.random.default_rng(split.seed)
    rest, test = _stratified(cohort.labels(), share=split.test, rng=rng)
    train, val = _stratified(rest, share=split.validation, rng=rng)
    cohort_of = _in_order(cohort, {"train": train, "val": val, "test": test})
    return Partition(name="split", cohort_of=cohort_of, seed=seed)


def _stratified(
    labels: Mapping[str, int], *, share: float, rng: np.random.Generator
) -> tuple[dict[str, int], dict[str, int]]:
    """Patients kept and patients taken, `share` of every class taken (rounded)."""
    taken: set[str] = set()
    for label in sorted(set(labels.values())):
        members = [patient for patient, value in labels.items() if value == label]
        order = rng.permutation(len(members))
        taken.update(members[i] for i in order[: round(share * len(members))])
    return (
        {p: value for p, value in labels.items() if p not in taken},
        {p: value for p, value in labels.items() if p in taken},
    )


def _fold_partitions(cohort: Cohort, split: FoldSplit, *, seed: int) -> tuple[Partition, ...]:
    partitions = []
    for repeat in range(split.repeats):
        rng = np.random.default_rng([split.seed, repeat])
        fold_of = (
            _stratified_folds(cohort, split.folds, rng)
            if split.group is None
            else _grouped_folds(cohort, split, rng)
        )
        for fold in range(split.folds):
            labels = cohort.labels()
            test = {p: labels[p] for p, f in fold_of.items() if f == fold}
            rest = {p: labels[p] for p, f in fold_of.items() if f != fold}
            train, val = _stratified(rest, share=split.validation, rng=rng)
            partitions.append(
                Partition(
                    name=f"repeat{repeat}-fold{fold}",
                    cohort_of=_in_order(cohort, {"train": train, "val": val, "test": test}),
                    repeat=repeat,
                    fold=fold,
                    seed=seed + 1000 * repeat + fold,
                )
            )
    return tuple(partitions)


def _stratified_folds(cohort: Cohort, folds: int, rng: np.random.Generator) -> dict[str, int]:
    labels = cohort.labels()
    fold_of: dict[str, int] = {}
    for label in sorted(set(labels.values())):
        members = [patient for patient, value in labels.items() if value == label]
        if len(members) < folds:
            raise CohortError(
                f"{cohort.classes[label]} has {len(members)} patients, fewer than the {folds} "
                "folds.",
                "Set fewer folds.",
            )
        start = int(rng.integers(folds))
        for position, index in enumerate(rng.permutation(len(members))):
            fold_of[members[index]] = (start + position) % folds
    return fold_of


def _grouped_folds(cohort: Cohort, split: FoldSplit, rng: np.random.Generator) -> dict[str, int]:
    """Whole groups to folds, the largest first, each to the fold with the fewest patients."""
    sizes: dict[str, int] = {}
    for patient in cohort.patients:
        sizes[str(patient.group)] = sizes.get(str(patient.group), 0) + 1
    if len(sizes) < split.folds:
        raise CohortError(
            f"`{split.group}` has {len(sizes)} groups, fewer than the {split.folds} folds.",
            "Set fewer folds.",
        )
    names = sorted(sizes)
    shuffled = [names[i] for i in rng.permutation(len(names))]
    load = [0] * split.folds
    fold_of_group: dict[str, int] = {}
    for name in sorted(shuffled, key=lambda group: -sizes[group]):
        fold = int(np.argmin(load))
        fold_of_group[name] = fold
        load[fold] += sizes[name]
    return {p.patient_id: fold_of_group[str(p.group)] for p in cohort.patients}


def _in_order(
    cohort: Cohort, members: Mapping[CohortName, Mapping[str, int]]
) -> dict[str, CohortName]:
    where: dict[str, CohortName] = {
        patient: name for name, patients in members.items() for patient in patients
    }
    return {p.patient_id: where[p.patient_id] for p in cohort.patients}


def _check_training(cohort: Cohort, partition: Partition, config: StudyConfig) -> None:
    """Training (and validation, where a threshold is chosen on it) must hold every class."""
    labels = cohort.labels()
    needed: Sequence[CohortName] = ["train"]
    share = 0.0 if isinstance(config.split, ColumnSplit) else config.split.validation
    if partition.members("val") or share > 0 or config.needs_validation:
        needed = ["train", "val"]
    for name in needed:
        present = {labels[patient] for patient in partition.members(name)}
        absent = [cohort.classes[i] for i in range(len(cohort.classes)) if i not in present]
        if absent:
            where = "training" if name == "train" else "validation"
            raise CohortError(
                f"the {where} cohort of {partition.name} has no patient with {absent[0]}.",
                "Enlarge the cohort, change the split, or, for validation, set a fixed threshold.",
            )
    if not partition.members("test"):
        raise CohortError(
            f"the test cohort of {partition.name} has no patient.", "Enlarge the test share."
        )
