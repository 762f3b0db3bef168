"""Clinical values that are missing or new, from the table to the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from axilla.analysis.metrics import evaluate
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.study.chain import check, run


def table(**changes: dict[int, str]) -> pd.DataFrame:
    """Sixty patients: rows 0 to 35 train, 36 to 47 validate, 48 to 59 are tested."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(60)],
            "nodes": [str(i % 2) for i in range(60)],
            "age": [f"{v:.0f}" for v in rng.uniform(30, 80, 60)],
            "tumor_size_cm": [f"{v:.1f}" for v in rng.uniform(0.5, 5, 60)],
            "er": [("positive", "negative")[v] for v in rng.integers(0, 2, 60)],
            "split": ["train"] * 36 + ["val"] * 12 + ["test"] * 12,
        }
    )
    for column, cells in changes.items():
        for row, value in cells.items():
            frame.loc[row, column] = value
    return frame


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., StudyConfig]:
    def make(frame: pd.DataFrame, **settings: Any) -> StudyConfig:
        frame.to_csv(tmp_path / "cohort.csv", index=False)
        return StudyConfig.model_validate(
            {
                "cohort": tmp_path / "cohort.csv",
                "endpoint": "n0-vs-npos",
                "split": {"column": "split"},
                "methods": ["clinical", "clinical-boosting"],
                "clinical": {"categorical": ["er"]},
                "out": tmp_path / "out",
                **settings,
            }
        )

    return make


def test_check_names_every_patient_with_an_unseen_category(study):
    frame = table(er={40: "equivocal", 50: "low", 51: "low"})
    problems = check(study(frame))
    assert [(p.patient, p.cause) for p in problems] == [
        (f"p{row}", f"`er` is '{name}', which no training patient has (negative, positive).")
        for row, name in ((40, "equivocal"), (50, "low"), (51, "low"))
    ]
    assert problems[0].remedy == (
        "Correct the value, take the patient out, or set clinical.unseen: unknown."
    )
    unknown = {"categorical": ["er"], "unseen": "unknown"}
    assert check(study(frame, clinical=unknown)) == ()


def blank(path: Path) -> None:
    """Make a slide white."""
    cv2.imwrite(str(path), np.full((96, 96, 3), 255, np.uint8))


@pytest.mark.parametrize("several", [False, True])
def test_a_category_whose_only_training_patient_leaves_at_tiling_stops_before_training(
    plain_study: Callable[..., dict[str, Any]], work: Counter[str], *, several: bool
) -> None:
    split = ["train"] * 6 + ["val"] * 4 + ["test"] * 4
    er = {0: "low", 12: "low"}
    rows = [f"p{i},{40 + i},{er.get(i, 'high')},{i % 2},{split[i]}" for i in range(14)]
    settings = plain_study(
        rows, [f"p{i}" for i in range(14)], header="patient_id,age,er,nodes,split"
    )
    if several:
        turned = {"column": "nodes", "negative": "1", "positive": "0"}
        settings["endpoints"] = [settings.pop("endpoint"), turned]
    settings |= {
        "regions": "whole", "methods": ("dl-cnb", "clinical"), "split": {"column": "split"},
        "clinical": {"numeric": ["age"], "categorical": ["er"]},
    }  # fmt: skip
    blank(settings["slides"] / "p0.png")
    config = StudyConfig.model_validate(settings)
    assert check(config) == ()
    with pytest.raises(InputProblems) as caught:
        run(config, exclude_failed=True)
    (problem,) = caught.value.problems
    assert (problem.patient, problem.code) == ("p12", "unseen")
    assert problem.cause == (
        "without the patients who left after the inputs were checked (p0), `er` is 'low', which no "
        "training patient has (high)."
    )
    assert (work["cut_patches"], work["train"], work["fit_logistic"]) == (14, 0, 0)
    unknown = {"clinical": settings["clinical"] | {"unseen": "unknown"}}
    result = run(StudyConfig.model_validate(settings | unknown), until="train", exclude_failed=True)
    assert [e.patient_id for e in result.cohort.excluded] == ["p0"]


