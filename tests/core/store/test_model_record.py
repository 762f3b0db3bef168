from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from axilla.core import store
from axilla.core.errors import StoreError
from axilla.core.store import model_record as layout

RECORD: dict[str, Any] = {
    "method": "dl-cnb", "classes": ["N0", "N(+)"], "endpoint": "n0-vs-npos",
    "architecture": {"kind": "dl-cnb", "features": 2}, "members": [{"key": "k", "seed": 1}],
    "threshold": {"rule": {"npv": 0.9}, "value": 0.5}, "versions": {"axilla": "0.1.0"},
}  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    """A model whose record was changed by hand; a field set to None is taken out."""
    store.write_model(folder, store.StoredModel({"w": np.zeros(2)}, RECORD), key="k1")
    path = folder / "model.json"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({n: v for n, v in record.items() if v is not None}))
    return path


def test_what_is_written_is_read(tmp_path: Path):
    record = store.read_model_record(write(tmp_path).parent)
    assert record["schema"] == layout.MODEL_SCHEMA == 3
    parsed = layout.parse_model_record(record, file=tmp_path)
    assert parsed.classes == ("N0", "N(+)")
    assert parsed.threshold.rule == {"npv": 0.9}
    assert (parsed.calibration, parsed.original, parsed.batch_norm) == (None, False, "running")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"versions": None}, "versions: Field required"),
        ({"members": []}, "members: Tuple should have at least 1 item"),
        ({"classes": ["N0"]}, "classes: Tuple should have at least 2 items"),
        ({"weights_sha256": "../../x"}, "weights_sha256: String should match pattern"),
        ({"threshold": {"rule": 0.5, "value": "high"}}, "threshold.value: Input should be a valid"),
        ({"batch_norm": "frozen"}, "batch_norm: Input should be 'running' or 'batch'"),
        ({"architecture": {"kind": "dl-cnb", "features": -1}}, "architecture.features: Input"),
        ({"schema": 1}, r"another version of axilla \(schema 1; this one reads 2 and 3\)"),
        ({"schema": "3"}, r"another version of axilla \(schema unknown"),
    ],
)
def test_a_record_that_is_not_valid(tmp_path: Path, changes: dict[str, Any], cause: str):
    path = write(tmp_path, **changes)
    with pytest.raises(StoreError, match=cause) as caught:
        store.read_model(tmp_path)
    assert caught.value.problem.file == path
    assert store.read_model_key(tmp_path) is None


def test_a_newer_version_says_what_to_do(tmp_path: Path):
    write(tmp_path, schema=4)
    with pytest.raises(StoreError, match="Install the newer axilla"):
        store.read_model_record(tmp_path)


def test_a_record_of_gigabytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path)
    monkeypatch.setattr("axilla.core.store.models.MAX_RECORD_BYTES", 100)
    with pytest.raises(StoreError, match="is larger than"):
        store.read_model_record(tmp_path)


def test_no_number_of_the_record_is_infinite(tmp_path: Path):
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"value": 0.5', '"value": Infinity'))
    with pytest.raises(StoreError, match=r"threshold\.value: Input should be a finite number"):
        store.read_model_record(tmp_path)


def test_a_record_that_could_not_be_read_is_not_written(tmp_path: Path):
    model = store.StoredModel({"w": np.zeros(2)}, RECORD | {"classes": ["one"]})
    with pytest.raises(StoreError, match="classes"):
        store.write_model(tmp_path, model, key="k")
    assert not (tmp_path / "model.json").exists()


def test_every_field_that_does_not_speak_for_itself_is_described():
    plain = {
        "method", "key", "n", "auc", "sensitivity", "specificity", "ppv", "npv", "value", "low",
        "high", "delong_low", "delong_high", "reason", "patients", "slides", "numbers", "mean",
        "categories", "aggregator", "patches", "bags", "training", "architecture", "encoder",
        "threshold", "partition", "training_cohort", "seed", "trainable",
    }  # fmt: skip
    models = [m for m in vars(layout).values() if isinstance(m, type) and issubclass(m, BaseModel)]
    assert layout.ModelRecord in models
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description or name in plain, f"{model.__name__}.{name}"
