from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from axilla.core.cohort import is_generated, read_cohort, without
from axilla.core.config import StudyConfig
from axilla.core.errors import CohortError, Problem
from axilla.core.slide_files import files_of
from axilla.core.types import Exclusion

SVS = ("007.svs", "8.svs", "9.svs", "10.svs")


def told(reading):
    """Problems as (patient, file's name, cause)."""
    return [(p.patient, None if p.file is None else p.file.name, p.cause) for p in reading.problems]


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


def test_a_duplicate_patient(study, rows):
    reading = read_cohort(study([*rows, rows[1]]))
    assert told(reading) == [("8", "cohort.csv", "the patient stands in 2 rows.")]
    assert reading.problems[0].remedy == (
        "Keep one row a patient, or add a column `slide_id` for several slides."
    )
    assert reading.cohort.enrolled == 4


def test_a_row_without_a_patient(study, rows):
    rows[2]["patient_id"] = ""
    reading = read_cohort(study(rows))
    assert told(reading) == [(None, "cohort.csv", "row 4 has no patient_id.")]
    assert reading.problems[0].fatal
    assert reading.cohort.enrolled == 3


def test_one_class_only(study, rows):
    reading = read_cohort(study([row | {"nodes": "0"} for row in rows]))
    assert told(reading) == [
        (None, "cohort.csv", "no usable patient is N(+), so there is nothing to tell apart.")
    ]
    assert reading.problems[0].fatal


def test_all_problems_at_once(study, rows):
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


def test_a_split_column(study, rows):
    for row, split in zip(rows, ("train", "Validation", "test", ""), strict=True):
        row["split"] = split
    reading = read_cohort(study(rows, split={"column": "split"}))
    assert [p.split for p in reading.cohort.patients] == ["train", "val", "test"]
    assert told(reading) == [("10", "cohort.csv", "`split` is '', which is no cohort.")]
    assert reading.problems[0].remedy == "Write train, val or test."


def test_a_group_is_needed_where_folds_are_made_by_it(study, rows):
    for row, site in zip(rows, ("a", "b", "a", ""), strict=True):
        row["site"] = site
    reading = read_cohort(study(rows, split={"folds": 2, "group": "site"}))
    assert [p.group for p in reading.cohort.patients] == ["a", "b", "a"]
    assert told(reading) == [
        ("10", "cohort.csv", "`site` is missing, and the folds are made by it.")
    ]


def test_slides_by_their_patient(study, rows):
    cohort = read_cohort(study(rows, slides=SVS)).cohort
    assert [[i.name for s in p.slides for i in s.images] for p in cohort.patients] == [
        [name] for name in SVS
    ]
    assert cohort.patients[0].slides[0].annotation is None


def test_several_slides_of_a_patient(study, rows):
    table = [row | {"slide_id": f"s{n}"} for n, row in enumerate([*rows, rows[0]])]
    reading = read_cohort(study(table, slides=tuple(f"s{n}.png" for n in range(5))))
    assert reading.problems == ()
    assert [s.slide_id for s in reading.cohort.patients[0].slides] == ["s0", "s4"]
    assert all(s.patient_id == "007" for s in reading.cohort.patients[0].slides)
    assert reading.cohort.enrolled == 4


def test_rows_of_a_patient_must_agree(study, rows):
    table = [row | {"slide_id": f"s{n}"} for n, row in enumerate([*rows, rows[0]])]
    table[4] |= {"age": "41", "nodes": "2"}
    reading = read_cohort(study(table, slides=tuple(f"s{n}.png" for n in range(5))))
    assert told(reading) == [
        ("007", "cohort.csv", "the rows disagree on `nodes` ('0', '2')."),
        ("007", "cohort.csv", "the rows disagree on `age` ('40', '41')."),
    ]


def test_a_slide_twice_in_a_patients_rows(study, rows):
    table = [row | {"slide_id": f"s{n}"} for n, row in enumerate([*rows, rows[0]])]
    table[4]["slide_id"] = "s0"
    reading = read_cohort(study(table, slides=tuple(f"s{n}.png" for n in range(4))))
    assert told(reading) == [("007", "cohort.csv", "the slide s0 stands in two rows.")]


