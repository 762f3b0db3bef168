"""Another's model on a cohort of one's own: figures, who is measured, what the report says."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import axilla
from axilla.analysis.calibration import calibration_entry
from axilla.analysis.recalibration import apply_recalibration, fit_recalibration
from axilla.cli import app
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems, StoreError
from axilla.deploy.samples import ColumnSample, Recalibrate
from axilla.deploy.validating import Validation, validate
from axilla.study.chain import StudyResult, run
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Study = tuple["StudyConfig", StudyResult]


def patients(count: int, *, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """A table in which large tumours of young patients are positive more often."""
    rng = np.random.default_rng(seed)
    age = rng.normal(55, 11, count).clip(25, 90).round()
    size = rng.gamma(6, 0.4, count).clip(0.3, 9).round(1)
    risk = 1 / (1 + np.exp(-(-1.0 + shift + 0.9 * (size - 2.4) - 0.03 * (age - 55))))
    return pd.DataFrame(
        {
            "patient_id": [f"S{seed}-{n:04d}" for n in range(count)],
            "age": age.astype(int), "tumor_size_cm": size,
            "er": rng.choice(["positive", "negative"], count, p=[0.75, 0.25]),
            "pr": rng.choice(["positive", "negative"], count, p=[0.7, 0.3]),
            "her2": rng.choice(["positive", "negative"], count, p=[0.25, 0.75]),
            "nodes": rng.binomial(1, risk), "ward": rng.choice(["A", "B"], count, p=[0.4, 0.6]),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A clinical study, trained and measured at home; not to be changed."""
    folder = tmp_path_factory.mktemp("home")
    patients(400, seed=1).to_csv(folder / "cohort.csv", index=False)
    config = StudyConfig.model_validate(
        {
            "name": "Home", "cohort": folder / "cohort.csv", "endpoint": "n0-vs-npos",
            "methods": ["clinical"], "out": folder / "out",
        }
    )  # fmt: skip
    return config, run(config, until="evaluate")


def model(study: Study, method: str = "clinical") -> Path:
    return Layout(study[0].out).model(method, "split")


@pytest.fixture(scope="module")
def elsewhere_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """260 patients of another place where positive nodes are more frequent; two cannot be read."""
    frame = patients(260, seed=2, shift=0.8).astype(object)
    frame.loc[4, "age"] = ""
    frame.loc[7, "nodes"] = ""
    path: Path = tmp_path_factory.mktemp("elsewhere") / "table.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def external(home: Study, elsewhere_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The home model measured elsewhere and recalibrated on ward A; not to be changed."""
    study = elsewhere_table.parent / "study.yaml"
    study.write_text(
        "name: <b>Elsewhere</b>\ncohort: table.csv\nendpoint: n0-vs-npos\nprevalence: [0.2]\n"
        "threshold: 0.5\n",
        encoding="utf-8",
    )
    return validate(
        model(home), study, out=tmp_path_factory.mktemp("external") / "out", exclude_failed=True,
        recalibrate=Recalibrate("platt", ColumnSample("ward", "A")),
    )  # fmt: skip


def page_of(found: Validation) -> str:
    return re.sub(r"data:[^\"']*", "", found.report.read_text(encoding="utf-8"))


def test_on_a_studys_own_test_patients_the_figures_are_the_studys(
    home: Study, tmp_path: Path
) -> None:
    config, result = home
    assert result.metrics is not None
    people = result.partitions[0].members("test")
    table = pd.read_csv(config.cohort, dtype=str, keep_default_na=False)
    table[table["patient_id"].isin(people)].to_csv(tmp_path / "test.csv", index=False)
    study = config.model_copy(update={"cohort": tmp_path / "test.csv"})
    found = axilla.validate(model(home), study, out=tmp_path / "out")
    metrics = store.read_json(found.layout.metrics)
    ours, theirs = metrics["methods"]["clinical"]["test"], dict(
        store.read_json(Layout(config.out).metrics)["methods"]["clinical"]["test"]
    )  # fmt: skip
    points = {point["threshold"]: point for point in theirs.pop("operating_points")}
    own = ours.pop("operating_points")
    assert ours == theirs, "to the last digit"
    assert ours["n"] == len(people) == 80
    # Only what the model brings, and the fixed one, can be measured without its validation cohort.
    assert [point["rule"] for point in own] == ["youden-validation", 0.5]
    assert all(points[point["threshold"]] == point for point in own)
    assert metrics["subgroups"] == store.read_json(Layout(config.out).metrics)["subgroups"]


