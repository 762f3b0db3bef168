"""The flow diagram loses nobody: what is left and who left always make up the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.core.types import Cohort, Exclusion, Partition, PatchGrid, Patient, Slide, SlidePixels
from axilla.study.fitting import Fitting
from axilla.study.flow import flow_of
from axilla.study.tiling import Tiles


def fitting_of(*exclusions: tuple[str, str, str]) -> Fitting:
    """Six patients who stay, and those who left as (patient, step, reason)."""
    patients = tuple(Patient(f"P{n}", n % 2, (), {}) for n in range(6))
    gone = {patient for patient, _, _ in exclusions}
    cohort = Cohort(
        classes=("N0", "N(+)"),
        patients=patients,
        excluded=tuple(Exclusion(step, reason, patient) for patient, step, reason in exclusions),
        enrolled=len(patients) + len(gone),
        frame=pd.DataFrame(),
    )
    where = dict(zip((p.patient_id for p in patients), ["train"] * 3 + ["val"] + ["test"] * 2,
                     strict=True))  # fmt: skip
    config = StudyConfig.model_validate(
        {"cohort": "cohort.csv", "endpoint": "n0-vs-npos", "methods": ("clinical",)}
    )
    return Fitting(config, cohort, (Partition("split", where),), None, {})


def tiles_of(fitting: Fitting) -> Tiles:
    grid = PatchGrid(
        "S", np.zeros(7, np.int32), np.zeros((7, 2), np.int32), np.zeros(7, np.float32),
        SlidePixels(256), 0, None,
    )  # fmt: skip
    return Tiles(cohort=fitting.cohort, grids={"S": grid, "T": grid}, keys={})  # type: ignore[arg-type]  # a plain mapping is enough


EVERYWHERE = (
    ("A", "endpoint", "N+(1-2) is not part of it"),
    ("B", "check", "`age` is missing."),
    ("C", "check", "`age` is missing."),
    ("D", "tile", "no patch is left"),
    ("E", "bags", "stands in no bag"),
    ("F", "stain", "the stain cannot be estimated"),
    ("G", "stain", "the stain cannot be estimated"),
)


def test_every_step_subtracts_its_own() -> None:
    fitting = fitting_of(*EVERYWHERE)
    steps = flow_of(fitting, tiles_of(fitting))
    assert [(s.title, s.patients) for s in steps] == [
        ("Patients in the table", 13),
        ("Part of the endpoint", 12),
        ("Inputs in order", 10),
        ("Slides cut into patches", 9),
        ("Bags found in the slides", 8),
        ("Stain of the slides estimated", 6),
        ("Analysed", 6),
    ]
    assert steps[-2].excluded == (("the stain cannot be estimated", ("F", "G")),)
    # Slides and patches are those of the patients who are left.
    assert [s.title for s in steps if s.slides is not None] == ["Stain of the slides estimated"]
    assert (steps[-2].slides, steps[-2].patches) == (2, 14)


def test_slides_and_patches_that_were_left_out_are_told() -> None:
    fitting = fitting_of()
    slides = [Slide(name, "P0", (Path(f"{name}.svs"),), None) for name in ("S", "W", "G")]
    patients = (replace(fitting.cohort.patients[0], slides=tuple(slides)),)
    fitting = replace(fitting, cohort=replace(fitting.cohort, patients=patients))
    full = tiles_of(fitting).grids["S"]
    none = replace(full, region=full.region[:0], xy=full.xy[:0], white_share=full.white_share[:0])
    grids = {"S": replace(full, dropped=30), "W": replace(none, dropped=1_200), "G": none}
    tiles = replace(tiles_of(fitting), grids=grids)
    assert flow_of(fitting, tiles)[-2].lost == (
        "1,230 further patches were too white",
        (
            "Slides that give no patch: W of patient P0 (all 1,200 are too white); G of patient P0 "
            "(no tissue was found on it)"
        ),
    )
    assert flow_of(fitting, tiles_of(fitting))[-2].lost == ()


@pytest.mark.parametrize("count", range(len(EVERYWHERE) + 1))
def test_nobody_is_lost(count: int) -> None:
    fitting = fitting_of(*EVERYWHERE[:count])
    steps = flow_of(fitting, tiles_of(fitting))
    gone = [p for step in steps for _, ids in step.excluded for p in ids]
    assert gone == [p for p, _, _ in EVERYWHERE[:count]]
    assert steps[0].patients - len(gone) == steps[-1].patients == len(fitting.cohort.patients)
    assert sum(patients for _, patients, _ in steps[-1].branches) == steps[-1].patients


def test_a_step_without_a_title_of_its_own_is_shown_all_the_same() -> None:
    steps = flow_of(fitting_of(("A", "nuclei", "no nucleus found")), None)
    assert [(s.title, s.patients) for s in steps[1:]] == [
        ("After the step 'nuclei'", 6), ("Analysed", 6),
    ]  # fmt: skip


def test_who_left_for_two_reasons_is_counted_once() -> None:
    fitting = fitting_of(("A", "check", "first"), ("A", "check", "second"))
    steps = flow_of(fitting, None)
    assert steps[1].excluded == (("first", ("A",)),)
    assert steps[-1].patients == 6


def test_branches_give_the_classes() -> None:
    (*_, last) = flow_of(fitting_of(), None)
    assert last.branches == (
        ("Training", 3, "2 N0, 1 N(+)"), ("Validation", 1, "0 N0, 1 N(+)"),
        ("Independent test", 2, "1 N0, 1 N(+)"),
    )  # fmt: skip


def test_folds_are_one_branch() -> None:
    fitting = fitting_of()
    folds = tuple(replace(fitting.partitions[0], name=f"f{n}", fold=n) for n in range(3))
    (*_, last) = flow_of(replace(fitting, partitions=folds), None)
    assert last.branches == (("3-fold cross-validation, 1 repeat", 6, "3 N0, 3 N(+)"),)


def test_a_report_of_the_cohorts_table_alone() -> None:
    steps = flow_of(fitting_of(), None)
    assert [s.title for s in steps] == ["Patients in the table", "Analysed"]
