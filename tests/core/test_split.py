from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.core.errors import CohortError
from axilla.core.split import make_partitions
from axilla.core.types import Cohort, Patient


def make_cohort(counts, *, groups=1, split=None):
    """Patients of each class, groups taken in turn."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    patients = tuple(
        Patient(
            patient_id=f"p{i}", label=label, slides=(), clinical={}, group=f"g{i % groups}",
            split=None if split is None else split[i],
        )
        for i, label in enumerate(labels)
    )  # fmt: skip
    classes = tuple(f"class {i}" for i in range(len(counts)))
    return Cohort(classes, patients, (), len(patients), pd.DataFrame())


def config_of(split, *, threshold="youden-validation", seed=1):
    return StudyConfig(
        cohort=Path("c.csv"), endpoint="n0-vs-npos", methods=("clinical",), split=split,
        threshold=threshold, training={"seed": seed},
    )  # fmt: skip


def counts_of(cohort, partition, name):
    labels = cohort.labels()
    found = Counter(labels[p] for p in partition.members(name))
    return [found[i] for i in range(len(cohort.classes))]


def test_four_to_one_and_a_quarter_of_training_in_every_class():
    cohort = make_cohort([200, 100])
    (partition,) = make_partitions(cohort, config=config_of({}, seed=5))
    assert partition.name == "split"
    assert partition.seed == 5
    assert counts_of(cohort, partition, "test") == [40, 20]
    assert counts_of(cohort, partition, "val") == [40, 20]
    assert counts_of(cohort, partition, "train") == [120, 60]
    # Everybody once, in the table's order.
    assert list(partition.cohort_of) == [p.patient_id for p in cohort.patients]


def test_the_papers_cohort_in_its_papers_sizes():
    cohort = make_cohort([655, 403])
    (partition,) = make_partitions(cohort, config=config_of({}))
    assert [len(partition.members(n)) for n in ("train", "val", "test")] == [635, 211, 212]
    assert counts_of(cohort, partition, "test") == [131, 81]


def test_the_same_seed_gives_the_same_split_and_another_one_another():
    cohort = make_cohort([60, 40])
    (first,) = make_partitions(cohort, config=config_of({"seed": 3}))
    (again,) = make_partitions(cohort, config=config_of({"seed": 3}, seed=99))
    (other,) = make_partitions(cohort, config=config_of({"seed": 4}))
    assert first.cohort_of == again.cohort_of  # the training's seed does not move patients
    assert first.cohort_of != other.cohort_of


def test_a_column_splits_as_it_says():
    names = ["train", "val", "test"] * 4
    cohort = make_cohort([6, 6], split=names)
    (partition,) = make_partitions(cohort, config=config_of({"column": "split"}))
    assert list(partition.cohort_of.values()) == names


def test_folds_are_stratified_and_cover_everybody_once_a_repeat():
    cohort = make_cohort([52, 31])
    partitions = make_partitions(cohort, config=config_of({"folds": 5, "repeats": 3}, seed=7))
    assert [(p.repeat, p.fold) for p in partitions] == [(r, f) for r in range(3) for f in range(5)]
    assert len({p.seed for p in partitions}) == 15
    for repeat in range(3):
        folds = [p for p in partitions if p.repeat == repeat]
        tested = [patient for p in folds for patient in p.members("test")]
        assert sorted(tested) == sorted(cohort.labels())
        for partition in folds:
            assert set(partition.cohort_of) == set(cohort.labels())
            n0, npos = counts_of(cohort, partition, "test")
            assert n0 in {10, 11}
            assert npos in {6, 7}
            assert counts_of(cohort, partition, "val") == [
                round((52 - n0) / 4), round((31 - npos) / 4),
            ]  # fmt: skip
    first, second = (
        [p.members("test") for p in partitions if p.repeat == repeat] for repeat in (0, 1)
    )
    assert first != second


def test_folds_without_validation():
    cohort = make_cohort([10, 10])
    split = {"folds": 5, "validation": 0}
    partitions = make_partitions(cohort, config=config_of(split, threshold=0.5))
    for partition in partitions:
        assert partition.members("val") == ()
        assert len(partition.members("train")) == 16


@pytest.mark.parametrize("folds", [3, 7])
def test_grouped_folds_keep_groups_whole(folds):
    cohort = make_cohort([35, 28], groups=7)
    partitions = make_partitions(cohort, config=config_of({"folds": folds, "group": "site"}))
    group_of = {p.patient_id: p.group for p in cohort.patients}
    tested = []
    for partition in partitions:
        outside = {group_of[p] for n in ("train", "val") for p in partition.members(n)}
        inside = {group_of[p] for p in partition.members("test")}
        assert inside
        assert not inside & outside
        tested += partition.members("test")
    assert sorted(tested) == sorted(cohort.labels())
    if folds == 7:  # leave one site out
        assert all(len({group_of[p] for p in q.members("test")}) == 1 for q in partitions)


@pytest.mark.parametrize(
    ("counts", "split", "threshold", "cause"),
    [
        ([20, 2], {}, 0.5, "the validation cohort of split has no patient with class 1."),
        (
            [20, 1], {"validation": 0, "test": 0.6}, 0.5,
            "the training cohort of split has no patient with class 1.",
        ),
        (
            [2, 2], {"test": 0.1, "validation": 0}, 0.5,
            "the test cohort of split has no patient.",
        ),
        ([20, 3], {"folds": 5}, 0.5, "class 1 has 3 patients, fewer than the 5 folds."),
        (
            [20, 20], {"folds": 5, "group": "site"}, 0.5,
            "`site` has 2 groups, fewer than the 5 folds.",
        ),
    ],
)  # fmt: skip
def test_a_cohort_that_is_too_small(counts, split, threshold, cause):
    cohort = make_cohort(counts, groups=2)
    with pytest.raises(CohortError) as caught:
        make_partitions(cohort, config=config_of(split, threshold=threshold))
    assert caught.value.problem.cause == cause


@pytest.mark.parametrize("threshold", ["youden-validation", {"sensitivity": 0.9}, {"npv": 0.9}])
def test_a_threshold_chosen_on_validation_needs_validation(threshold):
    cohort = make_cohort([4, 4], split=["train", "train", "test", "test"] * 2)
    with pytest.raises(CohortError, match="the validation cohort of split has no patient"):
        make_partitions(cohort, config=config_of({"column": "split"}, threshold=threshold))
    (partition,) = make_partitions(cohort, config=config_of({"column": "split"}, threshold=0.5))
    assert partition.members("val") == ()
