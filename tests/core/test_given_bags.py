from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from axilla.core.config import StudyConfig, load_config
from axilla.core.errors import CohortError, ConfigError
from axilla.core.given_bags import read_bags, write_bags
from axilla.core.patch_names import PatchName, parse_patch_name

if TYPE_CHECKING:
    from pathlib import Path


def test_names() -> None:
    assert parse_patch_name("981_0_256_1024") == PatchName("981", 0, 256, 1024)
    assert parse_patch_name("a_1_2_3_4") == PatchName("a_1", 2, 3, 4)
    assert str(PatchName("a_1", 2, 3, 4)) == "a_1_2_3_4"
    for text in ("981_0_256", "981_0_256_x", "_0_1_2", "981_0_256_1024.jpg", "9_1_2_9999999999"):
        assert parse_patch_name(text) is None, text


def test_bags_come_back(tmp_path: Path) -> None:
    bags = {
        "ä": ((PatchName("ä", 0, 0, 256), PatchName("ä", 1, 0, 0)), (PatchName("ä", 0, 0, 0),)),
        "2": ((PatchName("2", 3, 5, 7),),),
    }
    write_bags(tmp_path / "bags.json", bags)
    assert read_bags(tmp_path / "bags.json") == bags
    assert json.loads((tmp_path / "bags.json").read_text(encoding="utf-8")) == {
        "ä": [["ä_0_0_256", "ä_1_0_0"], ["ä_0_0_0"]],
        "2": [["2_3_5_7"]],
    }


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds no object of slides"),
        ("{}", "holds no object of slides"),
        ('{"1": [["1_0_0_0"]], "1": [["1_0_0_0"]]}', "the key '1' stands twice"),
        ('{"1": []}', "slide 1 has no list of bags, or an empty bag"),
        ('{"1": [[]]}', "slide 1 has no list of bags, or an empty bag"),
        ('{"1": ["1_0_0_0"]}', "slide 1 has no list of bags, or an empty bag"),
        ('{"1": [["2_0_0_0"]]}', "names '2_0_0_0', which is no patch of that slide"),
        ('{"1": [[7]]}', "names 7, which is no patch of that slide"),
        ('{"1": [["1_0_0_0", "1_0_0_0"]]}', "names the patch 1_0_0_0 twice"),
    ],
)
def test_what_is_no_file_of_bags(text: str, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "bags.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CohortError) as caught:
        read_bags(path)
    assert cause in caught.value.problem.cause
    assert caught.value.problem.file == path


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"cannot be read.*bags: \{file"):
        read_bags(tmp_path / "gone.json")


def test_the_study_file_names_it(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    text = "cohort: c.csv\nslides: s\nendpoint: n0-vs-npos\nregions: patches\n"
    study.write_text(text + "bags: {file: deep/bags.json}\n", encoding="utf-8")
    assert load_config(study).bags.file == tmp_path / "deep" / "bags.json"
    for more, cause in (
        ("bags: {file: b.json, redraw: true}\n", "they cannot be redrawn"),
        ("patches: {mpp: 0.5}\n", "ready patches are used as they are"),
    ):
        study.write_text(text + more, encoding="utf-8")
        with pytest.raises(ConfigError, match=cause):
            load_config(study)
    assert (
        StudyConfig.model_validate(
            {"cohort": "c.csv", "endpoint": "n0-vs-npos", "methods": ["clinical"]}
        ).bags.file
        is None
    )
