"""A generated study of 30 patients, trained once, whose bundles are applied elsewhere."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from axilla.cohorts.synthetic import SyntheticCohort, SyntheticConfig, generate_cohort
from axilla.core.config import Encoder, StudyConfig
from axilla.features.encoders import build_encoder
from axilla.study.chain import StudyResult, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The same sums on every machine, and no fight for its cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCohort:
    """30 patients of 420x320 pixels, of whom 12 are N(+)."""
    config = SyntheticConfig(width=420, height=320, patch=32)
    return generate_cohort(tmp_path_factory.mktemp("tiny"), patients=30, seed=5, config=config)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights for small_cnn, so that it can be used frozen."""
    path: Path = tmp_path_factory.mktemp("weights") / "small_cnn.safetensors"
    config = Encoder(name="small_cnn", weights="none", trainable=True)
    state = build_encoder(config, seed=3).body.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


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