def test_a_slide_of_two_patients(study, rows):
    table = [row | {"slide_id": slide} for row, slide in zip(rows, "aabc", strict=True)]
    reading = read_cohort(study(table, slides=("a.svs", "b.svs", "c.svs")))
    assert told(reading) == [("8", "cohort.csv", "the slide a belongs to patient 007 as well.")]


def test_one_file_under_two_slide_ids(study, rows):
    table = [
        row | {"slide": name}
        for row, name in zip(rows, ("a.svs", "b.svs", "sub/../a.svs", "c.svs"), strict=True)
    ]
    reading = read_cohort(study(table, slides=("a.svs", "b.svs", "c.svs")))
    assert told(reading) == [
        ("9", "a.svs", "the file of slide 9 is that of slide 007 of patient 007 as well.")
    ]


@pytest.mark.parametrize("named", ["../secret.svs", "sub/../../secret.svs", "/secret.svs"])
def test_a_slide_outside_the_folder_of_slides(study, rows, named, tmp_path):
    (tmp_path / "secret.svs").write_bytes(b"x")
    table = [row | {"slide": ""} for row in rows]
    table[0]["slide"] = named
    reading = read_cohort(study(table, slides=SVS))
    assert told(reading) == [
        ("007", "cohort.csv", f"`slide` is {named!r}, which lies outside the folder of slides.")
    ]


def test_links_inside_the_folder_of_slides_are_the_owners(study, rows, tmp_path):
    (tmp_path / "archive.svs").write_bytes(b"x")
    table = [row | {"slide": ""} for row in rows]
    table[0]["slide"] = "link.svs"
    config = study(table, slides=SVS)
    (tmp_path / "slides" / "link.svs").symlink_to(tmp_path / "archive.svs")
    reading = read_cohort(config)
    assert reading.problems == ()
    assert reading.cohort.patients[0].slides[0].images == (tmp_path / "slides" / "link.svs",)


def test_slides_that_are_not_there_or_not_clear(study, rows):
    table = [row | {"slide": ""} for row in rows]
    table[2]["slide"] = "sub/gone.svs"
    table[3]["slide_id"] = "x/y"
    config = study(table, slides=("007.svs", "007.png"))
    reading = read_cohort(config)
    assert [(p, f, c.split("<")[0]) for p, f, c in told(reading)] == [
        ("007", "slides", "several files are named 007: 007.png, 007.svs."),
        ("8", "slides", "there is no slide 8."),
        ("9", "gone.svs", "there is no such slide."),
        ("10", "cohort.csv", "the slide id 'x/y' cannot be a file's name."),
        (None, "cohort.csv", "no usable patient is N0 or N(+), so there is nothing to tell apart."),
    ]
    assert reading.problems[1].remedy == (
        "Add the file, correct slide_id, give its path in a column `slide`, or run with "
        "--exclude-failed."
    )


@pytest.mark.parametrize("key", ["slides", "annotations"])
def test_a_folder_that_is_not_there(study, rows, key, tmp_path):
    config = study(rows, slides=SVS).model_copy(update={key: tmp_path / "gone"})
    with pytest.raises(CohortError) as caught:
        read_cohort(config)
    assert caught.value.problem.file == tmp_path / "gone"
    assert f"`{key}:`" in caught.value.problem.remedy


