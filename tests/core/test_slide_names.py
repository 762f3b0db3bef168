"""Files in the folder of slides that the table does not ask for, and those it nearly does."""

from __future__ import annotations

import pytest

from axilla.core.cohort import read_cohort
from axilla.core.slide_names import NearNames

SVS = ("007.svs", "8.svs", "9.svs", "10.svs")


def noted(config):
    return [note.cause for note in read_cohort(config).notes]


def test_slides_of_no_row_are_noted(study, rows):
    config = study(rows, slides=(*SVS, "Q002.png", "Q001.png", "notes.txt"))
    (note,) = read_cohort(config).notes
    assert note.cause == (
        "2 slides in the folder belong to no row of the table: Q001.png, Q002.png."
    )
    assert (note.file, note.fatal, note.patient) == (config.slides, False, None)
    (cause,) = noted(study(rows[1:], slides=(*(f"Q{i}.png" for i in range(4)),)))
    assert cause == (
        "7 slides in the folder belong to no row of the table: 007.svs, Q0.png, Q001.png, "
        "Q002.png, Q1.png and 2 more."
    )


def test_one_slide_of_no_row(study, rows):
    assert noted(study(rows, slides=SVS)) == []
    assert noted(study(rows[1:], slides=SVS)) == [
        "1 slide in the folder belongs to no row of the table: 007.svs."
    ]


def test_slides_of_patients_outside_the_endpoint_belong_to_a_row(study, rows):
    assert noted(study(rows, slides=SVS, endpoint="n0-vs-n1-2")) == []


@pytest.mark.parametrize("absolute", [False, True])
def test_slides_that_the_column_names_are_used(study, rows, tmp_path, absolute):
    folder = f"{tmp_path}/slides/" if absolute else ""
    table = [row | {"slide": f"{folder}scan{i}.svs"} for i, row in enumerate(rows)]
    table[3]["slide"] = f"{folder}series"
    files = ("scan0.svs", "scan1.svs", "scan2.svs", "series/1.dcm", "series/2.dcm", "scan3.svs")
    assert noted(study(table, slides=files)) == [
        "1 slide in the folder belongs to no row of the table: scan3.svs."
    ]


def test_regions_and_their_overview_belong_to_one_row(study, rows):
    files = ("007.jpg", "007_1.jpg", "007_2.jpg", "8.jpg", "9_1.jpg", "10.jpg")
    assert noted(study(rows, slides=files, regions="whole")) == []
    assert noted(study(rows[1:], slides=files, regions="whole")) == [
        "3 slides in the folder belong to no row of the table: 007.jpg, 007_1.jpg, 007_2.jpg."
    ]


def test_patches_are_no_slides(study, rows):
    files = tuple(f"{row['patient_id']}_0_0_0.jpg" for row in rows)
    assert noted(study(rows[1:], slides=files, regions="patches")) == []


def test_files_of_one_slide_are_not_slides(study, rows):
    table = [row | {"slide": name} for row, name in zip(rows, ("1.dcm", "", "", ""), strict=True)]
    assert noted(study(table, slides=("1.dcm", "2.dcm", *SVS[1:]))) == []
    files = ("007.vms", "007-1.jpg", "8.svs", "9.svs", "10.svs")
    (note,) = noted(study(rows, slides=files))  # the folder has the files of before as well
    assert ".jpg" not in note


@pytest.mark.parametrize(
    ("slide_id", "names"),
    [
        ("Q001", ["Q001_A.png", "Q001_B.png", "q1.svs"]),
        ("1", ["001.png", "1a.png"]),
        ("Q01", ["q1.svs"]),
        ("B", []),
    ],
)
def test_names_that_nearly_are_an_id(slide_id, names):
    here = ("Q001_A.png", "Q001_B.png", "q1.svs", "001.png", "10.png", "1a.png")
    near = NearNames((name.split(".")[0], name) for name in here)
    assert near.of(slide_id) == names


def test_a_slide_that_is_not_there_and_files_like_it(study, rows):
    table = [*rows, {**rows[0], "patient_id": "Q1"}]
    reading = read_cohort(study(table, slides=("007_A.svs", "007_B.svs", "08.svs", *SVS[2:])))
    causes = [problem.cause.split("bmp>.")[1] for problem in reading.problems[:3]]
    assert causes == [
        " Files there are named 007_A.svs, 007_B.svs.",
        " Files there are named 08.svs.",
        "",
    ]
