"""Features, grids and models as they are written, and files of them that are damaged."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from axilla.core import store
from axilla.core.errors import StoreError
from axilla.core.types import MicronsPerPixel, PatchGrid, SlidePixels

RECORD = {
    "method": "dl-cnb", "classes": ["N0", "N(+)"], "endpoint": "n0-vs-npos",
    "architecture": {"kind": "dl-cnb", "features": 2}, "members": [{"key": "k", "seed": 1}],
    "threshold": {"rule": "youden-validation", "value": 0.5}, "versions": {"axilla": "0.1.0"},
}  # fmt: skip
"""All that a model's record must say."""


def make_features(n=7, d=5, *, seed=0):
    rng = np.random.default_rng(seed)
    return store.Features(
        features=rng.normal(size=(n, d)).astype(np.float16),
        coords=rng.integers(0, 9999, (n, 2)).astype(np.int32),
        encoder="vgg16_bn",
        weights_digest="ab12",
        patch_size=256,
        mpp=0.25,
    )


def make_grid(n=4):
    return PatchGrid(
        slide_id="007",
        region=np.arange(n, dtype=np.int32),
        xy=np.arange(2 * n, dtype=np.int32).reshape(n, 2),
        white_share=np.linspace(0, 0.2, n, dtype=np.float32),
        size_level0=SlidePixels(512),
        dropped=3,
        mpp=MicronsPerPixel(0.5),
    )


def make_model():
    return store.StoredModel(
        tensors={"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(3)},
        record=RECORD | {"training": {"shares": np.float64(0.5), "count": np.int64(2)}},
    )


def killed(*_args, **_kwargs):
    raise KeyboardInterrupt


class TestFeatures:
    def test_what_is_written_reads_back(self, tmp_path: Path):
        written = make_features()
        store.write_features(tmp_path / "f.h5", written, key="k1")
        read = store.read_features(tmp_path / "f.h5")
        np.testing.assert_array_equal(read.features, written.features)
        np.testing.assert_array_equal(read.coords, written.coords)
        assert read.features.dtype == np.float16
        assert read.coords.dtype == np.int32
        assert (read.encoder, read.weights_digest, read.patch_size, read.mpp) == (
            "vgg16_bn", "ab12", 256, 0.25,
        )  # fmt: skip
        assert store.read_features_key(tmp_path / "f.h5") == "k1"

    def test_the_layout_that_others_read(self, tmp_path: Path):
        store.write_features(tmp_path / "f.h5", make_features(), key="k1")
        with h5py.File(tmp_path / "f.h5") as file:
            assert set(file) == {"features", "coords"}
            assert file["features"].shape == (7, 5)
            assert set(file.attrs) == {
                "encoder", "weights_digest", "patch_size", "mpp", "computing", "config_hash",
                "schema_version",
            }  # fmt: skip
        # A superblock of version 0: every HDF5 library since 1998 opens it.
        assert (tmp_path / "f.h5").read_bytes()[8] == 0

    def test_equal_input_gives_equal_bytes(self, tmp_path: Path):
        for name in ("a.h5", "b.h5"):
            store.write_features(tmp_path / name, make_features(), key="k1")
        assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()

    def test_some_rows_at_a_time_give_the_same_bytes(self, tmp_path: Path):
        whole = make_features()
        store.write_features(tmp_path / "a.h5", whole, key="k1")
        parts = (whole.features[start : start + 3] for start in range(0, 7, 3))
        header = replace(whole, features=whole.features[:0])
        store.write_features(tmp_path / "b.h5", header, key="k1", parts=parts)
        assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()

    def test_a_slide_without_microns_and_without_patches(self, tmp_path: Path):
        empty = store.Features(
            np.zeros((0, 5), np.float16), np.zeros((0, 2), np.int32), "resnet50", "x", 64, None
        )
        store.write_features(tmp_path / "f.h5", empty, key="k")
        read = store.read_features(tmp_path / "f.h5")
        assert read.features.shape == (0, 5)
        assert read.mpp is None

    @pytest.mark.parametrize("damage", ["missing", "garbage", "cut", "mismatch", "version"])
    def test_damaged_files(self, tmp_path: Path, damage):
        path = tmp_path / "f.h5"
        store.write_features(path, make_features(), key="k1")
        if damage == "missing":
            path.unlink()
        elif damage == "garbage":
            path.write_bytes(b"no h5")
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:700])
        else:
            with h5py.File(path, "r+") as file:
                if damage == "version":
                    file.attrs["schema_version"] = 99
                else:
                    del file["coords"]
                    file["coords"] = np.zeros((3, 2), np.int32)
        with pytest.raises(StoreError, match=r"missing, damaged or of another version\. Delete"):
            store.read_features(path)
        expected = "k1" if damage == "mismatch" else None
        assert store.read_features_key(path) == expected


