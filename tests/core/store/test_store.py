from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from axilla.core import store
from axilla.core.errors import StoreError, WriteError
from axilla.core.store.atomic import atomic_path
from axilla.core.types import MicronsPerPixel, PatchGrid, Prediction, SlidePixels

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


HALF_WRITTEN = """
import os, signal, sys
from pathlib import Path
from axilla.core.store.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(*_args, **_kwargs):
    raise KeyboardInterrupt


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class TestAtomic:
    def test_a_file_is_written_whole(self, tmp_path: Path):
        store.write_text(tmp_path / "deep" / "a.txt", "é\n")
        assert (tmp_path / "deep" / "a.txt").read_bytes() == "é\n".encode()
        assert files_in(tmp_path) == ["a.txt"]

    def test_a_failure_inside_leaves_the_old_file(self, tmp_path: Path):
        store.write_text(tmp_path / "a.txt", "old")

        def fail():
            with atomic_path(tmp_path / "a.txt") as temporary:
                temporary.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert (tmp_path / "a.txt").read_text() == "old"
        assert files_in(tmp_path) == ["a.txt"]

    def test_sweep_removes_what_a_killed_run_left(self, tmp_path: Path):
        store.write_text(tmp_path / "x" / "a.txt", "kept")
        (tmp_path / "x" / ".a.txt.123.axilla-tmp").write_text("of an older version")
        dead = subprocess.run(
            [sys.executable, "-c", HALF_WRITTEN, tmp_path / "x" / "b.txt"], check=False
        )
        assert dead.returncode == -signal.SIGKILL
        assert len(list(tmp_path.rglob("*.axilla-tmp"))) == 2
        assert store.sweep(tmp_path) == 2
        assert files_in(tmp_path) == ["a.txt"]
        assert store.sweep(tmp_path / "nowhere") == 0

    def test_sweep_leaves_what_is_being_written(self, tmp_path: Path):
        with atomic_path(tmp_path / "a.txt") as ours:
            ours.write_text("half")
            assert store.sweep(tmp_path) == 0
            # The same process number, given to another process since.
            host, pid, start, rest = re.split(r"-(?=\w+)", ours.name, maxsplit=3)
            other = ours.with_name(f"{host}-{pid}-{int(start) + 1}-{rest}")
            other.write_text("half")
            # Another machine's: nobody can tell, so the hour does.
            foreign = [ours.with_name(f".b.abcdef-{pid}-{start}-{n}.axilla-tmp") for n in (1, 2)]
            for path in foreign:
                path.write_text("half")
            os.utime(foreign[1], (0, 0))
            assert store.sweep(tmp_path) == 2
            assert sorted(tmp_path.iterdir()) == sorted([ours, foreign[0]])
        assert (tmp_path / "a.txt").read_text() == "half"

    def test_a_long_name_in_another_alphabet(self, tmp_path: Path):
        store.write_text(tmp_path / ("é" * 120 + ".csv"), "kept")
        assert files_in(tmp_path) == ["é" * 120 + ".csv"]

    @pytest.mark.parametrize(
        ("number", "cause", "remedy"),
        [
            (errno.ENOSPC, "the disk is full", "Free some space"),
            (errno.EDQUOT, "your share of the disk is used up", "Free some space or ask"),
            (errno.EROFS, "the disk is read-only", "Check the permissions"),
            (errno.EACCES, "you may not write there", "Check the permissions"),
            (errno.EIO, "Input/output error", "Check the permissions and the disk"),
        ],
    )
    def test_what_the_disk_refuses_is_a_sentence(
        self, tmp_path: Path, monkeypatch, number, cause, remedy
    ):
        store.write_text(tmp_path / "a.txt", "old")

        def refuse(self: Path, content: bytes) -> int:
            with self.open("wb") as file:
                file.write(content[:2])
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(WriteError) as caught:
            store.write_text(tmp_path / "a.txt", "new")
        problem = caught.value.problem
        assert problem.cause == f"it cannot be written: {cause}."
        assert problem.remedy.startswith(remedy)
        assert problem.remedy.endswith("start again: what is done stays done.")
        assert (problem.file, caught.value.errno) == (tmp_path / "a.txt", number)
        assert (tmp_path / "a.txt").read_text() == "old"
        assert files_in(tmp_path) == ["a.txt"]

    def test_digests(self):
        assert store.digest({"b": 1, "a": [1, 2]}) == store.digest({"a": (1, 2), "b": 1})
        assert store.digest("a", "b") != store.digest("ab")
        assert store.digest({"a": 1}) != store.digest({"a": 2})
        assert len(store.digest()) == 64

    def test_the_identity_of_a_file(self, tmp_path: Path):
        path = tmp_path / "a.txt"
        path.write_text("abc")
        assert store.file_identity(path, content=True) == (
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        before = store.file_identity(path)
        path.write_text("abcd")
        assert store.file_identity(path) != before


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
    def test_what_is_written_reads_back(self, tmp_path: Path):
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


class TestRecords:
    def test_json(self, tmp_path: Path):
        path = tmp_path / "a.json"
        store.write_json(path, {"n": np.int64(3), "s": np.float32(0.5), "p": Path("x") / "y"})
        assert json.loads(path.read_text()) == {"n": 3, "s": 0.5, "p": "x/y"}
        assert store.read_json(path)["n"] == 3

    def test_a_figure_that_is_no_number_is_never_written(self, tmp_path: Path):
        for value in (float("nan"), float("inf"), np.float32("nan")):
            with pytest.raises(ValueError, match="not JSON compliant"):
                store.write_json(tmp_path / "a.json", {"auc": value})
        assert files_in(tmp_path) == []

    def test_predictions_round_trip_to_the_last_bit(self, tmp_path: Path):
        rng = np.random.default_rng(0)
        scores = [*rng.random(500), 1e-300, 1 / 3, 0.0, 1.0, np.nextafter(0.5, 1)]
        predictions = [
            Prediction(f"{i:04}", "dl-cnb", "test", i % 2, (1 - s, s)) for i, s in enumerate(scores)
        ]
        path = tmp_path / "predictions.csv"
        store.write_predictions(path, predictions, classes=("N0", "N(+)"), folds=False)
        read = store.read_predictions(path)
        assert list(read.columns) == ["patient_id", "method", "cohort", "label", "score"]
        assert read["score"].tolist() == [float(s) for s in scores]
        assert read["patient_id"].tolist()[7] == "0007"
        assert read["label"].tolist()[:3] == [0, 1, 0]

    def test_predictions_of_several_classes_and_folds(self, tmp_path: Path):
        prediction = Prediction("7", "clinical", "test", 2, (0.1, 0.2, 0.7), repeat=1, fold=4)
        path = tmp_path / "predictions.csv"
        store.write_predictions(path, [prediction], classes=("a", "b", "c"), folds=True)
        assert path.read_text() == (
            "patient_id,method,cohort,label,score_a,score_b,score_c,repeat,fold\n"
            "7,clinical,test,2,0.10000000000000001,0.20000000000000001,0.69999999999999996,1,4\n"
        )

    def test_predictions_tell_what_was_imputed_for_them(self, tmp_path: Path):
        predictions = [
            Prediction("1", "clinical", "test", 0, (0.5, 0.5), imputed=("age", "er")),
            Prediction("2", "clinical", "test", 0, (0.5, 0.5), imputed=()),
            Prediction("1", "dl-cnb", "test", 0, (0.5, 0.5)),
        ]
        path = tmp_path / "predictions.csv"
        store.write_predictions(path, predictions, classes=("a", "b"), folds=False)
        assert path.read_text() == (
            "patient_id,method,cohort,label,score,imputed\n1,clinical,test,0,0.5,age;er\n"
            "2,clinical,test,0,0.5,\n1,dl-cnb,test,0,0.5,\n"
        )
        assert store.read_predictions(path)["imputed"].tolist() == ["age;er", "", ""]

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            (None, "cannot be read"),
            ("", "this is no CSV table"),
            ("patient_id,method,cohort,score\n1,a,test,0.5\n", "has no column `label`"),
            ("patient_id,method,cohort,label\n1,a,test,0\n", "has no column `score`"),
        ],
    )
    def test_predictions_that_are_none(self, tmp_path: Path, text, cause):
        path = tmp_path / "p.csv"
        if text is not None:
            path.write_text(text)
        with pytest.raises(StoreError, match=cause):
            store.read_predictions(path)


class TestSteps:
    @pytest.fixture
    def written(self, tmp_path: Path) -> Path:
        for name in ("a.txt", "deep/b.txt"):
            store.write_text(tmp_path / name, name)
        files = [tmp_path / "deep" / "b.txt", tmp_path / "a.txt"]
        store.write_step(tmp_path, "evaluate", key="k1", files=files)
        return tmp_path

    def test_a_step_is_done_with_its_key_only(self, written: Path):
        assert store.step_is_done(written, "evaluate", key="k1")
        assert not store.step_is_done(written, "evaluate", key="k2")
        assert not store.step_is_done(written, "report", key="k1")
        assert set(store.read_json(written / "steps" / "evaluate.json")["files"]) == {
            "a.txt", "deep/b.txt",
        }  # fmt: skip

    def test_a_changed_file_is_noticed(self, written: Path):
        store.write_text(written / "deep" / "b.txt", "deep/b.tx!")
        assert not store.step_is_done(written, "evaluate", key="k1")

    def test_a_missing_file_is_noticed(self, written: Path):
        (written / "a.txt").unlink()
        assert not store.step_is_done(written, "evaluate", key="k1")

    @pytest.mark.parametrize("content", ["{", "[]", '{"schema": 0}'])
    def test_a_damaged_record_is_no_record(self, written: Path, content):
        (written / "steps" / "evaluate.json").write_text(content)
        assert not store.step_is_done(written, "evaluate", key="k1")

    def test_forget(self, written: Path):
        store.forget_step(written, "evaluate")
        store.forget_step(written, "evaluate")
        assert not store.step_is_done(written, "evaluate", key="k1")

    def test_files_outside_the_study_are_no_part_of_it(self, tmp_path: Path):
        (tmp_path / "elsewhere.txt").write_text("x")
        with pytest.raises(ValueError, match="not in the subpath"):
            store.write_step(
                tmp_path / "out", "evaluate", key="k", files=[tmp_path / "elsewhere.txt"]
            )
