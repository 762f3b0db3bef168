"""Killed, out of disk, cut: nothing is lost, nothing half-written is read, the next run repairs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from axilla.core.config import StudyConfig
from axilla.study.chain import StudyResult, run

Study = tuple[StudyConfig, StudyResult]
Again = Callable[..., StudyConfig]

COMMON = """
import os, random, resource, signal, sys, time
from pathlib import Path
import lightning_fabric, torch, torch._dynamo
from axilla.cli import main
from axilla.core.config import load_config
from axilla.study import chain, evaluating

torch.set_num_threads(1)
sketches = Path(sys.argv[1])
evaluating.rendered = lambda _, suffix: (sketches / f"sketch{suffix}").read_bytes()

def start(*arguments, limit=None):
    pid = os.fork()
    if pid == 0:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        sys.argv = ["axilla", *arguments]
        try:
            main()
        except SystemExit as ended:
            sys.stderr.flush()
            os._exit(int(ended.code or 0))
        finally:
            os._exit(99)
    return pid
"""
"""A process that has imported all and forks for each run: importing takes longer than a run."""

KILLED = (
    COMMON
    + """
study, seed = sys.argv[2], int(sys.argv[3])
rng = random.Random(seed)
for step in ("tile", "embed", "train", "evaluate"):
    kills, reach = 0, 0.1
    while True:
        pid = start(step, study)
        # A few kills anywhere in what is left of the step, each time further in, then let it end.
        if kills < 2:
            time.sleep(rng.uniform(0, reach))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            kills, reach = kills + 1, reach * 2
            continue
        assert os.WEXITSTATUS(status) == 0, status
        break
    print(step, kills, file=sys.stderr)
"""
)

FULL = (
    COMMON
    + """
study = sys.argv[2]
for limit in (20_000, 100_000):
    status = os.waitpid(start("predict", study, limit=limit), 0)[1]
    print("ended", os.WEXITSTATUS(status), file=sys.stderr, flush=True)
status = os.waitpid(start("predict", study), 0)[1]
assert os.WEXITSTATUS(status) == 0, status
"""
)
"""The kernel refuses to let a file grow, as it does on a full disk, first for small files."""


def go(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=300,
        # As many threads as this process: sums are equal to the last bit only then.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def write_study(folder: Path, settings: dict[str, Any]) -> Path:
    plain = StudyConfig.model_validate(settings).model_dump(mode="json")
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump(plain | {"out": "killed"}), encoding="utf-8")
    return study


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".axilla.lock.json"
    }


def assert_equal(found: Path, expected: Path) -> None:
    ours, whole = contents(found), contents(expected)
    assert set(ours) == set(whole)
    assert [name for name in whole if ours[name] != whole[name]] == []


def test_killed_at_any_moment(
    frozen: Study, frozen_settings: dict[str, Any], again: Again, tmp_path: Path, sketches: Path
) -> None:
    whole = again(frozen[0])
    run(whole, until="evaluate")
    said = go(KILLED, sketches, write_study(tmp_path, frozen_settings), 1)
    kills = dict(line.split() for line in said.splitlines())
    assert set(kills) == {"tile", "embed", "train", "evaluate"}
    assert sum(map(int, kills.values())) >= 4, "not a test of being killed"
    assert_equal(tmp_path / "killed", whole.out)


def test_no_room_left(
    frozen: Study, frozen_settings: dict[str, Any], tmp_path: Path, sketches: Path
) -> None:
    said = go(FULL, sketches, write_study(tmp_path, frozen_settings))
    blocks = said.split("ended ")
    assert [block.splitlines()[0] for block in blocks[1:]] == ["2"] * 2
    # A slide's features, then a model: whichever is the first too large.
    for block, suffix in zip(blocks[:2], (".h5", ".safetensors"), strict=True):
        assert "1. it cannot be written: the file would be larger than is allowed here." in block
        (file,) = [line for line in block.splitlines() if line.startswith("   file:")]
        assert file.endswith(suffix)
        assert str(tmp_path / "killed") in file
    assert_equal(tmp_path / "killed", frozen[0].out)


CUT = (
    "patches/SYN-0003.parquet", "features/small_cnn/SYN-0004.h5",
    "models/dl-cnb/model.safetensors", "models/dl-cnb+c/model.json", "models/dl-cnb/history.csv",
    "models/dl-cnb/model_card.md",
    "predictions.csv", "split.csv", "exclusions.csv", "steps/predict.json", "steps/split.json",
    "steps/checked.json", "check.json", "models/dl-cnb/model_card.md",
)  # fmt: skip


def test_what_is_cut_is_made_again(frozen: Study, again: Again) -> None:
    config = again(frozen[0])
    kinds = {path.suffix for path in config.out.rglob("*") if path.is_file()} - {".lock"}
    assert kinds == {Path(name).suffix for name in CUT}
    rng = np.random.default_rng(4)
    for name in CUT:
        path = config.out / name
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.integers(0, len(content) - 1))])
        run(config, until="predict")
        assert path.read_bytes() == content, name
    assert_equal(config.out, frozen[0].out)


def test_all_that_is_cut_at_once(frozen: Study, again: Again) -> None:
    config = again(frozen[0])
    rng = np.random.default_rng(5)
    for path in config.out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            path.write_bytes(content[: int(rng.integers(0, max(len(content) - 1, 1)))])
    run(config, until="predict")
    assert_equal(config.out, frozen[0].out)


def test_a_patient_who_was_tested_does_not_train(frozen: Study, again: Again) -> None:
    from axilla.core.errors import InputProblems

    config = again(frozen[0], split={"seed": 1})
    before = contents(config.out)
    with pytest.raises(InputProblems) as caught:
        run(config, until="predict")
    (problem,) = caught.value.problems
    assert problem.code == "split-changed"
    assert "would move between training and test against the split saved" in problem.cause
    assert "another `out:`" in problem.remedy
    changed = {name for name, content in contents(config.out).items() if content != before[name]}
    assert changed == {"check.json"}
    # Without the saved split there is nothing to contradict; cut, it cannot be told.
    saved = (config.out / "split.csv").read_bytes()
    (config.out / "split.csv").write_bytes(saved[:100])
    with pytest.raises(InputProblems) as caught:
        run(config, until="predict")
    assert [p.code for p in caught.value.problems] == ["split-damaged"]
    (config.out / "split.csv").unlink()
    result = run(config, until="tile")
    assert (config.out / "split.csv").read_bytes() != saved
    assert result.partitions[0].cohort_of != frozen[1].partitions[0].cohort_of
