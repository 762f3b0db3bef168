"""Folds of cross-validation: stratified, grouped, or one group left out at a time."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from axilla.core.config import FoldSplit, LeaveOutSplit
from axilla.core.errors import CohortError
from axilla.core.types import Cohort, CohortName, Partition

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIES = 64
"""Random orders of the groups from which the validation groups are chosen."""
LARGEST_SHARE = 0.5
"""Most of a fold's other patients that whole groups may take for validation."""


def fold_partitions(
    cohort: Cohort, split: FoldSplit | LeaveOutSplit, *, seed: int
) -> tuple[Partition, ...]:
    """Partition the patients once a fold and repeat; everybody is tested once a repeat.

    The order of the cohort plays no part. A label below 0 stands for no class: such a patient has
    a place in the folds, and nothing is asked of them.

    Raises
    ------
    CohortError
        There are fewer groups than folds, or every class is smaller than the number of folds.
    """
    labels = dict(sorted(cohort.labels().items()))
    groups = {p.patient_id: str(p.group) for p in cohort.patients}
    partitions = []
    for repeat in range(split.repeats if isinstance(split, FoldSplit) else 1):
        rng = np.random.default_rng([split.seed, repeat])
        fold_of, names = _folds(labels, groups, split, rng)
        for fold, name in enumerate(names):
            test = {p: labels[p] for p, f in fold_of.items() if f == fold}
            rest = {p: labels[p] for p, f in fold_of.items() if f != fold}
            whole: tuple[dict[str, int], dict[str, int]] | None = None
            grouped = isinstance(split, LeaveOutSplit) or split.group is not None
            if grouped and split.validation > 0:
                rng = np.random.default_rng([split.seed, repeat, fold])
                whole = _whole_groups(rest, groups, share=split.validation, rng=rng)
            train, val = whole or _stratified(rest, share=split.validation, rng=rng)
            partitions.append(
                Partition(
                    name=f"repeat{repeat}-fold{fold}",
                    cohort_of=_in_order(cohort, {"train": train, "val": val, "test": test}),
                    repeat=repeat,
                    fold=fold,
                    seed=seed + 1000 * repeat + fold,
                    held_out=name,
                    within_groups=grouped and bool(val) and whole is None,
                )
            )
    return tuple(partitions)


def _folds(
    labels: Mapping[str, int],
    groups: Mapping[str, str],
    split: FoldSplit | LeaveOutSplit,
    rng: np.random.Generator,
) -> tuple[dict[str, int], list[str | None]]:
    """The fold of every patient, and the name of each fold where it has one."""
    if isinstance(split, LeaveOutSplit):
        names = sorted({groups[patient] for patient in labels})
        if len(names) < 2:
            raise CohortError(
                f"`{split.leave_out}` has {len(names)} group{'s' if len(names) != 1 else ''}, and "
                "leaving one out needs two or more.",
                "Name a column with several groups, or set another split.",
            )
        return {p: names.index(groups[p]) for p in labels}, list(names)
    unnamed: list[str | None] = [None] * split.folds
    if split.group is None:
        return _stratified_folds(labels, split.folds, rng), unnamed
    return _grouped_folds(labels, groups, split, rng), unnamed


def _stratified(
    labels: Mapping[str, int], *, share: float, rng: np.random.Generator
) -> tuple[dict[str, int], dict[str, int]]:
    """Patients kept and patients taken, `share` of every class taken (rounded)."""
    taken: set[str] = set()
    for label in sorted(set(labels.values())):
        members = [patient for patient, value in labels.items() if value == label]
        order = rng.permutation(len(members))
        taken.update(members[i] for i in order[: round(share * len(members))])
    return _parted(labels, taken)


def _parted(labels: Mapping[str, int], taken: set[str]) -> tuple[dict[str, int], dict[str, int]]:
    return (
        {p: value for p, value in labels.items() if p not in taken},
        {p: value for p, value in labels.items() if p in taken},
    )