class TestGrids:
    def test_what_is_written_reads_back(self, tmp_path: Path):
        written = make_grid()
        store.write_grid(tmp_path / "g.parquet", written, key="k1")
        read = store.read_grid(tmp_path / "g.parquet")
        for name in ("region", "xy", "white_share"):
            np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
            assert getattr(read, name).dtype == getattr(written, name).dtype
        assert (read.slide_id, read.size_level0, read.dropped, read.mpp) == ("007", 512, 3, 0.5)
        assert store.read_grid_key(tmp_path / "g.parquet") == "k1"

    def test_equal_input_gives_equal_bytes(self, tmp_path: Path):
        for name in ("a.parquet", "b.parquet"):
            store.write_grid(tmp_path / name, make_grid(), key="k1")
        assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()

    @pytest.mark.parametrize("damage", ["missing", "garbage", "cut", "foreign", "column"])
    def test_damaged_files(self, tmp_path: Path, damage):
        path = tmp_path / "g.parquet"
        store.write_grid(path, make_grid(), key="k1")
        table = pq.read_table(path)
        if damage == "missing":
            path.unlink()
        elif damage == "garbage":
            path.write_bytes(b"no parquet")
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:-20])
        elif damage == "foreign":
            pq.write_table(table.replace_schema_metadata({}), path)
        else:
            pq.write_table(table.drop_columns(["white_share"]), path)
        with pytest.raises(StoreError, match="missing, damaged or of another version"):
            store.read_grid(path)
        assert store.read_grid_key(path) == ("k1" if damage == "column" else None)


class TestModels:
    def test_what_is_written_reads_back(self, tmp_path: Path, files_in):
        store.write_model(tmp_path / "m", make_model(), key="k1")
        read = store.read_model(tmp_path / "m")
        np.testing.assert_array_equal(read.tensors["w"], make_model().tensors["w"])
        assert read.tensors["n"].shape == ()
        assert read.record["training"] == {"shares": 0.5, "count": 2}
        assert read.record["key"] == store.read_model_key(tmp_path / "m") == "k1"
        assert files_in(tmp_path) == ["model.json", "model.safetensors"]

    def test_a_model_that_is_written_again_has_its_new_key(self, tmp_path: Path):
        store.write_model(tmp_path, make_model(), key="k1")
        store.write_model(tmp_path, store.read_model(tmp_path), key="k2")
        assert store.read_model_key(tmp_path) == "k2"

    def test_a_kill_between_weights_and_record_leaves_no_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        store.write_model(tmp_path, make_model(), key="k1")
        monkeypatch.setattr("axilla.core.store.models.write_json", killed)
        other = store.StoredModel(tensors={"w": np.zeros(3)}, record=RECORD)
        with pytest.raises(KeyboardInterrupt):
            store.write_model(tmp_path, other, key="k2")
        # New weights must never be taken for the model of the old record.
        assert store.read_model_key(tmp_path) is None

    @pytest.mark.parametrize("place", ["write_bytes", "write_json"])
    def test_a_kill_while_the_record_alone_changes_leaves_the_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place
    ):
        store.write_model(tmp_path, make_model(), key="k1")
        stored = store.read_model(tmp_path)
        later = {**stored.record, "threshold": {"rule": 0.4, "value": 0.4}}
        with monkeypatch.context() as patch:
            patch.setattr(f"axilla.core.store.models.{place}", killed)
            with contextlib.suppress(KeyboardInterrupt):
                store.write_model(tmp_path, replace(stored, record=later), key="k1")
        assert store.read_model_key(tmp_path) == "k1"
        store.write_model(tmp_path, replace(stored, record=later), key="k1")
        assert store.read_model(tmp_path).record["threshold"]["value"] == 0.4

    def test_a_record_that_cannot_be_written_leaves_the_model(self, tmp_path: Path):
        store.write_model(tmp_path, make_model(), key="k1")
        other = store.StoredModel(tensors={"w": np.zeros(3)}, record=RECORD | {"study": object()})
        with pytest.raises(TypeError, match="object is not written to JSON"):
            store.write_model(tmp_path, other, key="k2")
        assert store.read_model_key(tmp_path) == "k1"

    def test_weights_of_another_record_are_refused(self, tmp_path: Path):
        store.write_model(tmp_path / "a", make_model(), key="k1")
        other = store.StoredModel(tensors={"w": np.zeros((3, 2))}, record=RECORD)
        store.write_model(tmp_path / "b", other, key="k1")
        (tmp_path / "b" / "model.safetensors").replace(tmp_path / "a" / "model.safetensors")
        with pytest.raises(StoreError, match="damaged or not those of its record"):
            store.read_model(tmp_path / "a")

    @pytest.mark.parametrize(
        ("name", "content", "cause"),
        [
            ("model.json", None, "the file is missing"),
            ("model.json", "{", "the file is damaged"),
            ("model.json", "[]", "another version"),
            ("model.json", '{"schema": 99}', "another version"),
            ("model.safetensors", None, "missing, damaged"),
            ("model.safetensors", "x", "missing, damaged"),
        ],
    )
    def test_damaged_files(self, tmp_path: Path, name, content, cause):
        store.write_model(tmp_path, make_model(), key="k1")
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_text(content)
        with pytest.raises(StoreError, match=cause) as caught:
            store.read_model(tmp_path)
        assert caught.value.problem.file == tmp_path / name
        assert store.read_model_key(tmp_path) is None
