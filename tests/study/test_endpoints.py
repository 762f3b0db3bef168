"""A study with several endpoints: one split, one set of patches and features, a report each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.progress import Silent
from axilla.report.contents import Highlight
from axilla.report.index import EndpointEntry, IndexPage, render_index
from axilla.study.chain import StudyResult, check, run
from axilla.study.inputs import check_inputs
from axilla.study.mix import check_mix
from axilla.study.tiling import check_memory

GRADE = {"column": "grade", "classes": ["G1", "G2", "G3"]}
ENDPOINTS = ["n0-vs-npos", "n1-2-vs-n3plus", GRADE]
NAMES = ["n0-vs-npos", "n1-2-vs-n3plus", "grade-G1-vs-G2-vs-G3"]


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A clinical study of 120 patients in 5 sites; `cells` changes some of them."""

    def write(cells: dict[tuple[int, str], Any] | None = None, **keys: Any) -> dict[str, Any]:
        frame = pd.DataFrame(
            {
                "patient_id": [f"p{i:03}" for i in range(120)],
                "age": [30 + (i * 7) % 41 for i in range(120)],
                "nodes": [(0, 0, 1, 4)[i % 4] for i in range(120)],
                "grade": [f"G{1 + (i // 4) % 3}" for i in range(120)],
                "site": [f"site {'ABCDE'[(i // 12) % 5]}" for i in range(120)],
            },
            dtype=object,
        )
        for (row, column), value in (cells or {}).items():
            frame.loc[row, column] = value
        path = tmp_path / "cohort.csv"
        frame.to_csv(path, index=False)
        return {
            "name": "Several",
            "cohort": path,
            "methods": ("clinical",),
            "clinical": {"numeric": ["age"], "categorical": []},
            "out": tmp_path / "out",
        } | keys

    return write


def study(settings: dict[str, Any]) -> StudyConfig:
    return StudyConfig.model_validate(settings)


def sides(result: StudyResult) -> dict[str, str]:
    (partition,) = result.partitions
    return dict(partition.cohort_of)


@pytest.mark.usefixtures("coarse_pictures")
def test_the_split_is_one_and_everybody_is_accounted_for(
    table: Callable[..., dict[str, Any]],
) -> None:
    config = study(table(endpoints=ENDPOINTS))
    result = run(config)
    assert list(result.endpoints) == NAMES
    whole = sides(result)
    assert len(whole) == 120
    enrolled = {f"p{i:03}" for i in range(120)}
    sizes = []
    for part in result.endpoints.values():
        assert sides(part) == {p: whole[p] for p in part.cohort.labels()}
        gone = {e.patient_id for e in part.cohort.excluded}
        assert gone | set(part.cohort.labels()) == enrolled
        sizes.append((len(part.cohort.patients), len(gone)))
    assert sizes == [(120, 0), (60, 60), (120, 0)]
    # The split is that of a study with a single one of the node endpoints.
    alone = study(table(endpoint="n0-vs-npos", out=config.out.parent / "alone"))
    assert sides(run(alone, until="tile")) == whole
    assert check_mix([config, alone]) == ()
    split = pd.read_csv(config.out / "split.csv", index_col="patient_id")["split"].to_dict()
    assert split == whole
    shared = pd.read_csv(config.out / "n1-2-vs-n3plus" / "exclusions.csv")
    assert shared["reason"].unique().tolist() == ["N0 is not part of the endpoint n1-2-vs-n3plus"]


@pytest.mark.usefixtures("coarse_pictures")
def test_each_endpoint_has_its_folder_and_the_front_page_links_them(
    table: Callable[..., dict[str, Any]],
) -> None:
    config = study(table(endpoints=ENDPOINTS))
    result = run(config)
    for name, part in result.endpoints.items():
        folder = config.out / name
        files = {path.name for path in folder.iterdir()}
        assert {"models", "predictions.csv", "metrics.json", "tables", "report.html"} <= files
        assert part.report == folder / "report.html"
        assert json.loads((folder / "metrics.json").read_text()) == part.metrics
    assert not (config.out / "metrics.json").exists()
    assert result.report == config.out / "report.html"
    page = result.report.read_text(encoding="utf-8")
    for name in NAMES:
        assert f'href="./{name}/report.html"' in page
    assert "N+(1-2) against N+(&gt;=3)" in page
    # Each in plain words, before its figures.
    assert page.count("Of 100 patients like those of the test cohort") == len(NAMES)
    assert "60 patients not in it: N0 is not part of the endpoint n1-2-vs-n3plus" in page
    # Nothing is done twice.
    before = {p: p.stat().st_mtime_ns for p in config.out.rglob("*") if p.is_file()}
    run(config)
    after = {p: p.stat().st_mtime_ns for p in config.out.rglob("*") if p.is_file()}
    assert {p for p in before if after[p] != before[p]} == set()


