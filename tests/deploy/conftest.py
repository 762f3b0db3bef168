"""A generated study of 30 patients, trained once, whose bundles are applied elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.loading import LoadedModel, load_model
from axilla.deploy.predicting import CaseResult, predict_case
from axilla.study.chain import StudyResult, run
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from axilla.cohorts.synthetic import SyntheticCohort


VALUES = ("age", "tumor_size_cm", "er", "pr", "her2")


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For every test here."""


@pytest.fixture(scope="session")
def settings(tiny: SyntheticCohort, weights: Path) -> dict[str, Any]:
    """The study of the tiny cohort, its encoder frozen, all in one stain, two members each."""
    return {
        "name": "Tiny",
        "cohort": tiny.table,
        "slides": tiny.slides,
        "annotations": tiny.annotations,
        "regions": "annotation",
        "endpoint": "n0-vs-npos",
        "patches": {"size": 32},
        "stain": {"method": "macenko", "target": "training"},
        "bags": {"size": 5},
        "encoder": {"name": "small_cnn", "weights": str(weights)},
        "methods": ["clinical", "dl-cnb", "dl-cnb+c"],
        "training": {"epochs": 2, "lr": 5.0e-3, "restarts": None, "seeds": 2},
    }


@pytest.fixture(scope="session")
def trained(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyConfig, StudyResult]:
    """The study, trained and scored; not to be changed."""
    out = tmp_path_factory.mktemp("trained") / "out"
    config = StudyConfig.model_validate(settings | {"out": out})
    return config, run(config, until="predict")


@pytest.fixture(scope="session")
def trained_whole(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyConfig, StudyResult]:
    """The same end to end, without stain; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    changes = {
        "stain": None, "methods": ["dl-cnb"], "out": out,
        "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
        "bags": {"size": 5, "redraw": True, "per_epoch": 1},
        "training": {"epochs": 1, "batch_size": 4, "restarts": None},
    }  # fmt: skip
    config = StudyConfig.model_validate(settings | changes)
    return config, run(config, until="predict")


@pytest.fixture(scope="session")
def case_of(trained: tuple[StudyConfig, StudyResult]) -> Callable[[int], CaseInput]:
    """The n-th test patient as a new case, with the values of the study's table."""
    config, result = trained
    table = pd.read_csv(config.cohort, dtype=str, keep_default_na=False).set_index("patient_id")

    def make(index: int) -> CaseInput:
        patient = result.partitions[0].members("test")[index]
        assert config.slides is not None
        assert config.annotation_folder is not None
        (slide,) = config.slides.glob(f"{patient}.*")
        (outline,) = config.annotation_folder.glob(f"{patient}.*")
        clinical = {name: table.loc[patient, name] for name in VALUES}
        return CaseInput((slide,), (outline,), clinical)

    return make


@pytest.fixture(scope="session")
def case(case_of: Callable[[int], CaseInput]) -> CaseInput:
    """The first test patient."""
    return case_of(0)


@pytest.fixture(scope="session")
def fused(trained: tuple[StudyConfig, StudyResult], weights: Path) -> LoadedModel:
    """The model of images and clinical values."""
    folder = Layout(trained[0].out).model("dl-cnb+c", "split")
    return load_model(folder, encoder_weights=weights)


@pytest.fixture(scope="session")
def clinical(trained: tuple[StudyConfig, StudyResult]) -> LoadedModel:
    """The model of clinical values alone."""
    return load_model(Layout(trained[0].out).model("clinical", "split"))


@pytest.fixture(scope="session")
def result(fused: LoadedModel, case: CaseInput) -> CaseResult:
    """What that model says of the first test patient; not to be changed."""
    return predict_case(fused, case)


@pytest.fixture(scope="session")
def with_record() -> Callable[..., LoadedModel]:
    """A model as if its record told something else."""

    def make(model: LoadedModel, **changes: Any) -> LoadedModel:
        record = {**model.record, **changes}
        return replace(model, bundle=replace(model.bundle, record=record))

    return make


@pytest.fixture
def elsewhere(
    trained: tuple[StudyConfig, StudyResult], tmp_path: Path
) -> Callable[..., StudyConfig]:
    """Another hospital's study of the test patients: their slides and rows in another folder."""

    def make(**changes: Any) -> StudyConfig:
        config, result = trained
        people = result.partitions[0].members("test")
        folder = tmp_path / "elsewhere"
        for name in ("slides", "annotations"):
            (folder / name).mkdir(parents=True)
            for path in getattr(config, name).iterdir():
                if path.stem in people:
                    shutil.copy(path, folder / name)
        table = pd.read_csv(config.cohort, dtype=str, keep_default_na=False)
        table[table["patient_id"].isin(people)].to_csv(folder / "cohort.csv", index=False)
        own = {
            "name": "Elsewhere", "cohort": folder / "cohort.csv", "slides": folder / "slides",
            "annotations": folder / "annotations", "regions": "annotation",
            "endpoint": "n0-vs-npos", "out": folder / "unused",
        }  # fmt: skip
        return StudyConfig.model_validate(own | changes)

    return make