def _stratified_folds(
    labels: Mapping[str, int], folds: int, rng: np.random.Generator
) -> dict[str, int]:
    fold_of: dict[str, int] = {}
    for label in sorted(set(labels.values())):
        members = [patient for patient, value in labels.items() if value == label]
        start = int(rng.integers(folds))
        for position, index in enumerate(rng.permutation(len(members))):
            fold_of[members[index]] = (start + position) % folds
    return fold_of


def _grouped_folds(
    labels: Mapping[str, int],
    groups: Mapping[str, str],
    split: FoldSplit,
    rng: np.random.Generator,
) -> dict[str, int]:
    """Whole groups to folds, every class spread over the folds as evenly as groups allow."""
    from sklearn.model_selection import StratifiedGroupKFold

    sizes = Counter(groups[patient] for patient in labels)
    if len(sizes) < split.folds:
        raise CohortError(
            f"`{split.group}` has {len(sizes)} groups, fewer than the {split.folds} folds.",
            "Set fewer folds.",
        )
    if len(sizes) == split.folds:
        # Nothing to even out: a fold is a group, the largest first, equal ones in random order.
        names = sorted(sizes)
        shuffled = [names[i] for i in rng.permutation(len(names))]
        order = sorted(shuffled, key=lambda group: -sizes[group])
        return {p: order.index(groups[p]) for p in labels}
    if max(Counter(labels.values()).values()) < split.folds:
        raise CohortError(
            f"no class has as many patients as there are folds ({split.folds}).", "Set fewer folds."
        )
    splitter = StratifiedGroupKFold(
        split.folds, shuffle=True, random_state=int(rng.integers(2**31))
    )
    patients = list(labels)
    fold_of: dict[str, int] = {}
    with warnings.catch_warnings():
        # That a class is rarer than the folds are many: its folds are named in the report.
        warnings.filterwarnings("ignore", "The least populated class")
        parts = splitter.split(patients, list(labels.values()), [groups[p] for p in patients])
        for fold, (_, tested) in enumerate(parts):
            fold_of.update({patients[index]: fold for index in tested})
    return fold_of


def _whole_groups(
    labels: Mapping[str, int],
    groups: Mapping[str, str],
    *,
    share: float,
    rng: np.random.Generator,
) -> tuple[dict[str, int], dict[str, int]] | None:
    """Part patients by whole groups, those taken near `share` of every class.

    None where there is no such part: both sides must hold every class, and training keeps at
    least half of the patients.
    """
    names = sorted({groups[patient] for patient in labels})
    classes = sorted({label for label in labels.values() if label >= 0})
    counts = np.zeros((len(names), len(classes)))
    for patient, label in labels.items():
        if label >= 0:
            counts[names.index(groups[patient]), classes.index(label)] += 1
    totals = counts.sum(axis=0)

    def off(taken: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.sum((taken / totals - share) ** 2))

    found: list[tuple[float, list[int]]] = []
    for _ in range(TRIES):
        order = rng.permutation(len(names))
        chosen = [int(order[0])]
        for index in order[1:]:
            if off(counts[[*chosen, index]].sum(axis=0)) < off(counts[chosen].sum(axis=0)):
                chosen.append(int(index))
        taken = counts[chosen].sum(axis=0)
        both = bool(np.all(taken > 0) and np.all(taken < totals))
        if both and taken.sum() <= LARGEST_SHARE * totals.sum():
            found.append((off(taken), chosen))
    if not found:
        return None
    # Of equally good ones the first: the order is the seed's.
    best = {names[index] for index in min(found, key=lambda one: one[0])[1]}
    return _parted(labels, {p for p in labels if groups[p] in best})


def _in_order(
    cohort: Cohort, members: Mapping[CohortName, Mapping[str, int]]
) -> dict[str, CohortName]:
    where: dict[str, CohortName] = {
        patient: name for name, patients in members.items() for patient in patients
    }
    return {p.patient_id: where[p.patient_id] for p in cohort.patients}
