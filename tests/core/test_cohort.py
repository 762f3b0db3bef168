"""Patients of a cohort as its table has them, and what is said of bad cells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from axilla.core.cohort import is_generated, read_cohort, without
from axilla.core.config import StudyConfig
from axilla.core.errors import CohortError, Problem
from axilla.core.types import Exclusion


def test_patients_as_the_table_has_them(study, rows):
    reading = read_cohort(study(rows))
    assert reading.problems == ()
    cohort = reading.cohort
    assert [p.patient_id for p in cohort.patients] == ["007", "8", "9", "10"]
    assert cohort.labels() == {"007": 0, "8": 1, "9": 1, "10": 0}
    assert cohort.classes == ("N0", "N(+)")
    assert cohort.enrolled == 4
    assert cohort.excluded == ()
    assert cohort.patients[0].clinical == {
        "age": 40.0, "tumor_size_cm": 2.1, "er": "positive", "pr": "positive", "her2": "negative",
    }  # fmt: skip
    assert cohort.frame.loc["007", "age"] == 40.0
    assert cohort.patients[0].slides == ()


def test_csv_xlsx_and_parquet_give_the_same_cohort(study, rows, tmp_path):
    config = study(rows)
    frame = pd.DataFrame(rows)
    frame.to_excel(tmp_path / "cohort.xlsx", index=False)
    frame.to_parquet(tmp_path / "cohort.parquet")
    patients = read_cohort(config).cohort.patients
    for kind in ("xlsx", "parquet"):
        other = config.model_copy(update={"cohort": tmp_path / f"cohort.{kind}"})
        assert read_cohort(other).cohort.patients == patients


def test_a_written_status_serves_as_well_as_a_count(study, rows):
    for row, status in zip(rows, ("N0", "N+(1-2)", "N+(>2)", "N0"), strict=True):
        del row["nodes"]
        row["aln_status"] = status
    assert read_cohort(study(rows)).cohort.labels() == {"007": 0, "8": 1, "9": 1, "10": 0}


def test_a_patient_outside_the_endpoint_is_excluded_with_a_reason(study, rows):
    rows[2]["er"] = ""  # what is missing of somebody outside is no problem
    reading = read_cohort(study(rows, endpoint="n0-vs-n1-2"))
    assert reading.problems == ()
    assert reading.cohort.labels() == {"007": 0, "8": 1, "10": 0}
    assert reading.cohort.excluded == (
        Exclusion(
            step="endpoint",
            reason="N+(>=3) is not part of the endpoint n0-vs-n1-2",
            patient_id="9",
        ),
    )
    assert reading.cohort.enrolled == 4


def test_any_column_as_the_endpoint(study, rows):
    for row, label in zip(rows, ("benign", "malignant", "malignant", "benign"), strict=True):
        del row["nodes"]
        row["label"] = label
    endpoint = {"column": "label", "negative": "benign", "positive": "malignant"}
    cohort = read_cohort(study(rows, endpoint=endpoint)).cohort
    assert cohort.labels() == {"007": 0, "8": 1, "9": 1, "10": 0}
    assert cohort.classes == ("benign", "malignant")


def test_none_is_a_value_where_the_study_declares_it(study, rows):
    for row, lvi, label in zip(
        rows, ("None", "present", "none", "present"), ("none", "some", "some", "none"), strict=True
    ):
        del row["nodes"]
        row["lvi"], row["label"], row["her2"] = lvi, label, "none"
    endpoint = {"column": "label", "negative": "none", "positive": "some"}
    clinical = {
        "numeric": ["age"],
        "categorical": [{"name": "lvi", "values": ["none", "present"]}, "her2"],
        "missing": "impute",
    }
    cohort = read_cohort(study(rows, endpoint=endpoint, clinical=clinical)).cohort
    assert cohort.labels() == {"007": 0, "8": 1, "9": 1, "10": 0}
    assert [p.clinical["lvi"] for p in cohort.patients] == ["none", "present", "none", "present"]
    assert [p.clinical["her2"] for p in cohort.patients] == [None] * 4


@pytest.mark.parametrize(
    ("change", "cause", "remedy"),
    [
        (
            {"age": "NaN"}, "`age` is missing.",
            "Fill it in, set clinical.missing: impute, or run with --exclude-failed.",
        ),
        (
            {"her2": "NA"}, "`her2` is missing.",
            "Fill it in, set clinical.missing: impute, or run with --exclude-failed.",
        ),
        (
            {"tumor_size_cm": "big"}, "`tumor_size_cm` is 'big', which is no number.",
            "Write a number.",
        ),
        (
            {"age": "inf"}, "`age` is 'inf', which is no number.", "Write a number.",
        ),
        (
            {"nodes": ""}, "the node status is missing.",
            "Fill in `nodes` (a count) or `aln_status`.",
        ),
        (
            {"patient_id": "a/b"}, "the patient id cannot be a file's name.",
            "Take out slashes.",
        ),
        (
            {"patient_id": ".."}, "the patient id cannot be a file's name.",
            "Take out slashes.",
        ),
    ],
)  # fmt: skip
def test_a_bad_cell_is_a_problem_of_its_patient(study, rows, change, cause, remedy):
    rows[1] |= change
    config = study(rows)
    reading = read_cohort(config)
    patient = rows[1]["patient_id"]
    assert reading.problems == (
        Problem(cause, remedy, patient, config.cohort, fatal=False, code="table"),
    )
    assert [p.patient_id for p in reading.cohort.patients] == ["007", "9", "10"]
    assert str(reading.problems[0]) == f"patient {patient}, {config.cohort}: {cause} {remedy}"


def test_a_missing_value_may_be_imputed(study, rows):
    rows[1] |= {"age": "", "er": ""}
    reading = read_cohort(study(rows, clinical={"missing": "impute"}))
    assert reading.problems == ()
    assert reading.cohort.patients[1].clinical["age"] is None
    assert reading.cohort.patients[1].clinical["er"] is None


def test_a_duplicate_patient(study, rows, told):
    reading = read_cohort(study([*rows, rows[1]]))
    assert told(reading) == [("8", "cohort.csv", "the patient stands in 2 rows.")]
    assert reading.problems[0].remedy == (
        "Keep one row a patient, or add a column `slide_id` for several slides."
    )
    assert reading.cohort.enrolled == 4


def test_a_row_without_a_patient(study, rows, told):
    rows[2]["patient_id"] = ""
    reading = read_cohort(study(rows))
    assert told(reading) == [(None, "cohort.csv", "row 4 has no patient_id.")]
    assert reading.problems[0].fatal
    assert reading.cohort.enrolled == 3


def test_one_class_only(study, rows, told):
    reading = read_cohort(study([row | {"nodes": "0"} for row in rows]))
    assert told(reading) == [
        (None, "cohort.csv", "no usable patient is N(+), so there is nothing to tell apart.")
    ]
    assert reading.problems[0].fatal


def test_a_class_is_not_missing_where_nobody_has_a_slide(study, rows):
    def missing(table, *slides):
        problems = read_cohort(study(table, slides=slides)).problems
        return [(p.cause, p.remedy) for p in problems if "nothing to tell apart" in p.cause]

    assert missing(rows) == []
    negative = "no usable patient is N(+), so there is nothing to tell apart."
    ((cause, remedy),) = missing([row | {"nodes": "0"} for row in rows])
    assert (cause, remedy[:18]) == (negative, "Check the endpoint")
    ((cause, remedy),) = missing(rows, "007.svs", "10.svs")  # those with N0
    assert (cause, remedy[:18]) == (negative, "Mend what is wrong")


def test_all_problems_at_once(study, rows, told):
    rows[0] |= {"age": "", "er": ""}
    rows[1] |= {"nodes": "", "age": "old"}
    reading = read_cohort(study(rows, slides=("007.svs", "9.svs", "10.svs")))
    assert told(reading) == [
        ("007", "cohort.csv", "`age` is missing."),
        ("007", "cohort.csv", "`er` is missing."),
        ("8", "cohort.csv", "the node status is missing."),
        (
            "8", "slides",
            ("there is no slide 8.<svs, ndpi, mrxs, scn, bif, vms, svslide, tif, tiff, dcm, jpg, "
            "jpeg, png, bmp>."),
        ),
        ("8", "cohort.csv", "`age` is 'old', which is no number."),
    ]  # fmt: skip
    assert [p.patient_id for p in reading.cohort.patients] == ["9", "10"]


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"clinical": {"numeric": ["size"]}}, "has no column `size`, which `clinical` names."),
        (
            {"split": {"column": "cohort"}},
            "has no column `cohort`, which `split.column` names.",
        ),
        (
            {"split": {"folds": 2, "group": "site"}},
            "has no column `site`, which `split.group` names.",
        ),
        (
            {"endpoint": {"column": "lable", "negative": "a", "positive": "b"}},
            "has no column `lable`, which `endpoint.column` names; the nearest is `age`.",
        ),
    ],
)
def test_a_column_that_the_study_names_and_the_table_lacks(study, rows, settings, cause):
    with pytest.raises(CohortError) as caught:
        read_cohort(study(rows, **settings))
    assert caught.value.problem.cause == cause


def test_a_table_without_any_node_status(study, rows):
    for row in rows:
        del row["nodes"]
    with pytest.raises(CohortError, match="has neither a column `nodes` nor `aln_status`"):
        read_cohort(study(rows))


def test_a_split_column(study, rows, told):
    for row, split in zip(rows, ("train", "Validation", "test", ""), strict=True):
        row["split"] = split
    reading = read_cohort(study(rows, split={"column": "split"}))
    assert [p.split for p in reading.cohort.patients] == ["train", "val", "test"]
    assert told(reading) == [("10", "cohort.csv", "`split` is '', which is no cohort.")]
    assert reading.problems[0].remedy == "Write train, val or test."


def test_a_group_is_needed_where_folds_are_made_by_it(study, rows, told):
    for row, site in zip(rows, ("a", "b", "a", ""), strict=True):
        row["site"] = site
    reading = read_cohort(study(rows, split={"folds": 2, "group": "site"}))
    assert [p.group for p in reading.cohort.patients] == ["a", "b", "a"]
    assert told(reading) == [
        ("10", "cohort.csv", "`site` is missing, and the folds are made by it.")
    ]


def test_without_names_who_left_and_why(study, rows):
    cohort = without(read_cohort(study(rows)).cohort, {"8": ("tile", "no tissue")})
    assert [p.patient_id for p in cohort.patients] == ["007", "9", "10"]
    assert cohort.excluded == (Exclusion(step="tile", reason="no tissue", patient_id="8"),)
    assert cohort.enrolled == 4


def test_a_generated_cohort_says_so(tmp_path):
    assert not is_generated(tmp_path / "cohort.csv")
    (tmp_path / "GENERATED.txt").touch()
    assert is_generated(tmp_path / "cohort.csv")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("endpoint", "counts", "excluded"),
    [
        ("n0-vs-npos", [655, 403], 0),
        ("n1-2-vs-n3plus", [210, 193], 655),
        ("n0-vs-n1-2-vs-n3plus", [655, 210, 193], 0),
        ("n0-vs-n1-2", [655, 210], 193),
        ("n0-vs-n3plus", [655, 193], 210),
    ],
)
def test_the_endpoints_of_the_papers_cohort(data_dir: Path, endpoint, counts, excluded):
    config = StudyConfig(
        cohort=data_dir / "bcnb" / "clinical.csv", endpoint=endpoint, methods=("clinical",)
    )
    reading = read_cohort(config)
    assert reading.problems == ()
    labels = Counter(reading.cohort.labels().values())
    assert [labels[i] for i in range(len(counts))] == counts
    assert len(reading.cohort.excluded) == excluded
    assert reading.cohort.enrolled == 1058
    assert {e.reason for e in reading.cohort.excluded} <= {
        f"{stage} is not part of the endpoint {endpoint}" for stage in ("N0", "N+(1-2)", "N+(>=3)")
    }
