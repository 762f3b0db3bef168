"""A scanner's folder: every case once, whatever happens to the watcher."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from axilla.core import store
from axilla.core.errors import BusyError, CohortError
from axilla.core.progress import Silent
from axilla.deploy.loading import LoadedModel, load_model
from axilla.deploy.predicting import RECORD
from axilla.deploy.watching import Handled, Watch, ledger, watch_folder
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from axilla.core.config import StudyConfig
    from axilla.study.chain import StudyResult

    Study = tuple[StudyConfig, StudyResult]


@pytest.fixture(scope="module")
def model(trained_whole: Study) -> LoadedModel:
    return load_model(Layout(trained_whole[0].out).model("dl-cnb", "split"))


class Scanner:
    """Writes slides into a folder."""

    def __init__(self, study: Study, folder: Path) -> None:
        self._config = study[0]
        self.people = study[1].partitions[0].members("test")
        self.folder = folder
        folder.mkdir()

    def scan(self, index: int, name: str, *, age_s: float = 60) -> Path:
        """A test patient's slide and outline under another name, as if `age_s` ago."""
        patient = self.people[index]
        (slide,) = self._config.slides.glob(f"{patient}.*")  # type: ignore[union-attr]
        (outline,) = self._config.annotation_folder.glob(f"{patient}.*")  # type: ignore[union-attr]
        made = self.folder / f"{name}{slide.suffix}"
        shutil.copyfile(slide, made)
        shutil.copyfile(outline, self.folder / f"{name}.annotation.json")
        self.settle(made, self.folder / f"{name}.annotation.json", age_s=age_s)
        return made

    @staticmethod
    def settle(*paths: Path, age_s: float = 60) -> None:
        then = time.time() - age_s
        for path in paths:
            os.utime(path, (then, then))


@pytest.fixture
def scanner(trained_whole: Study, tmp_path: Path) -> Scanner:
    return Scanner(trained_whole, tmp_path / "scanner")


def look(model: LoadedModel, scanner: Scanner, out: Path, **more: Any) -> tuple[Handled, ...]:
    return watch_folder(model, Watch(scanner.folder, out, **more), reporter=Silent(), once=True)


def test_each_case_once(model: LoadedModel, scanner: Scanner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scanner.scan(0, "A")
    scanner.scan(1, "B", age_s=1)
    assert [h.name for h in look(model, scanner, out)] == ["A"], "B is still being written"
    assert look(model, scanner, out) == ()
    told = json.loads((out / "A" / RECORD).read_text(encoding="utf-8"))
    assert told["patient_id"] == "A"
    assert told["slides"][0]["annotation"] == "A.annotation.json"
    assert (out / "A" / "case.html").is_file()
    Scanner.settle(*scanner.folder.glob("B*"))
    assert [h.name for h in look(model, scanner, out)] == ["B"]
    scanner.scan(2, "A", age_s=30)
    assert [h.name for h in look(model, scanner, out)] == ["A"], "the slide is another one"
    assert [entry["case"] for entry in ledger(out)] == ["A", "B"]


def test_a_failure_is_told_and_tried_again_when_a_file_changes(
    model: LoadedModel, scanner: Scanner, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    slide = scanner.scan(0, "A")
    whole = slide.read_bytes()
    slide.write_bytes(whole[:300])
    Scanner.settle(slide)
    (failed,) = look(model, scanner, out)
    assert failed.outcome == "failed"
    assert failed.reason
    assert ledger(out)[0]["reason"] == failed.reason
    assert not (out / "A" / RECORD).exists()
    assert look(model, scanner, out) == ()
    slide.write_bytes(whole)
    Scanner.settle(slide, age_s=40)
    (done,) = look(model, scanner, out)
    assert done.outcome in {"done", "doubtful"}


def test_values_and_two_slides_of_a_name(
    model: LoadedModel, scanner: Scanner, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    slide = scanner.scan(0, "A")
    (scanner.folder / "A.json").write_text("[1]")
    Scanner.settle(scanner.folder / "A.json")
    (failed,) = look(model, scanner, out)
    assert "no object of clinical values" in failed.reason
    (scanner.folder / "A.json").write_text('{"age": 47}')
    Scanner.settle(scanner.folder / "A.json")
    (done,) = look(model, scanner, out)
    assert done.outcome != "failed"
    notes = json.loads((out / "A" / RECORD).read_text(encoding="utf-8"))["notes"]
    assert notes == ["`age` is not looked at: the model reads no clinical values."]
    shutil.copy2(slide, scanner.folder / "A.tif")
    (twice,) = look(model, scanner, out)
    assert "several slides are named A" in twice.reason
    assert look(model, scanner, out) == ()


class Killed(BaseException):
    """What a kill looks like from within: nothing is caught, nothing is cleaned up after."""


@pytest.mark.parametrize("writes", range(6))
def test_killed_at_any_write_no_case_is_lost_and_none_comes_twice(
    model: LoadedModel,
    scanner: Scanner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
) -> None:
    """Page, tiles, record and ledger are written one after the other: dead before each of them."""
    out = tmp_path / "out"
    scanner.scan(0, "A")
    real = store.atomic.write_bytes
    left = [writes]
    published: list[Path] = []

    def write(path: Path, content: bytes) -> None:
        if path.name.startswith(".axilla.lock"):
            real(path, content)
            return
        if out in path.parents and left[0] == 0:
            raise Killed
        left[0] -= out in path.parents
        real(path, content)
        if path.name == RECORD:
            published.append(path)

    with monkeypatch.context() as patched:
        patched.setattr("axilla.core.store.atomic.write_bytes", write)
        try:
            look(model, scanner, out)
            died = False
        except Killed:
            died = True
    assert died == (writes < 5), "ledger, page, tiles, record, ledger"
    with monkeypatch.context() as patched:
        left[0] = 1000
        patched.setattr("axilla.core.store.atomic.write_bytes", write)
        look(model, scanner, out)
        look(model, scanner, out)
    assert published == [out / "A" / RECORD], "published once"
    (entry,) = ledger(out)
    assert entry["outcome"] in {"done", "doubtful"}


def test_killed_with_nine(
    trained_whole: Study, model: LoadedModel, scanner: Scanner, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for index in range(3):
        scanner.scan(index, f"C{index}")
    folder = Layout(trained_whole[0].out).model("dl-cnb", "split")
    command = [
        sys.executable, "-m", "axilla", "predict-case", str(folder), "--watch",
        str(scanner.folder), "--out", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait((out / "C0" / RECORD).is_file, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob(f"*/{RECORD}")}
    assert 1 <= len(before) < 3
    watch_folder(model, Watch(scanner.folder, out), reporter=Silent(), once=True)
    assert sorted(path.parent.name for path in out.glob(f"*/{RECORD}")) == ["C0", "C1", "C2"]
    assert all(path.stat().st_mtime_ns == then for path, then in before.items()), "none twice"
    assert [entry["outcome"] in {"done", "doubtful"} for entry in ledger(out)] == [True] * 3
    assert not list(out.rglob("*.axilla-tmp"))


def _wait(done: Any, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 300
    while not done():
        assert process.poll() is None, "the watcher ended"
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_watcher_a_folder(model: LoadedModel, scanner: Scanner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with store.locked(out), pytest.raises(BusyError):
        look(model, scanner, out)


def test_folders_that_cannot_be(model: LoadedModel, scanner: Scanner, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no such folder"):
        watch_folder(model, Watch(tmp_path / "gone", tmp_path), reporter=Silent(), once=True)
    for out in (scanner.folder, tmp_path):
        with pytest.raises(CohortError, match="would lie among the slides"):
            look(model, scanner, out)
