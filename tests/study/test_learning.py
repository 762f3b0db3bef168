"""The learning curve: on training and validation patients, without a look at the test cohort."""

from __future__ import annotations

import csv
import re
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
from axilla.study.chain import check, prepare
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


def test_endpoints_share_slides_and_features_with_their_curves(
    frozen_settings: dict[str, Any], tmp_path: Path, coarse_pictures: None,
    work: dict[str, int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each has a folder of its own, below which its trainings lie; two are of one column."""
    real, encoders = learning.fit_bundle, []

    def watched(*args: Any, **kwargs: Any) -> Any:
        bundle = real(*args, **kwargs)
        encoders.append(bundle.record["encoder"])
        return bundle

    monkeypatch.setattr(learning, "fit_bundle", watched)
    turned = [
        {"column": "pr", "negative": one, "positive": other}
        for one, other in (("negative", "positive"), ("positive", "negative"))
    ]
    settings = {k: v for k, v in frozen_settings.items() if k != "endpoint"} | {
        "endpoints": turned, "methods": ("dl-cnb",), "out": tmp_path / "out",
        "split": {"seed": 1, "test": 0.2, "validation": 0.25},
    }  # fmt: skip
    config = StudyConfig.model_validate(settings)
    found = learn_curves(config, shares=(0.5, 1), repeats=1, reporter=Silent())
    names = ["pr-negative-vs-positive", "pr-positive-vs-negative"]
    assert list(found) == names
    assert work["train"] == 4
    assert not [told for told in encoders if told["weights_digest"] is None]
    assert not [told for told in encoders if told["computing"] is None]
    for name in names:
        written = store.read_json(config.out / name / "learning_curve.json")
        assert written["methods"]["dl-cnb"] == found[name]["dl-cnb"].as_json()
        assert [len(p["values"]) for p in written["methods"]["dl-cnb"]["points"]] == [1, 1]


def _rare(folder: Path, *, ages: int = 100) -> StudyConfig:
    """`_clinical` with `her2` equivocal in one patient who trains and in one who validates.

    `age` varies among the first `ages` patients alone.
    """
    settings = _clinical(folder)
    table = Path(settings["cohort"])
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    rows[1][5] = rows[101][5] = "equivocal"
    for row in rows[1 + ages :]:
        row[1] = "50"
    table.write_text("\n".join(map(",".join, rows)) + "\n", encoding="utf-8")
    return StudyConfig.model_validate(settings)


def test_a_category_that_a_part_lacks_does_not_stop_the_curve(
    tmp_path: Path, coarse_pictures: None
) -> None:
    config = _rare(tmp_path)
    assert config.clinical.unseen == "error"
    assert check(config) == ()
    curve = learn_curves(config, repeats=3, reporter=Silent())["n0-vs-npos"]["clinical"]
    assert [len(point.values) for point in curve.points] == [3, 3, 3, 1]
    (note,) = curve.notes
    assert re.fullmatch(
        r"in \d trainings no training patient had `her2` 'equivocal', which validation patients "
        "have: it was taken for none of the known categories", note,
    )  # fmt: skip
    (fitting,) = prepare(config, exclude_failed=False, reporter=Silent())
    (split,) = fitting.partitions
    model = fit_logistic(fitting.patients(split, "train"), classes=2, config=config.clinical)
    validating = fitting.patients(split, "val")
    area = auc([p.label for p in validating], model.predict(validating)[:, 1])
    assert curve.points[-1].mean == pytest.approx(area, abs=1e-12), "all patients: as it was"
    page = (config.out / "tables" / "learning_curve.html").read_text(encoding="utf-8")
    assert "taken for none of the known categories" in page


def test_a_part_that_cannot_be_learned_from_is_left_out_with_its_reason(
    tmp_path: Path, coarse_pictures: None
) -> None:
    config = _rare(tmp_path, ages=1)
    assert check(config) == ()
    curve = learn_curves(config, repeats=3, reporter=Silent())["n0-vs-npos"]["clinical"]
    constant = [note for note in curve.notes if "`age` does not vary" in note]
    trained = sum(len(point.values) for point in curve.points)
    assert constant
    assert len(constant) + trained == 10
    assert constant[0] == (
        "25% of the training patients, repeat 1, was not trained: this share is too small, `age` "
        "does not vary among the training patients"
    )
    written = store.read_json(config.out / "learning_curve.json")
    assert written["methods"]["clinical"]["notes"] == list(curve.notes)
    only = learn_curves(config, shares=(0.1,), repeats=1, reporter=Silent())
    assert only["n0-vs-npos"]["clinical"].points == ()


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
    both = [{"column": "nodes", "negative": a, "positive": b} for a, b in ("01", "10")]
    several = {k: v for k, v in _clinical(tmp_path).items() if k != "endpoint"} | {
        "endpoints": both
    }
    study.write_text(yaml.safe_dump(several), encoding="utf-8")
    assert call("--shares", "1", "--repeats", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if line.startswith("endpoint")]
    assert named == ["endpoint  nodes-0-vs-1", "endpoint  nodes-1-vs-0"]
    assert len([line for line in lines if line.startswith("Clinical data only  ")]) == 2
    assert call("--shares", "half") == 2
    assert "is no list of fractions" in capsys.readouterr().err
    assert call("--shares", "0.5,2") == 2
    assert "a share of 2 of the training patients" in capsys.readouterr().err
