"""Which study is meant, and what is told of one that cannot be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from axilla.cli import app
from axilla.cli_serving import find_study
from axilla.core.config import load_config
from axilla.core.errors import ConfigError, StoreError
from axilla.web.served import Served

STUDY = "cohort: cohort.csv\nendpoint: n0-vs-npos\nmethods: [clinical]\n"


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_study(tmp_path / "a.yaml") == tmp_path / "a.yaml"


def test_a_folder_is_searched_for_its_one_study(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1\n", encoding="utf-8")
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("a: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="there is no study in this folder"):
        find_study(tmp_path)
    (tmp_path / "study.yml").write_text(STUDY, encoding="utf-8")
    assert find_study(tmp_path) == tmp_path / "study.yml"
    (tmp_path / "second.yaml").write_text(STUDY, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"2 studies in this folder \(second.yaml, study.yml\)"):
        find_study(tmp_path)


def test_a_study_that_was_not_run_is_told(tmp_path: Path) -> None:
    rows = [f"p{i},{30 + i},2,positive,negative,negative,{i % 2}" for i in range(20)]
    header = "patient_id,age,tumor_size_cm,er,pr,her2,nodes"
    (tmp_path / "cohort.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    with pytest.raises(StoreError, match=r"not been run to its end.*axilla run"):
        Served.of(load_config(tmp_path / "study.yaml"))


def test_help_says_who_can_reach_it() -> None:
    said = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert "nothing leaves this machine" in said
    assert "token" in said
