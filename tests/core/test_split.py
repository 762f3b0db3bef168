from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axilla.core.config import StudyConfig, Training
from axilla.core.errors import CohortError
from axilla.core.split import enrolled_split, make_partitions
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


def test_stopping_early_needs_validation_before_anything_is_computed():
    cohort = make_cohort([4, 4], split=["train", "train", "test", "test"] * 2)
    config = StudyConfig(
        cohort=Path("c.csv"), slides=Path("s"), endpoint="n0-vs-npos", methods=("dl-cnb",),
        split={"column": "split"}, threshold=0.5, training={"patience": 3},
    )  # fmt: skip
    with pytest.raises(CohortError) as caught:
        make_partitions(cohort, config=config)
    problem = caught.value.problem
    assert problem.cause == "the validation cohort of split has no patient with class 0."
    assert problem.remedy.endswith("set a fixed threshold and take training.patience out.")
    without = config.model_copy(update={"training": Training()})
    (partition,) = make_partitions(cohort, config=without)
    assert partition.members("val") == ()


def staged(counts, *, classes=("N0", "N(+)"), keep=None):
    """All enrolled patients by node stage; those of `keep` are the endpoint's."""
    strata = {f"p{stage}-{i}": stage for stage, count in counts.items() for i in range(count)}
    patients = tuple(
        Patient(name, classes.index(stage) if stage in classes else 1, (), {})
        for name, stage in strata.items()
        if keep is None or stage in keep
    )
    return Cohort(classes, patients, (), len(strata), pd.DataFrame(), strata)


STAGES = {"N0": 100, "N+(1-2)": 60, "N+(>=3)": 40}


def test_all_endpoints_share_the_split_of_all_stages():
    config = config_of({})
    whole = enrolled_split(staged(STAGES), config=config)
    assert whole is not None
    assert len(whole) == 200
    for stage, count in STAGES.items():
        sides = Counter(side for p, side in whole.items() if p.startswith(f"p{stage}-"))
        test = round(0.2 * count)
        assert sides == {"test": test, "val": round(0.25 * (count - test)),
                         "train": count - test - round(0.25 * (count - test))}  # fmt: skip
    endpoints = [
        (("N0", "N+(1-2)"), ("N0", "N+(1-2)")),
        (("N+(1-2)", "N+(>=3)"), ("N+(1-2)", "N+(>=3)")),
        (("N0", "N+(>=3)"), ("N0", "N+(>=3)")),
        (("N0", "N+(1-2)", "N+(>=3)"), tuple(STAGES)),
    ]
    for classes, keep in endpoints:
        cohort = staged(STAGES, classes=classes, keep=keep)
        (partition,) = make_partitions(cohort, config=config)
        assert dict(partition.cohort_of) == {p: whole[p] for p in cohort.labels()}
        assert enrolled_split(cohort, config=config) == whole


def test_the_order_of_the_table_plays_no_part():
    cohort = staged(STAGES)
    turned = replace(
        cohort,
        patients=cohort.patients[::-1],
        strata=dict(reversed(list(cohort.strata.items()))),
    )
    assert enrolled_split(turned, config=config_of({})) == enrolled_split(
        cohort, config=config_of({})
    )


@given(
    gone=st.integers(0, 199), seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.1, 0.2, 0.5])
)
def test_who_leaves_the_table_moves_one_patient_at_each_border_at_most(gone, seed, share):
    cohort = staged(STAGES)
    config = config_of({"seed": seed, "test": share})
    name = list(cohort.strata)[gone]
    fewer = replace(cohort, strata={p: s for p, s in cohort.strata.items() if p != name})
    was, now = enrolled_split(cohort, config=config), enrolled_split(fewer, config=config)
    moved = [p for p in now if was[p] != now[p]]
    assert len(moved) <= 2
    assert all(cohort.strata[p] == cohort.strata[name] for p in moved)
    assert sum("test" in {was[p], now[p]} for p in moved) <= 1


def test_who_leaves_the_endpoint_moves_nobody():
    cohort = staged(STAGES)
    (whole,) = make_partitions(cohort, config=config_of({}))
    fewer = replace(cohort, patients=cohort.patients[5:])
    (part,) = make_partitions(fewer, config=config_of({}))
    assert dict(part.cohort_of) == {
        p: side for p, side in whole.cohort_of.items() if p in fewer.labels()
    }


def test_folds_of_a_column_are_those_of_before():
    """Studies with published figures were made with them."""
    cohort = make_cohort([7, 3])  # ten ids: in the order of their names
    first, *_ = make_partitions(
        cohort, config=config_of({"folds": 3, "validation": 0, "seed": 8888}, threshold=0.5)
    )
    assert first.members("test") == ("p4", "p5", "p6", "p9")


def sites(counts, *, seed=0):
    """Patients of two classes in sites: `counts` gives (negative, positive) by site."""
    patients = [
        Patient(f"{site}-{label}-{i}", label, (), {}, group=site)
        for site, by_class in counts.items()
        for label, count in enumerate(by_class)
        for i in range(count)
    ]
    order = np.random.default_rng(seed).permutation(len(patients))
    mixed = tuple(patients[i] for i in order)
    return Cohort(("N0", "N(+)"), mixed, (), len(mixed), pd.DataFrame())


