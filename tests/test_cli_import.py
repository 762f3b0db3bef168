"""`axilla import-checkpoint` as its users meet it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from axilla.cli import main
from axilla.core import store

Axilla = Callable[..., tuple[int, str, str]]


@pytest.fixture
def axilla(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Axilla:
    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["axilla", "import-checkpoint", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return 0 if code is None else int(code), said.out, said.err

    return call


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DL-CNB+C with AlexNet under the authors' names, all its weights 0.01."""
    sizes = {
        **{f"image_feature_extractor.extractor.0.{number}": (out, into, side, side)
           for number, out, into, side in ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3),
                                           (8, 256, 384, 3), (10, 256, 256, 3))},
        "attention_aggregator.fc1.0": (256, 256 * 6 * 6),
        "attention_aggregator.attention.0": (1, 256), "attention_aggregator.attention.3": (1, 1),
        "classifier.0": (64, 256 + 5 * 10), "classifier.2": (2, 64),
    }  # fmt: skip
    state = {f"{name}.weight": torch.full(size, 0.01) for name, size in sizes.items()}
    state |= {f"{name}.bias": torch.full(size[:1], 0.01) for name, size in sizes.items()}
    path: Path = tmp_path_factory.mktemp("theirs") / "best.pth"
    torch.save(state, path)
    return path


def test_it_says_what_it_made(
    axilla: Axilla, best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = axilla(best, "--encoder", "alexnet", "--clinical", "--batch-norm", "batch")
    assert (code, err) == (0, "")
    assert " ".join(out.split()) == (
        "Note: A checkpoint does not say its endpoint: taken as task 0, N0 against N(+); --task "
        "says another. dl-cnb+c with alexnet, N0 / N(+), in best-alexnet"
    )
    record = store.read_model(tmp_path / "best-alexnet").record
    assert (record["original"], record["batch_norm"]) == (True, "batch")
    assert record["architecture"]["clinical"] == 5


def test_a_mistake_is_a_sentence(axilla: Axilla, best: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    code, _, err = axilla(best, "--encoder", "vgg16_bn", "--clinical", "--out", out)
    said = " ".join(err.split())
    assert code == 2
    assert "9,216 numbers a patch, and vgg16_bn 25,088" in said
    assert "Give --encoder alexnet." in said
    assert "Traceback" not in err
    code, _, err = axilla(best, "--encoder", "alexnet", "--out", out)
    assert code == 2
    assert "Add --clinical." in " ".join(err.split())
    whole = tmp_path / "whole.pth"
    torch.save(nn.Linear(1, 1), whole)
    code, _, err = axilla(whole, "--encoder", "alexnet", "--out", out)
    assert code == 2
    assert "could run foreign code" in " ".join(err.split())
    assert not out.exists()
