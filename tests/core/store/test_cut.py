"""Files cut anywhere are never taken for whole ones, whatever was written in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axilla.core import store
from axilla.core.errors import StoreError
from axilla.core.types import MicronsPerPixel, PatchGrid, SlidePixels

KEY = "k1"

RECORD = {
    "method": "dl-cnb", "classes": ["N0", "N(+)"], "endpoint": "n0-vs-npos",
    "architecture": {"kind": "dl-cnb", "features": 2}, "members": [{"key": "k", "seed": 1}],
    "threshold": {"rule": "youden-validation", "value": 0.5}, "versions": {"axilla": "0.1.0"},
}  # fmt: skip
"""All that a model's record must say."""


def write_grid(folder: Path) -> Path:
    n = 300
    rng = np.random.default_rng(0)
    grid = PatchGrid(
        slide_id="s", region=np.zeros(n, np.int32),
        xy=rng.integers(0, 9999, (n, 2)).astype(np.int32),
        white_share=rng.random(n, dtype=np.float32),
        size_level0=SlidePixels(256), dropped=0, mpp=MicronsPerPixel(0.5),
    )  # fmt: skip
    store.write_grid(folder / "s.parquet", grid, key=KEY)
    return folder / "s.parquet"


def write_features(folder: Path) -> Path:
    features = np.random.default_rng(0).random((60, 40)).astype(np.float16)
    value = store.Features(features, np.zeros((60, 2), np.int32), "e", "d", 256, 0.5)
    store.write_features(folder / "s.h5", value, key=KEY)
    return folder / "s.h5"


def write_model(folder: Path) -> None:
    tensors = {"w": np.random.default_rng(0).random((20, 30))}
    store.write_text(folder / "history.csv", "epoch,loss\n0,0.5\n1,0.25\n")
    sha = store.file_identity(folder / "history.csv", content=True)
    record = RECORD | {"history_sha256": sha}
    store.write_model(folder, store.StoredModel(tensors, record), key=KEY)


def write_weights(folder: Path) -> Path:
    write_model(folder)
    return folder / "model.safetensors"


def write_record(folder: Path) -> Path:
    write_model(folder)
    return folder / "model.json"


def write_history(folder: Path) -> Path:
    write_model(folder)
    return folder / "history.csv"


def write_result(folder: Path) -> Path:
    store.write_text(folder / "predictions.csv", "patient_id,score\n1,0.5\n2,0.75\n")
    store.write_step(folder, "predict", key=KEY, files=[folder / "predictions.csv"])
    return folder / "predictions.csv"


def write_step(folder: Path) -> Path:
    write_result(folder)
    return folder / "steps" / "predict.json"


def model_is_whole(path: Path) -> bool:
    return store.read_model_key(path.parent) == KEY


def step_is_done(folder: Path) -> bool:
    return store.step_is_done(folder, "predict", key=KEY)


ARTEFACTS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], bool]]] = {
    "grid": (write_grid, lambda path: store.read_grid_key(path) == KEY),
    "features": (write_features, lambda path: store.read_features_key(path) == KEY),
    "weights": (write_weights, model_is_whole),
    "model record": (write_record, model_is_whole),
    "history": (write_history, model_is_whole),
    "result": (write_result, lambda path: step_is_done(path.parent)),
    "step record": (write_step, lambda path: step_is_done(path.parent.parent)),
}


@pytest.mark.parametrize("kind", ARTEFACTS)
@given(share=st.integers(0, 9999))
def test_a_cut_file_is_not_taken_for_a_whole_one(kind: str, share: int):
    write, is_whole = ARTEFACTS[kind]
    with TemporaryDirectory() as name:
        path = write(Path(name))
        assert is_whole(path)
        whole = path.read_bytes()
        # The line's end of a JSON file is no part of what it says.
        cut = whole[: share * len(whole.rstrip(b"\n")) // 10_000]
        path.write_bytes(cut)
        assert not is_whole(path)
        readers: dict[str, Callable[[], object]] = {
            "grid": lambda: store.read_grid(path),
            "features": lambda: store.read_features(path),
            "weights": lambda: store.read_model(path.parent),
            "model record": lambda: store.read_model(path.parent),
        }
        if kind in readers:
            with pytest.raises(StoreError) as caught:
                readers[kind]()
            assert caught.value.problem.file == path
        assert write(Path(name)) == path
        assert is_whole(path)
        assert path.read_bytes() == whole
