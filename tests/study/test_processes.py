from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from axilla import cli_running, launching
from axilla.core.config import StudyConfig
from axilla.core.errors import ConfigError
from axilla.study.chain import run


def study_of(plain_study: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    names = [f"P{i:02d}" for i in range(16)]
    rows = [
        f"{name},{40 + i % 7},{1 + i % 5},positive,negative,negative,{i % 2}"
        for i, name in enumerate(names)
    ]
    more = {"methods": ("clinical", "dl-cnb"), "threshold": 0.5}
    return plain_study(rows, names) | more


def test_a_study_trains_in_two_processes_of_which_one_writes(
    plain_study: Callable[..., dict[str, Any]],
    start_together: Callable[[list[str], int], list[tuple[str, str]]],
    tmp_path: Path,
) -> None:
    settings = study_of(plain_study)
    settings["training"] = {"epochs": 2, "devices": 2, "batch_size": 4, "restarts": None}
    study = tmp_path / "study.yaml"
    plain = StudyConfig.model_validate(settings).model_dump(mode="json")
    study.write_text(yaml.safe_dump(plain), encoding="utf-8")
    first, second = start_together(["-m", "axilla.cli", "train", str(study)], 2)
    assert "train     2 models, 2 now" in first[0]
    assert second[0] == ""
    folder = tmp_path / "out" / "models" / "dl-cnb"
    assert sorted(path.name for path in folder.iterdir()) == [
        "history.csv", "model.json", "model.safetensors", "model_card.md",
    ]  # fmt: skip
    assert json.loads((folder / "model.json").read_text())["members"][0]["epochs"] == 2
    # What several trained, one knows as trained.
    alone = StudyConfig.model_validate(
        settings | {"training": settings["training"] | {"devices": 1}}
    )
    before = (folder / "model.json").stat().st_mtime_ns
    run(alone, until="train")
    assert (folder / "model.json").stat().st_mtime_ns == before


def test_devices_that_were_not_started_are_refused_before_any_computing(
    plain_study: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    settings = study_of(plain_study) | {"training": {"epochs": 1, "devices": 3}}
    with pytest.raises(ConfigError, match=r"training\.devices is 3, but 1 process was started\."):
        run(StudyConfig.model_validate(settings))
    assert not (tmp_path / "out" / "patches").exists()


def test_batches_that_the_processes_cannot_share_are_refused_before_any_computing(
    plain_study: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr("axilla.study.processes.started_processes", lambda: 3)
    config = StudyConfig.model_validate(study_of(plain_study))  # 8 bags a batch, devices: auto
    with pytest.raises(ConfigError, match="batch_size is 8, which 3 devices cannot share"):
        run(config)
    assert not (tmp_path / "out" / "patches").exists()


def test_the_command_starts_as_many_processes_as_the_study_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[list[str], int]] = []

    def run_together(command: list[str], *, count: int, told: set[int]) -> int:
        started.append((command, count))
        assert told == {0, cli_running.INPUT_ERROR, cli_running.BUSY}
        return cli_running.BUSY

    monkeypatch.setattr(launching, "run_together", run_together)
    monkeypatch.setattr(sys, "argv", ["axilla", "train", "study.yaml"])
    with pytest.raises(typer.Exit) as ended:
        cli_running.start_processes(4)
    assert ended.value.exit_code == cli_running.BUSY
    assert started == [(["-m", "axilla.cli", "train", "study.yaml"], 4)]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    cli_running.start_processes(4)
    assert len(started) == 1, "those that were started start no more"


def test_a_mistake_is_a_sentence_and_code_2_with_two_devices_too(
    plain_study: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    settings = study_of(plain_study)
    settings["training"] = {"epochs": 1, "devices": 2, "batch_size": 4, "restarts": None}
    (settings["slides"] / "P03.png").unlink()
    study = tmp_path / "study.yaml"
    plain = StudyConfig.model_validate(settings).model_dump(mode="json")
    study.write_text(yaml.safe_dump(plain), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "axilla.cli", "train", str(study)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert ended.returncode == cli_running.INPUT_ERROR
    assert ended.stderr.startswith("1 problem in the inputs:\n1. ")
    assert "patient: P03" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "torch" not in ended.stderr
