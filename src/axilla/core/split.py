"""Partitions of patients: by patient, stratified, seeded (DESIGN, Split; paper, section 2.2)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from axilla.core.cohort import SPLIT_NAMES
from axilla.core.config import ColumnSplit, FoldSplit, RandomSplit, StudyConfig
from axilla.core.errors import CohortError
from axilla.core.types import Cohort, CohortName, Partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def make_partitions(cohort: Cohort, *, config: StudyConfig) -> tuple[Partition, ...]:
    """One partition for a split, one a fold and repeat for cross-validation.

    A random split is made over all enrolled patients by node stage and then cut down to those of
    the endpoint, so that all endpoints share it.

    Raises
    ------
    CohortError
        The cohort is too small, or a cohort of the split lacks patients of a class.
    """
    split = config.split
    partitions: tuple[Partition, ...]
    if isinstance(split, ColumnSplit):
        given = {p.patient_id: p.split or "train" for p in cohort.patients}
        partitions = (Partition(name="split", cohort_of=given, seed=config.training.seed),)
    elif isinstance(split, RandomSplit):
        where = _random_split(cohort, split)
        given = {p.patient_id: where[p.patient_id] for p in cohort.patients}
        partitions = (Partition(name="split", cohort_of=given, seed=config.training.seed),)
    else:
        partitions = _fold_partitions(cohort, split, seed=config.training.seed)
    for partition in partitions:
        _check_training(cohort, partition, config)
    return partitions


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