@pytest.mark.usefixtures("coarse_pictures")
def test_another_endpoint_is_not_told_of_nodes_nor_folds_of_operating_points(
    table: Callable[..., dict[str, Any]],
) -> None:
    grades = {"column": "grade", "negative": "G1", "positive": "G2"}
    lower = {(i, "grade"): "G2" for i in range(120) if (i // 4) % 3 == 2}
    settings = table(lower, endpoint=grades, split={"folds": 2}, threshold=0.5)
    result = run(study(settings))
    assert result.report is not None
    page = " ".join(result.report.read_text(encoding="utf-8").split())
    assert "read &#39;biopsy&#39; as whatever follows a positive call" in page
    assert "would be spared the sentinel node biopsy" not in page
    assert "The operating points were chosen" not in page


@pytest.mark.usefixtures("coarse_pictures")
def test_three_grades_are_measured_and_shown(table: Callable[..., dict[str, Any]]) -> None:
    config = study(table(endpoint=GRADE))
    result = run(config)
    assert result.endpoints == {}
    entry = result.metrics["methods"]["clinical"]["test"]  # type: ignore[index]
    assert list(entry["auc_by_class"]) == ["G1", "G2", "G3"]
    areas = [area["value"] for area in entry["auc_by_class"].values()]
    assert entry["auc"]["value"] == pytest.approx(sum(areas) / 3)
    assert sum(map(sum, entry["confusion_matrix"])) == entry["n"] == 24
    report = (config.out / "report.html").read_text(encoding="utf-8")
    assert "mean one-versus-rest AUC" in report
    assert "ROC by class, Clinical data only, independent test cohort" in report
    table2 = pd.read_csv(config.out / "tables" / "table2.csv", dtype=str, keep_default_na=False)
    assert table2["Class"].tolist()[:4] == ["all", "G1", "G2", "G3"]
    assert (config.out / "figures" / "roc_clinical_test.csv").is_file()
    assert list(entry["calibration_by_class"]) == ["G1", "G2", "G3"]
    calibration = pd.read_csv(config.out / "tables" / "calibration.csv", dtype=str)
    assert calibration["Class"].tolist()[:4] == ["all", "G1", "G2", "G3"]
    drawn = pd.read_csv(config.out / "figures" / "calibration_clinical.csv")
    assert drawn.groupby("class")["n"].sum().to_dict() == {"G1": 24, "G2": 24, "G3": 24}
    assert "Calibration, Clinical data only" in report
    assert "There is no decision curve: these classes are not node stages" in report
    assert not (config.out / "figures" / "decision_curve.svg").exists()


@pytest.mark.usefixtures("coarse_pictures")
@pytest.mark.parametrize("endpoint", [GRADE, "n0-vs-n1-2-vs-n3plus"])
def test_three_classes_have_no_threshold_and_need_nobody_to_choose_it_on(
    table: Callable[..., dict[str, Any]], endpoint: Any
) -> None:
    without = {"split": {"test": 0.2, "validation": 0}}
    metrics = run(study(table(endpoint=endpoint, **without)), until="evaluate").metrics
    assert metrics is not None
    assert list(metrics["methods"]["clinical"]) == ["train", "test"]
    with pytest.raises(ValueError, match="threshold: is chosen on the validation cohort"):
        study(table(endpoints=[endpoint, "n0-vs-npos"], **without))


@pytest.mark.usefixtures("coarse_pictures", "drawn")
def test_three_node_stages_have_the_sentinel_question_answered(
    table: Callable[..., dict[str, Any]],
) -> None:
    config = study(table(endpoint="n0-vs-n1-2-vs-n3plus"))
    metrics = run(config).metrics
    assert metrics is not None
    curve = metrics["methods"]["clinical"]["test"]["decision_curve"]
    scores = pd.read_csv(config.out / "predictions.csv")
    tested = scores[scores["cohort"] == "test"]
    positive, risk = tested["label"] > 0, 1 - tested["score_N0"]
    assert (curve["n"], curve["positives"]) == (len(tested), int(positive.sum()))
    point = next(p for p in curve["points"] if p["threshold"] == 0.5)
    assert point["avoided_per_100"]["value"] == pytest.approx(100 * (risk < 0.5).mean())
    missed = ((risk < 0.5) & positive).mean()
    assert point["missed_per_100"]["value"] == pytest.approx(100 * missed)
    report = " ".join((config.out / "report.html").read_text(encoding="utf-8").split())
    assert "would be spared the sentinel node biopsy" in report
    assert "taken together: a patient&#39;s risk is 1 - P(N0)" in report
    assert (config.out / "figures" / "decision_curve.svg").is_file()


@pytest.mark.usefixtures("coarse_pictures")
def test_one_site_left_out_at_a_time(table: Callable[..., dict[str, Any]]) -> None:
    only_n0 = {(i, "nodes"): 0 for i in range(120) if (i // 12) % 5 == 4}
    config = study(table(only_n0, endpoint="n0-vs-npos", split={"leave_out": "site"}))
    result = run(config)
    folds = result.metrics["folds"]["clinical"]["by_fold"]  # type: ignore[index]
    assert [(f["held_out"], f["n"], f["positives"]) for f in folds] == [
        *((f"site {x}", 24, 12) for x in "ABCD"), ("site E", 24, 0),
    ]  # fmt: skip
    assert folds[4]["auc"] is None
    assert folds[4]["reasons"] == {"auc": "all 24 patients are negative, so there is no ROC curve"}
    table_of_folds = pd.read_csv(config.out / "tables" / "folds.csv", dtype=str)
    assert table_of_folds["site"].tolist()[:5] == [f"site {x}" for x in "ABCDE"]
    report = (config.out / "report.html").read_text(encoding="utf-8")
    assert "Leave-one-out by `site`: each of 5 folds" in report
    assert "whole groups, near 25% of the other patients, validate." in report
    assert "In the folds of site E the AUC is not defined" in report


def test_folds_are_shared_and_a_site_without_the_endpoint_is_no_fold(
    table: Callable[..., dict[str, Any]],
) -> None:
    only_n0 = {(i, "nodes"): 0 for i in range(120) if (i // 12) % 5 == 4}
    settings = table(
        only_n0, endpoints=["n0-vs-npos", "n1-2-vs-n3plus"], split={"leave_out": "site"}
    )
    first, second = run(study(settings), until="tile").endpoints.values()
    assert [p.held_out for p in second.partitions] == [f"site {x}" for x in "ABCD"]
    for whole, part in zip(first.partitions, second.partitions, strict=False):
        assert dict(part.cohort_of) == {p: whole.cohort_of[p] for p in second.cohort.labels()}


def test_a_problem_of_one_endpoint_names_it(table: Callable[..., dict[str, Any]]) -> None:
    cells = {(3, "grade"): "", (5, "nodes"): "many", (7, "age"): "old"}
    config = study(table(cells, endpoints=ENDPOINTS))
    causes = {(p.patient, p.cause) for p in check(config)}
    unclear = "`nodes` is 'many', which is no count of positive lymph nodes."
    assert causes == {
        ("p003", "endpoint grade-G1-vs-G2-vs-G3: `grade` is missing, none of 'G1', 'G2', 'G3'."),
        ("p005", f"endpoint n0-vs-npos: {unclear}"),
        ("p005", f"endpoint n1-2-vs-n3plus: {unclear}"),
        ("p007", "`age` is 'old', which is no number."),
    }
    record = json.loads((config.out / "check.json").read_text())
    assert record["patients"] == {"enrolled": 120, "usable": 119, "excluded": 1}
    assert [record["endpoints"][name]["usable"] for name in NAMES] == [118, 59, 118]
    # Left out of the endpoints that they spoil, and of no other.
    everybody = check_inputs(config, reporter=Silent(), memory=check_memory(config)).everybody
    assert everybody is not None
    here = [{p.patient_id for p in part.patients} for part in everybody.parts]
    assert [sorted({"p003", "p005", "p007"} & members) for members in here] == [
        ["p003"], ["p003"], ["p005"],
    ]  # fmt: skip
    for part in everybody.parts:
        assert len(part.patients) + len({e.patient_id for e in part.excluded}) == 120


def test_a_missing_column_is_told_of_its_endpoint(table: Callable[..., dict[str, Any]]) -> None:
    absent = {"column": "ki67", "negative": "low", "positive": "high"}
    (problem,) = check(study(table(endpoints=["n0-vs-npos", absent])))
    assert problem.cause.startswith("endpoint ki67-low-vs-high: ")


@pytest.mark.usefixtures("coarse_pictures")
def test_slides_are_cut_and_embedded_once(
    frozen_settings: dict[str, Any], work: Counter[str], tmp_path: Path
) -> None:
    grouped = {"column": "pr", "negative": "negative", "positive": "positive"}
    settings = {k: v for k, v in frozen_settings.items() if k != "endpoint"} | {
        "endpoints": ["n0-vs-npos", "n0-vs-n1-2", grouped],
        "methods": ("dl-cnb",),
        "threshold": 0.5,
        "out": tmp_path / "out",
    }
    config = study(settings)
    run(config, until="predict")
    assert (work["open_slide"], work["cut_patches"], work["extract_features"]) == (30, 30, 30)
    assert work["train"] == 3
    assert len(list((config.out / "features" / "small_cnn").iterdir())) == 30
    assert not list(config.out.glob("n0-vs-*/features"))
    models = list(config.out.glob("*/models/dl-cnb"))
    assert len(models) == 3
    for path in models:
        told = store.read_model_record(path)["encoder"]
        assert told["weights_digest"] is not None
        assert told["computing"] is not None
    run(config, until="predict")
    assert (work["cut_patches"], work["extract_features"], work["train"]) == (30, 30, 3)


def test_the_front_page_escapes_what_it_is_given() -> None:
    evil = "<script>alert(1)</script>"
    entry = EndpointEntry(
        title=evil, report=("a b:c", "report.html"), patients=1, mix=evil, excluded=((evil, 2),),
        highlights=(Highlight(evil, evil, evil),), summary=(evil,),
    )  # fmt: skip
    page = render_index(IndexPage(evil, True, 3, (entry,), shared=(evil,), version="1"))
    assert "<script" not in page
    assert 'href="./a%20b%3Ac/report.html"' in page
    assert "Generated data." in page
    assert "default-src 'none'" in page