def test_a_model_of_slides_gives_its_own_studys_scores(
    trained: Study, elsewhere: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    study = elsewhere(encoder={"name": "small_cnn", "weights": trained[0].encoder.weights})
    found = validate(model(trained, "dl-cnb+c"), study, out=tmp_path / "out")
    table = store.read_predictions(Layout(trained[0].out).predictions)
    theirs = table[(table["method"] == "dl-cnb+c") & (table["cohort"] == "test")]
    ours = store.read_predictions(found.layout.predictions)
    assert ours.set_index("patient_id")["score"].to_dict() == pytest.approx(
        theirs.set_index("patient_id")["score"].to_dict(), abs=1e-12
    )
    page = page_of(found)
    assert "Slides cut into patches" in page
    assert "Patches a patient" in page
    assert "look like those of training cannot be told: 18 training patients are too few" in page
    assert "trained on a generated cohort" in page
    assert "This cohort is generated" not in page, "the folder elsewhere does not say so"
    assert "learned from outlined tumour" not in page
    tissue = study.model_copy(update={"regions": "tissue"})
    all_tissue = page_of(validate(model(trained, "dl-cnb+c"), tissue, out=tmp_path / "tissue"))
    assert "of 6 of 6 slides here it looks at all tissue" in all_tissue


def test_the_sample_is_measured_nowhere(
    home: Study, elsewhere_table: Path, external: Validation
) -> None:
    table = pd.read_csv(elsewhere_table, dtype=str, keep_default_na=False)
    usable = table[(table["age"] != "") & (table["nodes"] != "")]
    ward = set(usable.loc[usable["ward"] == "A", "patient_id"])
    predictions = store.read_predictions(external.layout.predictions)
    by = {name: set(rows["patient_id"]) for name, rows in predictions.groupby("cohort")}
    assert by == {"sample": ward, "test": set(usable["patient_id"]) - ward}
    (by_cohort,) = external.metrics["methods"].values()
    assert list(by_cohort) == ["test"]
    assert by_cohort["test"]["n"] == len(by["test"]) == 258 - len(ward)
    corrected = store.read_predictions(external.layout.out / "recalibrated" / "predictions.csv")
    assert set(corrected["patient_id"]) == by["test"]
    page = page_of(external)
    assert f"{len(ward)} further patients served to recalibrate" in page
    assert "Recalibration only, not measured" in page
    assert home[0].name in page


def test_before_and_after_are_of_the_same_measured_patients(external: Validation) -> None:
    predictions = store.read_predictions(external.layout.predictions)
    sample = predictions[predictions["cohort"] == "sample"]
    test = predictions[predictions["cohort"] == "test"]
    fitted = fit_recalibration(sample["label"], sample["score"], method="platt")
    record = store.read_json(external.layout.out / "recalibrated" / "recalibration.json")
    assert record["methods"]["clinical"] == fitted.to_json()
    after = calibration_entry(test["label"], apply_recalibration(fitted, test["score"]))
    before = calibration_entry(test["label"], test["score"])
    printed = pd.read_csv(external.layout.tables / "recalibration.csv").set_index("Method")
    ratio = printed["O/E"].str.split().str[0].astype(float)
    assert ratio["Recalibrated here"] == round(after["observed_expected"]["value"], 2)
    assert ratio["Model's own probability"] == round(before["observed_expected"]["value"], 2)
    # More are positive here than at home: the model tells risks too low until it is corrected.
    assert ratio["Model's own probability"] > 1.2 > ratio["Recalibrated here"]


def test_the_locked_threshold_is_the_models(home: Study, external: Validation) -> None:
    record = store.read_model_record(model(home))
    entry = external.metrics["methods"]["clinical"]["test"]
    assert entry["threshold"] == record["threshold"]["value"]
    assert external.metrics["threshold_rule"] == "youden-validation"
    assert external.told == (
        "threshold: the study's rule is not used; the threshold is locked in the model.",
    )
    assert "the study&#39;s rule is not used" in page_of(external)


def test_the_report_says_what_it_is_and_never_that_anything_was_trained_here(
    external: Validation,
) -> None:
    page = page_of(external)
    gained = re.search(
        r"Recalibrated here&#39;: the measured patients&#39; Brier score is (0\.\d+), after "
        r"(0\.\d+) as the model comes; it is better",
        page,
    )
    assert gained is not None
    assert float(gained[1]) < float(gained[2])
    for text in (
        "external validation", "locked in the model before it saw these patients",
        "Whether somebody here was a training patient of the model cannot be told",
        "The training cohort beside this one", "AUC, binomial exact", "AUC, DeLong",
        "`age` is missing.", "Left out on purpose: a TRIPOD+AI checklist",
        "would be needed (Riley 2021", "Predictive values at other prevalences",
        "&lt;b&gt;Elsewhere&lt;/b&gt;",
    ):  # fmt: skip
        assert text in page
    for wrong in (
        "Independent test", "the test cohort", "validation cohort and are applied",
        "Training patients fitted", "chosen on validation", "Training: Adam", "Table 1 counts",
        "<b>Elsewhere", "TRIPOD+AI, items",
    ):  # fmt: skip
        assert wrong not in page
    assert str(external.layout.out) not in page


def test_cohorts_stand_side_by_side_without_small_groups(home: Study, external: Validation) -> None:
    table = pd.read_csv(external.layout.tables / "cohorts.csv", keep_default_na=False)
    found = table.set_index("Characteristic")
    record = store.read_model_record(model(home))["training_cohort"]
    entry = external.metrics["methods"]["clinical"]["test"]
    assert found.loc["Patients", "Training"] == str(record["patients"])
    assert found.loc["Patients", "This cohort"] == str(entry["n"])
    assert found.loc["Age, years", "Training"].startswith(f"{record['numbers']['age']['mean']:.2f}")
    assert len(table) < 25, "aggregates, no patient a row"


@pytest.mark.parametrize("older", [False, True])
def test_numbers_outside_the_trained_range_are_told_by_what_the_range_is(
    home: Study, tmp_path: Path, *, older: bool
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model(home), folder)
    ends = "the lowest and the highest ten training patients are at"
    record = store.read_json(folder / "model.json")
    low, high = record["clinical"]["ranges"][0]
    told = f"{low:.4g} to {high:.4g}"
    if older:
        record["clinical"] |= {"version": 2, "ranges": [[31, 79], [0.8, 5.5]]}
        del record["clinical"]["centiles"]
        (folder / "model.json").write_text(json.dumps(record), encoding="utf-8")
        ends, told = "98% of the training patients have", "31 to 79"
    frame = patients(100, seed=3)
    frame.loc[:11, "age"] = 95
    frame.to_csv(tmp_path / "table.csv", index=False)
    study = home[0].model_copy(update={"cohort": tmp_path / "table.csv"})
    page = page_of(validate(folder, study, out=tmp_path / "out"))
    (said,) = re.findall(r"`age` of (\d+) of 100 patients lies outside ([^(]+) \(([^)]+)\)", page)
    assert 12 <= int(said[0]) <= 16
    assert said[1:] == (told, f"{ends} these")


def test_wrong_inputs_are_told_together_with_a_remedy_that_helps(
    home: Study, elsewhere_table: Path, tmp_path: Path
) -> None:
    config = StudyConfig.model_validate(
        {"cohort": elsewhere_table, "endpoint": "n0-vs-npos", "methods": ["clinical"]}
    )
    with pytest.raises(InputProblems) as error:
        validate(model(home), config, out=tmp_path / "out")
    assert sorted(problem.patient or "" for problem in error.value.problems) == [
        "S2-0004", "S2-0007",
    ]  # fmt: skip
    remedies = " ".join(problem.remedy for problem in error.value.problems)
    assert "clinical.missing" not in remedies, "the policy is the model's"


def test_no_study_and_no_other_validation_is_written_over(
    home: Study, elsewhere_table: Path, tmp_path: Path
) -> None:
    study = home[0].model_copy(update={"cohort": elsewhere_table})
    before = Layout(home[0].out).metrics.read_bytes()
    with pytest.raises(StoreError, match="a study that trains models"):
        validate(model(home), study, out=home[0].out)
    assert Layout(home[0].out).metrics.read_bytes() == before
    (tmp_path / "validation.json").write_text(json.dumps({"weights_sha256": "0" * 64}), "utf-8")
    with pytest.raises(StoreError, match="validation of another model"):
        validate(model(home), study, out=tmp_path)


def test_the_command_tells_mistakes_in_sentences_and_where_the_report_is(
    home: Study, elsewhere_table: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(f"cohort: {elsewhere_table}\nendpoint: n0-vs-npos\n", encoding="utf-8")
    command = ["validate", str(model(home)), str(study), "--out", str(tmp_path / "out")]
    wrong = CliRunner().invoke(app, [*command, "--recalibrate", "platt"])
    assert "not said on whom" in str(wrong.exception)
    few = CliRunner().invoke(
        app, [*command, "--exclude-failed", "--recalibrate", "isotonic",
              "--recalibrate-share", "0.3"],
    )  # fmt: skip
    assert "isotonic recalibration asks for 500" in str(few.exception)
    assert not (tmp_path / "out" / "report.html").exists()
