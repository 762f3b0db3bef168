"""Predictions corrected on a site's sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from typer.testing import CliRunner

from axilla.analysis.calibration import calibration
from axilla.analysis.recalibration import recalibration_from_json
from axilla.cli import app
from axilla.core.errors import StatisticsError
from axilla.study.recalibrating import recalibrate_predictions


def site(*, shift: float = 1.0, slope: float = 0.5, n: int = 1500) -> pd.DataFrame:
    """A model that is too sure and tells risks too low: a sample and others of one site."""
    rng = np.random.default_rng(5)
    told = rng.normal(-1, 1.5, n)
    label = rng.random(n) < expit(shift + slope * told)
    cohort = np.where(np.arange(n) < n // 3, "sample", "external")
    ids = [f"p{i}" for i in range(n)]
    return pd.DataFrame(
        {"patient_id": ids, "method": "m", "cohort": cohort, "label": label.astype(int),
         "score": expit(told), "spread": 0.1}
    )  # fmt: skip


def test_the_other_patients_are_calibrated_by_the_samples_correction() -> None:
    before = site()
    found = recalibrate_predictions(before, sample="sample", method="platt")
    assert set(found.frame["cohort"]) == {"external"}
    assert "spread" not in found.frame.columns
    assert found.corrections["m"].slope == pytest.approx(0.5, abs=0.12)
    others = before[before["cohort"] == "external"]
    raw = calibration(others["label"], others["score"])
    after = calibration(found.frame["label"], found.frame["score"])
    assert raw.intercept.low > 0.5
    # What is left is the chance of 500 patients: a standard error of 0.1.
    assert after.intercept.value == pytest.approx(0, abs=0.3)
    assert after.slope.value == pytest.approx(1, abs=0.2)
    one = found.corrections["m"]
    expected = expit(one.intercept + one.slope * logit(others["score"].to_numpy()))
    np.testing.assert_allclose(found.frame["score"], expected)


def test_the_command_writes_both_files(tmp_path: Path) -> None:
    source, out = tmp_path / "predictions.csv", tmp_path / "new"
    site().to_csv(source, index=False)
    command = ["recalibrate", str(source), "--on", "sample", "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    record = json.loads((out / "recalibration.json").read_text(encoding="utf-8"))
    assert record["sample"] == "sample"
    one = recalibration_from_json(record["methods"]["m"])
    assert (one.method, one.n) == ("intercept", 500)
    assert "fitted on 500 patients" in result.output
    risks = [f"{expit(one.intercept + logit(p)):.1%}" for p in (0.1, 0.3, 0.5)]
    assert f"risks of 10%, 30%, 50% become {', '.join(risks)}" in " ".join(result.output.split())
    assert "note" not in record
    written = pd.read_csv(out / "predictions.csv")
    assert (len(written), set(written["cohort"])) == (1000, {"external"})


def test_patients_who_trained_the_model_are_no_sites_sample(tmp_path: Path) -> None:
    source, out = tmp_path / "predictions.csv", tmp_path / "new"
    site().replace({"cohort": {"sample": "train"}}).to_csv(source, index=False)
    command = ["recalibrate", str(source), "--on", "train", "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = "The patients of `train` trained the models"
    assert told in " ".join(result.output.split())
    record = json.loads((out / "recalibration.json").read_text(encoding="utf-8"))
    assert record["note"].startswith(told)


@pytest.mark.parametrize(
    ("sample", "change", "cause"),
    [
        ("other", {}, "there is no cohort `other`"),
        ("test", {"cohort": "test"}, "the test cohort is no sample"),
        ("sample", {"patient_id": "p0", "label": 0}, "patients of the cohort `sample` are in"),
    ],
)
def test_samples_that_are_refused(sample: str, change: dict[str, object], cause: str) -> None:
    frame = site(n=90)
    last = frame.index[-1]
    for column, value in change.items():
        frame.loc[last, column] = value
    with pytest.raises(StatisticsError, match=cause):
        recalibrate_predictions(frame, sample=sample, method="intercept")


def test_a_sample_too_small_names_method_and_cohort() -> None:
    with pytest.raises(StatisticsError, match="method m, cohort sample: "):
        recalibrate_predictions(site(n=24), sample="sample", method="intercept")
