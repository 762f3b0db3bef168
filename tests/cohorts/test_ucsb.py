"""The UCSB breast images: the table from their names, and a small run on the images themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from axilla.cohorts.ucsb import write_ucsb_table
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import CohortError
from axilla.study.chain import check, run


def test_names_say_label_and_array(tmp_path: Path) -> None:
    for name in (
        "ytma10_010704_benign1_ccd.png", "ytma55_030603_malignant12_ccd.TIF", "Thumbs.db",
        "ytma10_010704_benign1_ccd.jpg", "ytma10_010704_unclear1_ccd.png",
    ):  # fmt: skip
        (tmp_path / name).touch()
    table = tmp_path / "deep" / "ucsb.csv"
    assert write_ucsb_table(tmp_path, table) == 2
    assert table.read_text(encoding="utf-8").splitlines() == [
        "patient_id,label,array",
        "ytma10_010704_benign1_ccd,benign,ytma10",
        "ytma55_030603_malignant12_ccd,malignant,ytma55",
    ]


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_a_folder_without_images(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match="holds no image named ytma<array>") as caught:
        write_ucsb_table(tmp_path / folder, tmp_path / "ucsb.csv")
    assert caught.value.problem.file == tmp_path / folder
    assert not (tmp_path / "ucsb.csv").exists()


@pytest.mark.real_data
def test_the_58_images(data_dir: Path, tmp_path: Path) -> None:
    table = tmp_path / "ucsb.csv"
    assert write_ucsb_table(data_dir / "ucsb", table) == 58
    frame = pd.read_csv(table)
    assert frame["label"].value_counts().to_dict() == {"benign": 32, "malignant": 26}
    assert frame["patient_id"].is_unique
    assert frame["array"].str.fullmatch(r"ytma\d+").all()
    # 896 x 768 pixels are 28 x 24 patches of 32; the paper's cut drops the blank ones.
    settings = {
        "cohort": table, "slides": data_dir / "ucsb", "regions": "whole",
        "endpoint": {"column": "label", "negative": "benign", "positive": "malignant"},
        "split": {"folds": 2, "validation": 0}, "threshold": 0.5, "methods": ("dl-cnb",),
        "patches": {"size": 32, "max_blank": 0.75, "white_level": 200},
        "bags": {"size": 8, "per_epoch": 1, "redraw": True},
        "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
        "training": {"epochs": 1, "batch_size": 8, "restarts": None}, "out": tmp_path / "out",
    }  # fmt: skip
    config = StudyConfig.model_validate(settings)
    assert check(config) == ()
    run(config, until="tile")
    paths = (tmp_path / "out" / "patches").iterdir()
    grids = {path.stem: store.read_grid(path) for path in paths}
    assert len(grids) == 58
    assert {len(grid) + grid.dropped for grid in grids.values()} == {672}
    kept = {name: len(grid) for name, grid in grids.items()}
    assert sum(kept.values()) == 27917
    assert min(kept.items(), key=lambda item: item[1]) == ("ytma55_030603_benign6_ccd", 215)
    assert max(kept.items(), key=lambda item: item[1]) == ("ytma10_010704_malignant1_ccd", 653)


@pytest.mark.real_data
def test_a_small_run(data_dir: Path, tmp_path: Path) -> None:
    """Sixteen of the images, patches of 128 pixels, one epoch: the chain holds on real tissue."""
    write_ucsb_table(data_dir / "ucsb", tmp_path / "all.csv")
    frame = pd.read_csv(tmp_path / "all.csv").groupby("label").head(8)
    frame.to_csv(tmp_path / "some.csv", index=False)
    settings = {
        "cohort": tmp_path / "some.csv", "slides": data_dir / "ucsb", "regions": "whole",
        "endpoint": {"column": "label", "negative": "benign", "positive": "malignant"},
        "split": {"test": 0.25, "validation": 0}, "threshold": 0.5, "methods": ("dl-cnb",),
        "patches": {"size": 128, "max_blank": 0.75, "white_level": 200},
        "bags": {"size": 8, "per_epoch": 1, "redraw": True},
        "encoder": {"name": "small_cnn", "weights": "none", "trainable": True, "input_px": 32},
        "training": {"epochs": 1, "batch_size": 8, "restarts": None, "augment": True},
        "out": tmp_path / "out",
    }  # fmt: skip
    run(StudyConfig.model_validate(settings), until="predict")
    scores = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert scores["cohort"].value_counts().to_dict() == {"train": 12, "test": 4}
    assert np.isfinite(scores["score"]).all()
