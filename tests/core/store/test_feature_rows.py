from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from axilla.core import store
from axilla.core.errors import StoreError


def write(path: Path, *, n: int = 23, width: int = 7) -> np.ndarray:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(n, width)).astype(np.float16)
    coords = rng.integers(0, 99, (n, 2)).astype(np.int32)
    store.write_features(path, store.Features(features, coords, "e", "w", 256, None), key="k")
    return features


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    features = write(tmp_path / "s.h5")
    rows = store.open_features(tmp_path / "s.h5")
    assert isinstance(rows, store.FeatureRows)
    assert len(rows) == 23
    assert rows.shape == (23, 7)
    indices = np.array([22, 0, 5, 5, 1])
    assert np.array_equal(rows[indices], features[indices])
    assert rows[indices].dtype == np.float16
    assert np.array_equal(np.asarray(rows), features)
    assert rows[np.array([], np.int64)].shape == (0, 7)
    with pytest.raises(IndexError, match="of 23"):
        rows[np.array([23])]


def test_a_slide_without_patches_has_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", n=0)
    assert len(store.open_features(tmp_path / "s.h5")) == 0


@pytest.mark.parametrize("kind", [{"chunks": (4, 7)}, {"compression": "gzip"}])
def test_what_does_not_lie_in_one_piece_is_read_whole(
    tmp_path: Path, kind: dict[str, object]
) -> None:
    features = write(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "a") as file:
        del file["features"]
        file.create_dataset("features", data=features, **kind)
    found = store.open_features(tmp_path / "s.h5")
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, features)


def test_other_bytes_than_this_machines_are_read_whole(tmp_path: Path) -> None:
    features = write(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "a") as file:
        del file["features"]
        file.create_dataset("features", data=features.astype(">f2"))
    found = store.open_features(tmp_path / "s.h5")
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, features)


@pytest.mark.parametrize("how", ["gone", "cut", "no h5", "coords"])
def test_damage_is_told_with_file_and_remedy(tmp_path: Path, how: str) -> None:
    path = tmp_path / "s.h5"
    write(path, n=2000)
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:9000])
    elif how == "no h5":
        path.write_bytes(b"no")
    else:
        with h5py.File(path, "a") as file:
            del file["coords"]
            file["coords"] = np.zeros((3, 2), np.int32)
    with pytest.raises(StoreError, match="axilla embed") as caught:
        store.open_features(path)
    assert caught.value.problem.file == path


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_file_lost_during_a_run_is_told(tmp_path: Path, how: str) -> None:
    path = tmp_path / "s.h5"
    write(path)
    rows = store.open_features(path)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match="cannot be read any more"):
        rows[np.array([20])]
