"""The checklist, the digests and the numbers behind figures, of a whole small study."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.core.methods import method_title
from axilla.study.chain import run
from axilla.study.figure_numbers import box_numbers, confusion_numbers
from axilla.study.layout import Layout
from axilla.study.report_parts import further_parts
from axilla.study.tripod_answers import COMPLETE, TO_WRITE
from axilla.study.tripod_items import TRIPOD_ITEMS


@pytest.fixture
def settings(plain_study: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Forty patients with clinical data only; one of them lacks the age."""
    rng = np.random.default_rng(4)
    rows = [
        f"P{n:02d},{rng.integers(30, 80)},{rng.uniform(0.5, 5):.1f},positive,negative,negative,"
        f"{n % 2}"
        for n in range(40)
    ]
    rows.append("P40,,1.0,positive,negative,negative,1")
    return plain_study(rows, []) | {"methods": ("clinical",), "slides": None, "threshold": 0.5}


def downloads(page: str) -> dict[str, str]:
    """Every download of a report by its name."""
    found = re.findall(r'href="data:text/csv;[^,]*,([^"]*)" download="([^"]*)"', page)
    return {name: base64.b64decode(body).decode("utf-8-sig") for body, name in found}


def test_the_items_are_those_of_tripod_ai() -> None:
    # Collins 2024: 27 items, 52 with their parts.
    numbers = [item.number for item in TRIPOD_ITEMS]
    assert len(numbers) == len(set(numbers)) == 52
    assert list(dict.fromkeys(re.sub(r"\D", "", n) for n in numbers)) == [
        str(n) for n in range(1, 28)
    ]
    assert [n for n in numbers if n.startswith("12")] == [f"12{letter}" for letter in "abcdefg"]


def test_the_report_of_a_clinical_study(settings: dict[str, Any], coarse_pictures: None) -> None:
    config = StudyConfig.model_validate(settings)
    result = run(config, exclude_failed=True)
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    found = downloads(page)

    rows = {row["Item"]: row for row in csv.DictReader(io.StringIO(found["tripod.csv"]))}
    assert (config.out / "tables" / "tripod.csv").read_text(encoding="utf-8") == found["tripod.csv"]
    known, left = "What this study knows", "Left to the authors"
    for number in ("2", "3a", "5b", "6a", "8c", "14", "17", "18a", "18d", "19", "25", "26"):
        assert (rows[number][known], rows[number][left]) == ("", TO_WRITE)
    assert "Patients who left for one: 1." in rows["11"][known]
    assert "fixed at 0.5" in rows["15"][known]
    assert "chose" not in rows["12a"][known], "no validation patient chose anything"
    assert rows["12f"][known] == "No model was updated or recalibrated."
    mix = "; ".join(
        f"{title} {len(members)}"
        for title, members in (
            (name, result.partitions[0].members(side))  # type: ignore[arg-type]  # the three names
            for name, side in (("training", "train"), ("validation", "val"), ("test", "test"))
        )
    )
    for size in re.findall(r"\d+", mix):
        assert f" {size} (" in rows["21"][known]
    assert rows["21"][left] == COMPLETE

    digests = {
        row["File"]: row["SHA-256"] for row in csv.DictReader(io.StringIO(found["files.csv"]))
    }
    for name, digest in digests.items():
        path = config.cohort if name == config.cohort.name else config.out / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert {
        "predictions.csv",
        "models/clinical/model.json",
        "models/clinical/model.safetensors",
    } < (set(digests))

    numbers = list(csv.DictReader(io.StringIO(found["confusion_clinical_test.csv"])))
    assert result.metrics is not None
    counts = result.metrics["methods"]["clinical"]["test"]["confusion"]
    shown = {(r["true"], r["called"]): r["patients"] for r in numbers}
    assert shown["N(+)", "N0"] == str(counts["fn"])
    assert sum(map(int, shown.values())) == sum(counts.values())
    assert "score_median" in found["scores_clinical_test.csv"]
    for name in ("confusion_clinical_test.csv", "scores_clinical_test.csv"):
        assert "P00" not in found[name], "no patient's row"
        written = config.out / "figures" / name
        assert written.read_text(encoding="utf-8") == found[name], "one layout, not two"

    text = re.sub(r"<[^>]+>", " ", page)
    assert "The threshold 0.5 was fixed beforehand" in text
    assert "Training and test patients come from one table" in text
    assert str(config.out.parent) not in page


