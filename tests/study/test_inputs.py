"""What is wrong with the inputs, all of it at once; going on without those patients."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from axilla.core import store
from axilla.core.cohort_union import read_everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.core.types import Patient
from axilla.study.chain import check, run
from axilla.study.slide_checks import slides_of
from axilla.study.unannotated import unannotated_sentences

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("coarse_pictures")

WHITE = "no patch is left: all {} are too white, as what lies outside an outline counts as white."
GOOD = [f"G{number:02d}" for number in range(20)]


def row(patient: str, *, age: str = "", er: str = "positive", nodes: int = 0) -> str:
    number = int(patient[1:])
    age = age or str(40 + number)
    return f"{patient},{age},{1 + number % 7 * 0.3:.1f},{er},negative,negative,{nodes}"


def outline(low: int, high: int) -> str:
    corners = [[low, low], [high, low], [high, high], [low, high]]
    return json.dumps({"positive": [{"vertices": corners}]})


def test_outlines_of_several_classes_and_tissue_in_two_outlines_are_noted(
    plain_study: Make,
) -> None:
    def feature(name: str, low: int, high: int) -> dict[str, Any]:
        ring = [[low, low], [high, low], [high, high], [low, high], [low, low]]
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }

    settings = plain_study([row(p, nodes=i % 2) for i, p in enumerate(GOOD)], GOOD)
    notes = settings["slides"].parent / "annotations"
    for patient in GOOD:
        (notes / f"{patient}.geojson").write_text(json.dumps([feature("Tumor", 16, 80)]), "utf-8")
    inside = [feature("Tumor", 16, 80), feature("Necrosis", 16, 48)]
    (notes / "G03.geojson").write_text(json.dumps(inside), "utf-8")
    (notes / "G04.geojson").write_text(json.dumps([feature("Tumor", 60, 64)]), "utf-8")
    settings |= {"annotations": notes, "threshold": 0.5}
    config = StudyConfig.model_validate(settings)
    for _ in range(2):  # the second time from memory
        assert check(config) == ()
        told = {n["slide"]: n for n in store.read_json(config.out / "check.json")["notes"]}
        assert set(told) == {"G03", "G04", None}
        assert "outlines of slide G03 overlap: 25% of their area" in told["G03"]["cause"]
        assert "encloses 179 of the 256 pixels of a patch" in told["G04"]["cause"]
        assert told[None]["cause"].endswith("slides by class: Tumor (20), Necrosis (1).")
        assert "keep: [...]" in told[None]["remedy"]
    kept = settings | {"annotations": {"folder": notes, "keep": ["tumor"]}}
    config = StudyConfig.model_validate(kept)
    assert check(config) == ()
    assert [n["slide"] for n in store.read_json(config.out / "check.json")["notes"]] == ["G04"]


def test_notes_stay_after_the_slides_were_cut(plain_study: Make) -> None:
    settings = plain_study([row(p, nodes=i % 2) for i, p in enumerate(GOOD)], GOOD)
    notes = settings["slides"].parent / "annotations"
    for patient in GOOD:
        (notes / f"{patient}.json").write_text(outline(16, 80), encoding="utf-8")
    # Drawn on a smaller copy: it lies in the corner, and somebody should look.
    small = {"positive": [{"vertices": [[1, 1], [60, 1], [1, 60], [60, 60]]}]}
    (notes / "G03.json").write_text(json.dumps(small | {"imagePath": "other.svs"}), "utf-8")
    config = StudyConfig.model_validate(settings | {"annotations": notes, "threshold": 0.5})
    assert check(config) == ()
    first = store.read_json(config.out / "check.json")["notes"]
    assert [note["slide"] for note in first] == ["G03"] * len(first)
    assert first
    run(config, until="tile")
    assert store.read_json(config.out / "check.json")["notes"] == first
    assert check(config) == ()
    assert store.read_json(config.out / "check.json")["notes"] == first


@pytest.fixture
def broken(plain_study: Make) -> dict[str, Any]:
    """20 patients in order, and eight who are each wrong in another way."""
    rows = [row(p, nodes=i % 2) for i, p in enumerate(GOOD)]
    rows += [row(f"B{number}") for number in range(1, 6)]
    rows += [row("B6"), row("B6"), row("B7", age="NaN"), row("B8", nodes=1)]
    settings = plain_study(rows, [*GOOD, *(f"B{number}" for number in range(2, 9))])
    slides: Path = settings["slides"]
    notes = slides.parent / "annotations"
    for patient in [*GOOD, *(f"B{number}" for number in range(1, 9))]:
        (notes / f"{patient}.json").write_text(outline(16, 80), encoding="utf-8")
    image = cv2.imread(str(slides / "B2.png"))
    (slides / "B2.png").unlink()
    encoded = cv2.imencode(".jpg", image)[1].tobytes()
    (slides / "B2.jpg").write_bytes(encoded[: len(encoded) // 2])
    (slides / "B3.png").write_text("this is no picture", encoding="utf-8")
    (notes / "B4.json").write_text(outline(300, 400), encoding="utf-8")
    (notes / "B5.json").write_text('{"positive": [{"vert', encoding="utf-8")
    cv2.imwrite(str(slides / "B8.png"), np.full((96, 96, 3), 255, np.uint8))
    return settings | {
        "annotations": notes, "methods": ("clinical", "dl-cnb"), "threshold": 0.5,
    }  # fmt: skip


WRONG = {
    "B1": ("slides", "there is no slide B1.<", "Add the file"),
    "B2": ("B2.jpg", "cut short", "Copy or export it again"),
    "B3": ("B3.png", "not what its ending `.png` says", "Copy or export it again"),
    "B4": ("B4.json", "lies wholly outside the slide of 96 x 96 pixels", "Check that the"),
    "B5": ("B5.json", "JSON", "xport"),
    "B6": ("cohort.csv", "stands in 2 rows", "Keep one row a patient"),
    "B7": ("cohort.csv", "`age` is missing", "Fill it in"),
}
"""File, cause and remedy by patient; B8 is white, which shows only when it is cut."""


def test_all_problems_are_told_at_once(broken: dict[str, Any]) -> None:
    problems = check(StudyConfig.model_validate(broken))
    assert [p.patient for p in problems] == ["B1", "B6", "B7", "B2", "B3", "B4", "B5"]
    for problem in problems:
        file, cause, remedy = WRONG[str(problem.patient)]
        assert problem.file is not None
        assert problem.file.name == file
        assert cause in problem.cause
        assert remedy in problem.remedy
        assert not problem.fatal
    assert {p.relative_to(broken["out"]).as_posix() for p in broken["out"].rglob("*.*")} == {
        "check.json", "steps/checked.json",
    }  # fmt: skip


def test_two_problems_of_one_slide_are_both_told(broken: dict[str, Any]) -> None:
    (broken["annotations"] / "B3.json").write_text("{", encoding="utf-8")
    found = [p for p in check(StudyConfig.model_validate(broken)) if p.patient == "B3"]
    assert [p.file.name for p in found if p.file] == ["B3.json", "B3.png"]


def test_slides_of_who_has_a_problem_in_the_table_are_checked_too(broken: dict[str, Any]) -> None:
    shutil.copy(broken["slides"] / "G00.png", broken["slides"] / "B7.png")
    (broken["annotations"] / "B6.json").write_text("{", encoding="utf-8")
    found = check(StudyConfig.model_validate(broken))
    causes = {p: [f.cause for f in found if f.patient == p] for p in ("B6", "B7", "G00")}
    assert [len(told) for told in causes.values()] == [2, 2, 1]
    assert "stands in 2 rows" in causes["B6"][0]
    assert "annotation of slide B6" in causes["B6"][1]
    assert "`age` is missing" in causes["B7"][0]
    assert "byte for byte, as slide G00 of patient G00" in causes["B7"][1]


def test_slides_without_annotation_beside_others(plain_study: Make) -> None:
    settings = plain_study([row(p, nodes=i % 2) for i, p in enumerate(GOOD)], GOOD)
    notes = settings["slides"].parent / "annotations"
    config = StudyConfig.model_validate(settings | {"annotations": notes})
    for patient in GOOD[2:]:
        (notes / f"{patient}.JSON").write_text(outline(16, 80), encoding="utf-8")
    (notes / "G01.svs.json").write_text(outline(16, 80), encoding="utf-8")
    assert check(config) == ()
    (note,) = json.loads((config.out / "check.json").read_text(encoding="utf-8"))["notes"]
    assert note["cause"].startswith("2 of 20 slides have no annotation (G00, G01), and all tissue")
    assert note["cause"].endswith("Files there are named G01.svs.json.")
    (sentence,) = unannotated_sentences(slides_of(_patients(config)), config=config)
    assert sentence.startswith("2 of 20 slides have no annotation (G00, G01): all tissue")
    alike = config.model_copy(update={"regions": "tissue"})
    assert unannotated_sentences(slides_of(_patients(alike)), config=alike) == ()
    # Not one: another study's folder, or other names; nobody goes on with that unawares.
    for path in notes.glob("*.JSON"):
        path.unlink()
    (problem,) = check(config)
    assert problem.fatal
    assert problem.cause.startswith("none of the 20 slides has an annotation here.")
    assert problem.file == notes


def _patients(config: StudyConfig) -> tuple[Patient, ...]:
    return read_everybody(config).cohort.patients


def test_tissue_is_searched_and_told_once(broken: dict[str, Any]) -> None:
    config = StudyConfig.model_validate(broken | {"regions": "tissue", "annotations": None})
    assert [p.patient for p in check(config)] == ["B1", "B6", "B7", "B2", "B3", "B8"]


def test_run_refuses_before_computing(broken: dict[str, Any]) -> None:
    with pytest.raises(InputProblems) as caught:
        run(StudyConfig.model_validate(broken))
    assert [p.patient for p in caught.value.problems] == ["B1", "B6", "B7", "B2", "B3", "B4", "B5"]
    assert not (broken["out"] / "patches").exists()


def test_excluding_the_failed_names_each_with_the_reason(broken: dict[str, Any]) -> None:
    config = StudyConfig.model_validate(broken)
    with pytest.raises(InputProblems):
        run(config)
    result = run(config, exclude_failed=True)
    gone = pd.read_csv(config.out / "exclusions.csv").set_index("patient_id")
    assert gone["step"].to_dict() == dict.fromkeys(WRONG, "check") | {"B8": "tile"}
    for patient, (_, cause, _) in WRONG.items():
        assert cause in gone["reason"][patient]
    assert gone["reason"]["B8"] == WHITE.format(16)
    page = (config.out / "report.html").read_text(encoding="utf-8")
    for patient in [*WRONG, "B8"]:
        assert patient in page
    assert "28 patients" in page
    assert WHITE.format(16) in page
    assert "8 patients left the study because of their inputs" in page
    assert {p.patient_id for p in result.cohort.patients} == set(GOOD)
    assert set(pd.read_csv(config.out / "predictions.csv")["patient_id"]) == set(GOOD)
    table1 = pd.read_csv(config.out / "tables" / "table1.csv", dtype=str, keep_default_na=False)
    assert table1["All patients"][0] == "20"
    assert table1.loc[table1["Characteristic"].str.startswith("Age"), "All patients"].tolist() == [
        "49.50 ± 5.916"
    ]
    # Started again without the option it refuses, and still lists everybody.
    with pytest.raises(InputProblems) as caught:
        run(config)
    assert {p.patient for p in caught.value.problems} == set(WRONG)


def test_a_slide_of_glass_and_ink_stops_a_run_and_is_named(plain_study: Make) -> None:
    settings = plain_study([row(p, nodes=i % 2) for i, p in enumerate(GOOD)], GOOD)
    image = np.full((96, 96, 3), 238, np.uint8)
    cv2.line(image, (10, 60), (90, 80), (210, 40, 20), 8)  # blue ink
    cv2.imwrite(str(settings["slides"] / "G03.png"), image)
    config = StudyConfig.model_validate(settings | {"regions": "tissue"})
    with pytest.raises(InputProblems) as caught:
        run(config, until="tile")
    (problem,) = caught.value.problems
    assert check(config) == (problem,)
    assert not (config.out / "patches").exists(), "found before anything was cut"
    assert (problem.patient, problem.file) == ("G03", settings["slides"] / "G03.png")
    assert problem.cause.startswith("no tissue was found on slide G03: it shows glass, dust or ink")
    assert "regions: whole" in problem.remedy


def test_a_white_slide_stops_a_run_that_was_not_told_to_go_on(plain_study: Make) -> None:
    settings = plain_study([row(p, nodes=i % 2) for i, p in enumerate(GOOD)], GOOD)
    cv2.imwrite(str(settings["slides"] / "G03.png"), np.full((96, 96, 3), 255, np.uint8))
    config = StudyConfig.model_validate(settings | {"regions": "whole"})
    assert check(config) == ()
    with pytest.raises(InputProblems) as caught:
        run(config, until="tile")
    (problem,) = caught.value.problems
    assert (problem.patient, problem.cause) == (
        "G03",
        WHITE.format(36),
    )
    assert "--exclude-failed" in problem.remedy


def test_a_column_of_numbers_with_a_word_is_described_without_who_left(plain_study: Make) -> None:
    rows = [row(p, nodes=i % 2) for i, p in enumerate(GOOD)]
    settings = plain_study([*rows, row("B1", age="fifty")], [])
    settings |= {"methods": ("clinical",), "slides": None}
    run(StudyConfig.model_validate(settings), until="evaluate", exclude_failed=True)
    table1 = (settings["out"] / "tables" / "table1.csv").read_text(encoding="utf-8")
    assert '"Age, years",mean ± SD,49.50 ± 5.916' in table1


def test_spellings_of_a_category_are_one_level(plain_study: Make) -> None:
    rows = [row(p, er="Positive" if i % 3 else "positive", nodes=i % 2) for i, p in enumerate(GOOD)]
    settings = plain_study(rows, []) | {"methods": ("clinical",), "slides": None}
    run(StudyConfig.model_validate(settings), until="evaluate")
    frame = pd.read_csv(settings["out"] / "tables" / "table1.csv", dtype=str)
    assert frame.loc[
        frame["Characteristic"] == "ER", ["Level", "All patients"]
    ].values.tolist() == [["positive", "20"]]


def test_who_is_outside_the_endpoint_leaves_once(plain_study: Make) -> None:
    rows = [row(p, nodes=1 + 2 * (i % 2)) for i, p in enumerate(GOOD)]
    rows += [row("N1"), row("N2"), row("N2")]
    settings = plain_study(rows, []) | {"methods": ("clinical",), "slides": None}
    settings |= {"endpoint": "n1-2-vs-n3plus", "threshold": 0.5}
    config = StudyConfig.model_validate(settings)
    run(config, exclude_failed=True)
    gone = pd.read_csv(config.out / "exclusions.csv")
    assert gone["patient_id"].tolist() == ["N1", "N2"]
    assert gone["step"].tolist() == ["endpoint", "endpoint"]
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert "22 patients" in page
    assert "20 patients" in page
    assert "19 patients" not in page


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"cohort": "nowhere.csv"}, "there is no such file."),
        ({"slides": "nowhere"}, "there is no such folder."),
        ({"annotations": "nowhere"}, "there is no such folder."),
        ({"split": {"column": "site"}}, "has no column `site`, which `split.column` names"),
        ({"split": {"folds": 11}}, "N0 has 10 patients, fewer than the 11 folds."),
        ({"split": {"test": 0.01}}, "the test cohort of split has no patient."),
        ({"encoder": {"name": "resnet50", "weights": "nowhere.pth"}}, "no such file of weights"),
    ],
)  # fmt: skip
def test_what_stops_a_whole_study(
    changes: dict[str, Any], cause: str, plain_study: Make, tmp_path: Path
) -> None:
    settings = plain_study([row(p, nodes=i % 2) for i, p in enumerate(GOOD)], GOOD)
    for key in ("cohort", "slides", "annotations"):
        if key in changes:
            changes = {**changes, key: tmp_path / str(changes[key])}
    config = StudyConfig.model_validate(settings | {"threshold": 0.5} | changes)
    (problem,) = check(config)
    assert cause in problem.cause
    with pytest.raises(InputProblems):
        run(config, exclude_failed=True)


def test_a_clinical_column_that_cannot_be_learned_from(plain_study: Make) -> None:
    """Told before any slide is cut, not when the training begins."""
    rows = [row(p, age="50", nodes=i % 2) for i, p in enumerate(GOOD)]
    settings = plain_study(rows, GOOD) | {"methods": ("clinical", "dl-cnb"), "threshold": 0.5}
    (problem,) = check(StudyConfig.model_validate(settings))
    assert problem.cause == "`age` does not vary among the training patients."
    assert problem.file == settings["cohort"]


def test_one_class_only(plain_study: Make) -> None:
    config = StudyConfig.model_validate(plain_study([row(p) for p in GOOD], GOOD))
    (problem,) = check(config)
    assert problem.cause == "no usable patient is N(+), so there is nothing to tell apart."
    assert problem.file == config.cohort


def test_what_nobody_needs_to_mend_is_noted_in_the_record_of_the_check(plain_study: Make) -> None:
    rows = [row(p, nodes=i % 2) for i, p in enumerate(GOOD)]
    rows[7] = rows[7].replace(",1.0,", ",12,")
    settings = plain_study(rows, [*GOOD, "Q001"]) | {"methods": ("clinical", "dl-cnb")}
    settings |= {"clinical": {"numeric": ["age", "tumor_size_cm"], "categorical": []}}
    config = StudyConfig.model_validate(settings)
    assert check(config) == ()
    assert [note["cause"] for note in store.read_json(config.out / "check.json")["notes"]] == [
        "`tumor_size_cm` of 1 patient lies above 8 cm (G07: 12): is it in mm?",
        "1 slide in the folder belongs to no row of the table: Q001.png.",
    ]


def test_nothing_is_said_of_the_classes_where_no_slide_is_found(plain_study: Make) -> None:
    rows = [row(p, nodes=i % 2) for i, p in enumerate(GOOD)]
    config = StudyConfig.model_validate(plain_study(rows, []))
    *slides, last = check(config)
    assert [problem.patient for problem in slides] == GOOD
    assert last.cause == "every patient has a problem, so nobody is left."
    assert last.fatal
