"""BCNB to a study: the authors' real bag files."""

from __future__ import annotations

import shutil
import tarfile
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import yaml

from axilla.core.config import load_config
from axilla.core.errors import InputProblems
from axilla.core.given_bags import read_bags
from axilla.study.chain import check
from axilla.study.importing import import_bcnb

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authors(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' bag files of all tasks and their tables, without patches."""
    folder: Path = tmp_path_factory.mktemp("authors")
    (folder / "json").mkdir()
    with tarfile.open(data_dir / "bcnb" / "splits" / "splits.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".json"):
                (folder / "json" / member.name.split("/")[-1]).write_bytes(file.read())
    shutil.copytree(data_dir / "bcnb" / "clinical_preprocessed", folder / "clinical_data")
    return folder


COHORTS_OF = {
    0: {"train": 630, "val": 210, "test": 218},
    1: {"train": 237, "val": 81, "test": 85},
    2: {"train": 627, "val": 213, "test": 218},
    3: {"train": 518, "val": 175, "test": 172},
    4: {"train": 510, "val": 165, "test": 173},
}
PATCHES = {0: 72_010, 1: 25_370, 2: 72_010, 3: 59_540, 4: 59_110}


@pytest.mark.real_data
@pytest.mark.parametrize("task", range(5))
def test_the_real_bag_files(task: int, authors: Path, data_dir: Path, tmp_path: Path) -> None:
    real = pd.read_csv(data_dir / "bcnb" / "clinical.csv", dtype=str, keep_default_na=False)
    real = real.set_index("patient_id")
    official = real["split" if task == 0 else f"split_task{task}"]
    # With the authors' own table, and with the raw values.
    standardised = import_bcnb(authors, out=tmp_path / "own", task=task, tables_only=True)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "json").symlink_to(authors / "json")
    shutil.copy(data_dir / "bcnb" / "clinical.csv", raw)
    result = import_bcnb(raw, out=tmp_path / "study", task=task, tables_only=True)
    for found in (standardised, result):
        assert found.patients == COHORTS_OF[task]
        assert found.patches == PATCHES[task] == 10 * (found.bags or 0)
        table = pd.read_csv(
            found.study.parent / "cohort.csv", dtype=str, keep_default_na=False
        ).set_index("patient_id")
        assert table["split"].to_dict() == official[table.index].to_dict()
        for name in ("er", "pr", "her2"):
            assert (table[name] == real.loc[table.index, name]).all()
        bags = read_bags(found.study.parent / "bags.json")
        assert set(bags) == set(official[official != ""].index)
        assert {len(bag) for own in bags.values() for bag in own} == {10}
        if task == 0:
            counted = {patient: str(len(own)) for patient, own in bags.items()}
            assert counted == real["bags_task0"].to_dict()
    table = pd.read_csv(result.study.parent / "cohort.csv", dtype={"patient_id": str})
    assert len(table) == 1058
    assert (table.set_index("patient_id")["age"] == real["age"].astype(float)).all()
    # The clinical half of the study runs on what was written.
    settings = yaml.safe_load(result.study.read_text(encoding="utf-8"))
    for key in ("bags", "slides", "regions"):
        del settings[key]
    settings |= {"methods": ["clinical"], "cohort": str(result.study.parent / "cohort.csv")}
    study = tmp_path / "clinical.yaml"
    study.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert check(load_config(study)) == ()


@pytest.mark.real_data
def test_the_real_patches_are_not_there(authors: Path, tmp_path: Path) -> None:
    with pytest.raises(InputProblems, match=r"all 72,010 patches .* are missing") as caught:
        import_bcnb(authors, out=tmp_path / "study")
    (problem,) = caught.value.problems
    assert problem.file == authors / "patches"
    (authors / "patches").mkdir()
    with pytest.raises(InputProblems) as caught:
        import_bcnb(authors, out=tmp_path / "study")
    (authors / "patches").rmdir()
    assert len(caught.value.problems) == 1058, "every patient is named"
    assert not (tmp_path / "study").exists()


@pytest.mark.real_data
def test_the_real_splits_contradict_each_other(authors: Path, tmp_path: Path) -> None:
    import_bcnb(authors, out=tmp_path / "study", tables_only=True)
    result = import_bcnb(authors, out=tmp_path / "study", task=2, tables_only=True)
    assert any("136 training and 46 validation patients of cohort.csv" in n for n in result.notes)
    assert any("133 training and 49 validation" in note for note in result.notes)