MANY = {f"s{i}": (4 + 3 * (i % 5), 2 + 2 * (i % 4)) for i in range(12)}
FEW = {"Aachen": (20, 10), "Bonn": (12, 9), "Celle": (15, 5), "Dachau": (8, 8)}


def groups_in(cohort, partition, name):
    group_of = {p.patient_id: p.group for p in cohort.patients}
    return {group_of[p] for p in partition.members(name)}


@pytest.mark.parametrize(
    "split",
    [{"folds": 4, "repeats": 2, "group": "site"}, {"leave_out": "site"}],
    ids=["grouped", "leave-out"],
)
def test_no_group_stands_in_two_cohorts_and_everybody_is_tested_once_a_repeat(split):
    cohort = sites(MANY)
    partitions = make_partitions(cohort, config=config_of(split))
    assert len(partitions) == (8 if "folds" in split else 12)
    for partition in partitions:
        assert set(partition.cohort_of) == set(cohort.labels())
        inside = [groups_in(cohort, partition, name) for name in ("train", "val", "test")]
        assert all(inside)
        assert sum(map(len, inside)) == 12  # each site in one cohort
        assert not partition.within_groups
        rest = len(partition.members("train")) + len(partition.members("val"))
        assert len(partition.members("val")) / rest == pytest.approx(0.25, abs=0.04)
        for name in ("train", "val"):
            assert min(counts_of(cohort, partition, name)) > 0
    for repeat in {p.repeat for p in partitions}:
        tested = [q for p in partitions if p.repeat == repeat for q in p.members("test")]
        assert sorted(tested) == sorted(cohort.labels())


def test_grouped_folds_spread_the_classes():
    """Half of the sites are nearly all positive: sizes alone would put them anywhere."""
    cohort = sites({f"s{i:02}": (18, 2) if i < 10 else (2, 18) for i in range(20)})
    for seed in range(5):
        config = config_of({"folds": 5, "group": "site", "seed": seed})
        for partition in make_partitions(cohort, config=config):
            assert counts_of(cohort, partition, "test") == [40, 40]


def test_leaving_one_site_out_names_each_fold():
    cohort = sites(FEW)
    partitions = make_partitions(cohort, config=config_of({"leave_out": "site"}))
    assert [p.held_out for p in partitions] == sorted(FEW)
    assert [p.name for p in partitions] == [f"repeat0-fold{i}" for i in range(4)]
    for partition in partitions:
        assert groups_in(cohort, partition, "test") == {partition.held_out}
        assert counts_of(cohort, partition, "test") == list(FEW[partition.held_out])
        assert len(groups_in(cohort, partition, "val")) == 1


def test_with_too_few_sites_left_single_patients_validate_and_the_partition_says_so():
    two = {"Aachen": (20, 12), "Bonn": (12, 8)}
    partitions = make_partitions(sites(two), config=config_of({"leave_out": "site"}))
    assert [p.within_groups for p in partitions] == [True, True]
    assert counts_of(sites(two), partitions[1], "val") == [5, 3]
    # All positive patients but those tested are of one site: it cannot be on both sides.
    pure = {"Aachen": (20, 12), "Bonn": (12, 0), "Celle": (15, 0), "Dachau": (9, 9)}
    by_site = {
        p.held_out: p.within_groups
        for p in make_partitions(sites(pure), config=config_of({"leave_out": "site"}))
    }
    assert by_site == {"Aachen": True, "Bonn": False, "Celle": False, "Dachau": True}


def test_one_site_cannot_be_left_out():
    with pytest.raises(CohortError) as caught:
        make_partitions(sites({"Aachen": (9, 9)}), config=config_of({"leave_out": "site"}))
    assert caught.value.problem.cause == (
        "`site` has 1 group, and leaving one out needs two or more."
    )


def test_a_fold_that_cannot_train_is_named_by_its_site():
    one = {"Aachen": (20, 12), "Bonn": (12, 0)}
    with pytest.raises(CohortError) as caught:
        make_partitions(sites(one), config=config_of({"leave_out": "site"}))
    assert caught.value.problem.cause == (
        "the training cohort of the fold that leaves out 'Aachen' has no patient with N(+)."
    )


@pytest.mark.parametrize(
    "split",
    [{"folds": 4, "repeats": 2}, {"folds": 4, "group": "site"}, {"leave_out": "site"}],
    ids=["stratified", "grouped", "leave-out"],
)
def test_folds_depend_on_the_seed_and_not_on_the_order_of_the_table(split):
    cohort = sites(MANY)
    first = make_partitions(cohort, config=config_of(split))
    turned = make_partitions(sites(MANY, seed=9), config=config_of(split))
    other = make_partitions(cohort, config=config_of(split | {"seed": 4}))
    assert [dict(p.cohort_of) for p in turned] == [dict(p.cohort_of) for p in first]
    assert [dict(p.cohort_of) for p in other] != [dict(p.cohort_of) for p in first]
