"""The learning curve: on training and validation patients, without a look at the test cohort."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from axilla.analysis.roc import auc
from axilla.cli import main
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import ConfigError
from axilla.core.progress import Silent
from axilla.mil.clinical import fit_logistic
from axilla.study import learning
from axilla.study.chain import prepare
from axilla.study.learning import learn_curves

HEADER = "patient_id,age,tumor_size_cm,er,pr,her2,nodes,split"


@pytest.fixture
def clinical(tmp_path: Path) -> StudyConfig:
    """160 patients whose nodes follow the size of the tumour: 100 train, 40 validate, 20 test."""
    return StudyConfig.model_validate(_clinical(tmp_path))


def _clinical(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = [HEADER]
    for number in range(160):
        size = rng.uniform(0.5, 5)
        positive = int(rng.random() < 1 / (1 + np.exp(2.5 - size)))
        split = "train" if number < 100 else "val" if number < 140 else "test"
        age = rng.integers(30, 80)
        rows.append(f"P{number},{age},{size:.2f},positive,negative,negative,{positive},{split}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {
        "cohort": str(folder / "cohort.csv"), "endpoint": "n0-vs-npos", "methods": ["clinical"],
        "split": {"column": "split"}, "out": str(folder / "out"),
    }  # fmt: skip


def test_a_clinical_curve(
    clinical: StudyConfig, coarse_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: set[str] = set()
    real = learning.scores_of

    def watched(fitting: Any, bundle: Any, patients: Any) -> Any:
        scored.update(patient.patient_id for patient in patients)
        return real(fitting, bundle, patients)

    monkeypatch.setattr(learning, "scores_of", watched)
    curves = learn_curves(clinical, repeats=3, reporter=Silent())
    curve = curves["n0-vs-npos"]["clinical"]
    # Without chance there is one training on all patients.
    assert [len(point.values) for point in curve.points] == [3, 3, 3, 1]
    assert [point.n for point in curve.points][-1] == 100
    assert scored == {f"P{number}" for number in range(100, 140)}, "validation, nobody else"

    # All patients: as the method itself, fitted and scored.
    (fitting,) = prepare(clinical, exclude_failed=False, reporter=Silent())
    (split,) = fitting.partitions
    model = fit_logistic(fitting.patients(split, "train"), classes=2, config=clinical.clinical)
    validating = fitting.patients(split, "val")
    area = auc([p.label for p in validating], model.predict(validating)[:, 1])
    assert curve.points[-1].mean == pytest.approx(area, abs=1e-12)

    out = clinical.out
    written = store.read_json(out / "learning_curve.json")
    assert written["cohort"] == "val"
    assert written["methods"]["clinical"] == curve.as_json()
    with (out / "tables" / "learning_curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["Training patients"] for row in rows] == [str(p.n) for p in curve.points]
    assert rows[-1]["Validation AUC"] == f"{area:.3f}"
    for name in ("tables/learning_curve.html", "figures/learning_curve.svg",
                 "figures/learning_curve.png"):  # fmt: skip
        assert (out / name).stat().st_size > 0
    assert not (out / "models").exists()
    assert not (out / "predictions.csv").exists()


def test_a_killed_run_goes_on(
    clinical: StudyConfig, coarse_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fitted = learning.fit_bundle, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        if len(fitted) == 4:
            raise KeyboardInterrupt
        fitted.append(args[2].name)
        return real(*args, **kwargs)

    monkeypatch.setattr(learning, "fit_bundle", counted)
    with pytest.raises(KeyboardInterrupt):
        learn_curves(clinical, repeats=2, reporter=Silent())
    monkeypatch.setattr(learning, "fit_bundle", real)
    whole = learn_curves(clinical, repeats=2, reporter=Silent())
    fitted.clear()
    monkeypatch.setattr(learning, "fit_bundle", counted)
    again = learn_curves(clinical, repeats=2, reporter=Silent())
    assert fitted == [], "everything is known"
    assert again == whole
    learn_curves(clinical, shares=(0.3,), repeats=2, reporter=Silent())
    assert len(fitted) == 2, "another share is trained"


def test_images_are_embedded_once_and_trained_on_each_part(
    frozen_settings: dict[str, Any], tmp_path: Path, coarse_pictures: None,
    work: dict[str, int],
) -> None:  # fmt: skip
    settings = frozen_settings | {
        "methods": ("dl-cnb",), "out": tmp_path / "out",
        "split": {"seed": 1, "test": 0.2, "validation": 0.25},
    }  # fmt: skip
    config = StudyConfig.model_validate(settings)
    curves = learn_curves(config, shares=(0.5, 1), repeats=2, reporter=Silent())
    curve = curves["n0-vs-npos"]["dl-cnb"]
    assert [len(point.values) for point in curve.points] == [2, 2]
    assert curve.points[0].n < curve.points[1].n
    assert curve.law is None
    assert work["train"] == 4
    assert not list((config.out / "learning").rglob("*.safetensors")), "no model is left"
    embedded = work["extract_features"]
    learn_curves(config, shares=(0.5, 1), repeats=3, reporter=Silent())
    assert work["train"] == 6
    assert work["extract_features"] == embedded


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": {"folds": 3}}, "this study is cross-validated"),
        ({"split": {"test": 0.2, "validation": 0}, "threshold": 0.5}, "nobody is in it"),
    ],
)
def test_what_has_no_curve_is_a_sentence(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    config = StudyConfig.model_validate(_clinical(tmp_path) | changes)
    with pytest.raises(ConfigError, match=said):
        learn_curves(config, reporter=Silent())


def test_the_command(
    tmp_path: Path,
    coarse_pictures: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(_clinical(tmp_path)), encoding="utf-8")

    def call(*options: str) -> int:
        monkeypatch.setattr(sys, "argv", ["axilla", "learning-curve", str(study), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert call("--shares", "0.5,1", "--repeats", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("learning  3 trainings")
    assert lines[2].startswith("Clinical data only")
    assert lines[-1].endswith("nothing is said of more patients: a law needs 4 sizes, and there "
                              "are 2.")  # fmt: skip
    assert call("--shares", "half") == 2
    assert "is no list of fractions" in capsys.readouterr().err
    assert call("--shares", "0.5,2") == 2
    assert "a share of 2 of the training patients" in capsys.readouterr().err
