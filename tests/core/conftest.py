"""Small cohorts on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

from axilla.core.cohort import CohortReading
from axilla.core.config import StudyConfig, load_config
from axilla.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEAST = {"cohort": "cohort.csv", "slides": "slides", "endpoint": "n0-vs-npos"}
ROWS = [
    {"patient_id": "007", "nodes": "0", "age": "40", "tumor_size_cm": "2.1", "er": "Positive"},
    {"patient_id": "8", "nodes": "1", "age": "50", "tumor_size_cm": "1.0", "er": "negative"},
    {"patient_id": "9", "nodes": "3", "age": "60.5", "tumor_size_cm": "3", "er": "positive"},
    {"patient_id": "10", "nodes": "0", "age": "70", "tumor_size_cm": "2", "er": "positive"},
]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Four patients: N0, N+(1-2), N+(>=3), N0."""
    return [{**row, "pr": "positive", "her2": "negative"} for row in ROWS]


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., StudyConfig]:
    """A study of a table; `slides` names files to put into the folder of slides."""

    def make(table: Any, *, slides: tuple[str, ...] | None = None, **settings: Any) -> StudyConfig:
        path = tmp_path / "cohort.csv"
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
        frame.to_csv(path, index=False)
        settings = {"cohort": path, "endpoint": "n0-vs-npos", **settings}
        if slides is None:
            settings.setdefault("methods", ["clinical"])
        else:
            folder = tmp_path / "slides"
            folder.mkdir(exist_ok=True)
            for name in slides:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(b"slide")
            settings["slides"] = folder
        return StudyConfig.model_validate(settings)

    return make


@pytest.fixture
def load(tmp_path: Path):
    def from_text(text: str) -> StudyConfig:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return from_text


@pytest.fixture
def load_with(load):
    """The least study file with some keys set."""
    return lambda **keys: load(yaml.safe_dump({**LEAST, **keys}))


@pytest.fixture
def refusal(load_with, tmp_path: Path):
    """What is said of the least study file with some keys set, without file and remedy."""

    def cause(**keys: object) -> str:
        with pytest.raises(ConfigError) as caught:
            load_with(**keys)
        assert caught.value.problem.file == tmp_path / "study.yaml"
        return caught.value.problem.cause

    return cause


@pytest.fixture
def told() -> Callable[[CohortReading], list[tuple[str | None, str | None, str]]]:
    """The problems of a reading as (patient, file's name, cause)."""

    def of(reading: CohortReading) -> list[tuple[str | None, str | None, str]]:
        return [
            (p.patient, None if p.file is None else p.file.name, p.cause) for p in reading.problems
        ]

    return of
