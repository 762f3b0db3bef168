"""The slides and annotations of a cohort's patients, and their scale."""

from __future__ import annotations

import unicodedata

import pytest

from axilla.core.cohort import read_cohort
from axilla.core.errors import CohortError
from axilla.core.slide_files import files_of, first_of_series
from axilla.core.types import Slide
from axilla.wsi.ready import ready_patches

SVS = ("007.svs", "8.svs", "9.svs", "10.svs")


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


def test_rows_of_a_patient_must_agree(study, rows, told):
    table = [row | {"slide_id": f"s{n}"} for n, row in enumerate([*rows, rows[0]])]
    table[4] |= {"age": "41", "nodes": "2"}
    reading = read_cohort(study(table, slides=tuple(f"s{n}.png" for n in range(5))))
    assert told(reading) == [
        ("007", "cohort.csv", "the rows disagree on `nodes` ('0', '2')."),
        ("007", "cohort.csv", "the rows disagree on `age` ('40', '41')."),
    ]


def test_a_slide_twice_in_a_patients_rows(study, rows, told):
    table = [row | {"slide_id": f"s{n}"} for n, row in enumerate([*rows, rows[0]])]
    table[4]["slide_id"] = "s0"
    reading = read_cohort(study(table, slides=tuple(f"s{n}.png" for n in range(4))))
    assert told(reading) == [("007", "cohort.csv", "the slide s0 stands in two rows.")]


def test_a_slide_of_two_patients(study, rows, told):
    table = [row | {"slide_id": slide} for row, slide in zip(rows, "aabc", strict=True)]
    reading = read_cohort(study(table, slides=("a.svs", "b.svs", "c.svs")))
    assert told(reading) == [("8", "cohort.csv", "the slide a belongs to patient 007 as well.")]


def test_one_file_under_two_slide_ids(study, rows, told):
    table = [
        row | {"slide": name}
        for row, name in zip(rows, ("a.svs", "b.svs", "sub/../a.svs", "c.svs"), strict=True)
    ]
    reading = read_cohort(study(table, slides=("a.svs", "b.svs", "c.svs")))
    assert told(reading) == [
        ("9", "a.svs", "the file of slide 9 is that of slide 007 of patient 007 as well.")
    ]


@pytest.mark.parametrize("named", ["../secret.svs", "sub/../../secret.svs", "/secret.svs"])
def test_a_slide_outside_the_folder_of_slides(study, rows, named, tmp_path, told):
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


def test_slides_that_are_not_there_or_not_clear(study, rows, told):
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
        (None, "cohort.csv", "every patient has a problem, so nobody is left."),
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


def test_annotations(study, rows, tmp_path, told):
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


def test_cut_regions_in_the_order_of_their_numbers(study, rows, told):
    names = ("007.jpg", "007_10.jpg", "007_2.jpg", "8.jpg", "9_0.jpg", "9_0.png", "10_1.jpg")
    reading = read_cohort(study(rows, slides=names, regions="whole"))
    images = {p.patient_id: [i.name for i in p.slides[0].images] for p in reading.cohort.patients}
    assert images == {"007": ["007_2.jpg", "007_10.jpg"], "8": ["8.jpg"], "10": ["10_1.jpg"]}
    assert told(reading) == [("9", "slides", "two region images of 9 have the same number.")]


def test_a_clinical_study_does_not_look_for_slides(study, rows, tmp_path):
    config = study(rows, methods=["clinical"]).model_copy(update={"slides": tmp_path / "gone"})
    assert read_cohort(config).problems == ()


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


def test_companion_files_of_macos_are_no_slides(study, rows):
    config = study(rows, slides=(*SVS, *(f"._{name}" for name in SVS)))
    series = config.slides / "11"
    series.mkdir()
    for name in ("._a.dcm", "a.dcm"):
        (series / name).touch()
    assert first_of_series(series) == series / "a.dcm"
    assert files_of(series / "a.dcm") == (series / "a.dcm",)
    reading = read_cohort(config)
    assert reading.problems == ()
    found = [s.images[0].name for p in reading.cohort.patients for s in p.slides]
    assert found == list(SVS)


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_umlaut_of_another_system_is_the_same_name(study, rows, table, disk):
    name = "M\u00fcller_1"
    told, written = (unicodedata.normalize(form, name) for form in (table, disk))
    own = [rows[0] | {"slide_id": told}, *rows[1:]]
    config = study(own, slides=(f"{written}.svs", *SVS[1:]))
    (config.slides / f"{written}.geojson").touch()
    config = config.model_copy(update={"annotations": config.slides})
    reading = read_cohort(config)
    assert reading.problems == ()
    (slide,) = reading.cohort.patients[0].slides
    assert slide.images == (config.slides / f"{written}.svs",)
    assert slide.annotation == config.slides / f"{written}.geojson"


def test_a_folder_that_cannot_be_listed_is_no_slide(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    assert first_of_series(tmp_path) is None


def test_ready_patches_with_an_umlaut_of_another_system_are_read(tmp_path):
    names = [unicodedata.normalize("NFD", f"M\u00fc_1_0_{x}_0.jpg") for x in (0, 16)]
    slide = Slide("M\u00fc_1", "P", tuple(tmp_path / name for name in names))
    assert [name.x for name in ready_patches(slide)] == [0, 16]