def test_all_that_was_made_up_is_counted_and_told(study):
    frame = table(age={1: "", 2: "", 49: ""}, tumor_size_cm={37: ""}, er={3: "", 50: "low", 51: ""})
    clinical = {"categorical": ["er"], "missing": "impute", "unseen": "unknown"}
    result = run(study(frame, clinical=clinical))
    assert result.metrics["methods"]["clinical-boosting"]["test"]["n"] == 12
    assert result.metrics["methods"]["clinical"]["test"]["n"] == 12
    report = " ".join(result.report.read_text(encoding="utf-8").split())
    by = "numbers by the training patients' mean, categories by their most frequent one"
    unflagged = "without a flag, because no training patient lacked one of the column"
    new = "of a category that no training patient had, taken as none of the known ones"
    for sentence in (
        f"Training: 3 clinical values were missing and imputed (age 2, er 1), {by}.",
        f"Validation: 1 clinical value was missing and imputed (tumor_size_cm 1), {by}.",
        f"Validation: 1 clinical value was imputed {unflagged} (tumor_size_cm 1), in patient p37.",
        f"Independent test: 2 clinical values were missing and imputed (age 1, er 1), {by}.",
        f"Independent test: 1 clinical value was {new} (er 'low' 1), in patient p50.",
        "Clinical data (age, years, tumor_size_cm, cm, er): numbers standardised",
        "gradient boosting has 100 trees of depth 2",
    ):
        assert sentence in report.replace("&#39;", "'"), sentence
    assert "test: 1 clinical value was imputed without" not in report


def test_nothing_is_told_where_nothing_was_made_up(study):
    result = run(study(table(), clinical={"categorical": ["er"], "missing": "impute"}))
    assert "imputed (" not in result.report.read_text(encoding="utf-8")


def test_folds_count_a_patient_once(study):
    frame = table(age={1: "", 2: ""})
    config = study(
        frame,
        clinical={"categorical": ["er"], "missing": "impute"},
        split={"folds": 3, "repeats": 2},
        methods=["clinical"],
    )
    report = " ".join(run(config).report.read_text(encoding="utf-8").split())
    assert "All folds: 2 clinical values were missing and imputed (age 2)" in report


def test_table_1_and_t_stage_of_a_size_in_mm(study, tmp_path: Path):
    frame = table()
    in_mm = frame.assign(tumor_size_mm=[f"{10 * float(v):g}" for v in frame["tumor_size_cm"]]).drop(
        columns="tumor_size_cm"
    )
    tables = []
    for data, columns in ((frame, ["age", "tumor_size_cm"]), (in_mm, ["age", "tumor_size_mm"])):
        config = study(
            data,
            clinical={"numeric": columns, "categorical": ["er"]},
            methods=["clinical"],
            out=tmp_path / columns[1],
        )
        run(config, until="evaluate")
        tables.append((config.out / "tables" / "table1.csv").read_text(encoding="utf-8"))
    rows = [
        [line for line in text.splitlines() if line[:3] in {"T s", "T1,", "T2 ", '"Tu'}]
        for text in tables
    ]
    stages = [[line for line in lines if not line.startswith('"Tumor size')] for lines in rows]
    assert stages[0] == stages[1]
    assert any("Tumor size, mm" in line for line in rows[1])


def test_every_score_tells_what_was_filled_in_for_it(study):
    frame = table(age={3: "", 50: ""}, er={50: "", 51: "low"})
    clinical = {"categorical": ["er"], "missing": "impute", "unseen": "unknown"}
    config = study(frame, clinical=clinical, threshold=0.5)
    metrics = run(config, until="evaluate").metrics
    scores = store.read_predictions(config.out / "predictions.csv")
    assert list(scores.columns)[-2:] == ["score", "imputed"]
    for method in ("clinical", "clinical-boosting"):
        rows = scores[scores["method"] == method].set_index("patient_id")["imputed"]
        assert rows[rows != ""].to_dict() == {"p3": "age", "p50": "age;er", "p51": "er"}
    written = (config.out / "predictions.csv").read_text()
    assert written.count(",age;er\n") == 2
    assert written.count(",\n") == 114  # nothing was filled in
    for table_of in (scores, scores.drop(columns="imputed")):
        found = evaluate(table_of, endpoint="n0-vs-npos", threshold_rule=0.5)
        assert found["methods"] == metrics["methods"]