def test_digests_of_many_models_are_one(
    settings: dict[str, Any], coarse_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axilla.study.provenance.MOST_MODELS", 2)
    config = StudyConfig.model_validate(settings | {"split": {"folds": 3}})
    result = run(config, exclude_failed=True)
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    (row,) = (
        row
        for row in csv.DictReader(io.StringIO(downloads(page)["files.csv"]))
        if row["What"].startswith("Models clinical")
    )
    records = sorted(p.relative_to(config.out).as_posix() for p in config.out.rglob("model.json"))
    assert row["What"] == f"Models clinical: {len(records)} records, each with its weights' digest"
    lines = "".join(
        f"{hashlib.sha256((config.out / name).read_bytes()).hexdigest()}  {name}\n"
        for name in records
    )
    assert row["SHA-256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert "the ensemble of all folds&#39; models was itself not tested" in page


def test_what_a_clinic_asks_has_sections(settings: dict[str, Any], coarse_pictures: None) -> None:
    config = StudyConfig.model_validate(settings | {"prevalence": [0.2]})
    result = run(config, until="evaluate", exclude_failed=True)
    layout = Layout(config.out)
    (layout.figures / "calibration_left-behind.svg").write_text("<svg/>", encoding="utf-8")
    assert result.metrics is not None
    parts = {
        part.anchor: part
        for part in further_parts(
            layout, result.metrics, classes=result.cohort.classes, of_nodes=True
        )
    }
    assert list(parts) == ["cross-table", "calibration", "decision", "subgroups"]
    names = [table.csv_name for table in parts["decision"].tables]
    assert names == ["operating_points.csv", "decision.csv", "predictive_values.csv"]
    assert {row[2] for row in parts["decision"].tables[2].rows} == {"20"}
    methods = result.metrics["methods"]
    titles = [figure.title for figure in parts["calibration"].figures]
    assert titles == [f"Calibration, {method_title(method)}" for method in methods]
    assert [figure.csv_name for figure in parts["decision"].figures] == [
        "decision_curve.csv", "precision_recall.csv",
    ]  # fmt: skip
    assert {entry["method"] for entry in result.metrics["subgroups"]} == set(methods)
    spared, chosen = parts["decision"].paragraphs
    assert "sentinel node biopsy" in spared
    assert "chosen on the validation cohort" in chosen


def test_the_numbers_of_a_confusion_matrix() -> None:
    frame = confusion_numbers([[5, 1], [2, 3]], ("a", "b,c"))
    assert frame.to_dict("list") == {
        "true": ["a", "a", "b,c", "b,c"], "called": ["a", "b,c"] * 2, "patients": [5, 1, 2, 3],
    }  # fmt: skip


def test_the_numbers_of_boxes() -> None:
    scores = pd.DataFrame({"label": [0] * 5, "score": [0.1, 0.2, 0.3, 0.4, 0.5]})
    frame = box_numbers(("a", "b"), scores, threshold=0.45)
    found = {(r["quantity"], r["true"]): r["value"] for r in frame.to_dict("records")}
    # numpy's percentiles interpolate linearly: the 5th of five values is 0.1 + 0.2 * 0.1.
    assert float(found["score_whisker_low", "a"]) == pytest.approx(0.12)
    assert float(found["score_median", "a"]) == pytest.approx(0.3)
    assert float(found["threshold", ""]) == 0.45
    assert not any(true == "b" for _, true in found), "nobody is of this class"