def test_annotations(study, rows, tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    for name in ("007.json", "8.XML", "9.geojson", "9.xml"):
        (folder / name).write_text("{}")
    config = study(rows, slides=SVS, annotations=folder, regions="annotation")
    reading = read_cohort(config)
    assert [p.slides[0].annotation for p in reading.cohort.patients] == [
        folder / "007.json", folder / "8.XML",
    ]  # fmt: skip
    assert [p.patient_id for p in reading.unusable] == ["9", "10"]
    assert told(reading) == [
        ("9", "annotations", "the slide 9 has several annotations: 9.geojson, 9.xml."),
        ("10", "10.svs", "the slide 10 has no annotation, and `regions: annotation` needs one."),
    ]


def test_cut_regions_in_the_order_of_their_numbers(study, rows):
    names = ("007.jpg", "007_10.jpg", "007_2.jpg", "8.jpg", "9_0.jpg", "9_0.png", "10_1.jpg")
    reading = read_cohort(study(rows, slides=names, regions="whole"))
    images = {p.patient_id: [i.name for i in p.slides[0].images] for p in reading.cohort.patients}
    assert images == {"007": ["007_2.jpg", "007_10.jpg"], "8": ["8.jpg"], "10": ["10_1.jpg"]}
    assert told(reading) == [("9", "slides", "two region images of 9 have the same number.")]


def test_a_clinical_study_does_not_look_for_slides(study, rows, tmp_path):
    config = study(rows, methods=["clinical"]).model_copy(update={"slides": tmp_path / "gone"})
    assert read_cohort(config).problems == ()


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


def test_scale_and_limit_reach_every_slide(study, rows):
    for row, mpp in zip(rows, ("0.25", "", "0,5", ""), strict=True):
        row["mpp"] = mpp
    config = study(rows, slides=SVS, slide_mpp=0.4, max_slide_px=10**9)
    reading = read_cohort(config)
    assert reading.problems == ()
    slides = [patient.slides[0] for patient in reading.cohort.patients]
    assert [slide.table_mpp for slide in slides] == [0.25, None, 0.5, None]
    assert {slide.study_mpp for slide in slides} == {0.4}
    assert {slide.max_px for slide in slides} == {10**9}


def test_scale_of_each_slide_of_a_patient(study, rows):
    table = [row | {"slide_id": row["patient_id"], "mpp": "0.25"} for row in rows]
    table.append(table[0] | {"slide_id": "007b", "mpp": "0.5"})
    reading = read_cohort(study(table, slides=(*SVS, "007b.svs")))
    assert reading.problems == ()
    assert [s.table_mpp for s in reading.cohort.patients[0].slides] == [0.25, 0.5]


@pytest.mark.parametrize("text", ["0,25 µm", "-1", "0", "250"])
def test_what_is_no_scale_is_a_problem(study, rows, text):
    for row in rows:
        row["mpp"] = "0.25"
    rows[1]["mpp"] = text
    (problem,) = read_cohort(study(rows, slides=SVS)).problems
    assert (problem.patient, problem.fatal) == ("8", False)
    assert problem.cause == (
        f"`mpp` of slide 8 is {text!r}, which is no µm per pixel of a microscope."
    )
    assert "from 0.02 to 20" in problem.remedy


def test_a_folder_of_dicom_files_is_a_slide(study, rows):
    files = ("007/b.dcm", "007/a.dcm", "007/notes.txt", "8.dcm", "9.mrxs", "9/Data0000.dat",
             "10.svs")  # fmt: skip
    reading = read_cohort(study(rows, slides=files))
    assert reading.problems == ()
    images = [patient.slides[0].images[0] for patient in reading.cohort.patients]
    assert [image.name for image in images] == ["a.dcm", "8.dcm", "9.mrxs", "10.svs"]
    assert [file.name for file in files_of(images[0])] == ["a.dcm", "b.dcm"]
    assert [file.name for file in files_of(images[2])] == ["9.mrxs", "Data0000.dat"]
    assert files_of(images[3]) == (images[3],)


def test_a_named_folder_of_dicom_files(study, rows):
    table = [row | {"slide": f"{row['patient_id']}.svs"} for row in rows]
    table[0]["slide"] = "scans/case 7"
    reading = read_cohort(study(table, slides=(*SVS[1:], "scans/case 7/x.dcm")))
    assert reading.problems == ()
    assert reading.cohort.patients[0].slides[0].images[0].name == "x.dcm"


def test_a_folder_and_a_file_of_one_name(study, rows):
    reading = read_cohort(study(rows, slides=(*SVS, "007/a.dcm")))
    (problem,) = reading.problems
    assert problem.cause == "several files are named 007: 007/a.dcm, 007.svs."
