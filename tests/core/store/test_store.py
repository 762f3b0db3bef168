"""Files written whole, the identity of their content, records, predictions and steps."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from axilla.core import store
from axilla.core.errors import StoreError, WriteError
from axilla.core.store.atomic import atomic_path
from axilla.core.types import Prediction

HALF_WRITTEN = """
import os, signal, sys
from pathlib import Path
from axilla.core.store.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestAtomic:
    def test_a_file_is_written_whole(self, tmp_path: Path, files_in):
        store.write_text(tmp_path / "deep" / "a.txt", "é\n")
        assert (tmp_path / "deep" / "a.txt").read_bytes() == "é\n".encode()
        assert files_in(tmp_path) == ["a.txt"]

    def test_a_failure_inside_leaves_the_old_file(self, tmp_path: Path, files_in):
        store.write_text(tmp_path / "a.txt", "old")

        def fail():
            with atomic_path(tmp_path / "a.txt") as temporary:
                temporary.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert (tmp_path / "a.txt").read_text() == "old"
        assert files_in(tmp_path) == ["a.txt"]

    def test_sweep_removes_what_a_killed_run_left(self, tmp_path: Path, files_in):
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

    def test_a_long_name_in_another_alphabet(self, tmp_path: Path, files_in):
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
        self, tmp_path: Path, monkeypatch, files_in, *, number, cause, remedy
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


class TestRecords:
    def test_json(self, tmp_path: Path):
        path = tmp_path / "a.json"
        store.write_json(path, {"n": np.int64(3), "s": np.float32(0.5), "p": Path("x") / "y"})
        assert json.loads(path.read_text()) == {"n": 3, "s": 0.5, "p": "x/y"}
        assert store.read_json(path)["n"] == 3

    def test_a_figure_that_is_no_number_is_never_written(self, tmp_path: Path, files_in):
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
            (
                "patient_id;method;cohort;label;score\n1;a;test;0;0,5\n",
                r"separated by semicolons\. Save it as CSV with commas and decimal points\.$",
            ),
            (
                "patient_id,method,cohort,label,score\n1,a,test,0,0.5,0.6\n",
                "its rows have more cells than its first row has column names",
            ),
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
