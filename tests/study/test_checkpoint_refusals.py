"""Files that are no checkpoint of the paper's, or not the one that was asked for, are told."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from axilla.core.errors import AxillaError, ConfigError, WeightsError
from axilla.study.checkpoints import import_checkpoint


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def refusal(path: Path, **options: Any) -> AxillaError:
    with pytest.raises(AxillaError) as caught:
        import_checkpoint(path, **{"encoder": "alexnet", "out": path.parent / "m", **options})
    assert not (path.parent / "m").exists(), "nothing is written"
    return caught.value


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"<!DOCTYPE html>\n<html>Sign in</html>", "this is a web page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "only a pointer to the file"),
        (b"", "cut off, damaged, or no checkpoint"),
        (b"garbage", "cut off, damaged, or no checkpoint"),
        (b"\x80\x02.", "cut off, damaged, or no checkpoint"),
        (b"PK\x03\x04broken", "cut off, damaged, or no checkpoint"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "best.pth"
    path.write_bytes(content)
    error = refusal(path)
    assert isinstance(error, WeightsError)
    assert cause in error.problem.cause
    assert error.problem.file == path


def test_a_truncated_checkpoint(save_checkpoint, alexnet_state) -> None:
    path = save_checkpoint(alexnet_state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    error = refusal(path)
    assert "cut off" in error.problem.cause
    assert error.problem.remedy == (
        "Copy or download it again, and compare its size with the source's."
    )


def test_no_such_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "gone.pth")
    assert error.problem.cause == "there is no such file."
    assert error.problem.file == tmp_path / "gone.pth"


def test_code_in_a_checkpoint_is_never_run(save_checkpoint, alexnet_state, tmp_path: Path) -> None:
    bomb = {**alexnet_state, "x": Bomb(tmp_path / "pwned")}
    old = tmp_path / "old.pth"
    old.write_bytes(pickle.dumps(Bomb(tmp_path / "pwned"), protocol=2))
    for path in (save_checkpoint(bomb), save_checkpoint(nn.Linear(2, 2), "whole.pth"), old):
        error = refusal(path)
        assert "Python objects besides weights" in error.problem.cause
        assert "torch.save(model.state_dict(), 'best.pth')" in error.problem.remedy
    assert not (tmp_path / "pwned").exists()


FC1 = "attention_aggregator.fc1.0.weight"
FIRST = "image_feature_extractor.extractor.0.0.weight"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({FC1: None}, f"the matrix `{FC1}` is missing"),
        ({FIRST: None}, f"does not fit alexnet: it lacks `{FIRST}` (1 such)"),
        (
            {FIRST: torch.zeros(64, 3, 7, 7)},
            f"`{FIRST}` is 64 x 3 x 7 x 7 instead of 64 x 3 x 11 x 11",
        ),
        (
            {"attention_aggregator.attention.0.weight": torch.zeros(128, 256)},
            "does not fit the paper's head: `attention_aggregator.attention.0.weight` is 128 x 256",
        ),
        ({"classifier.0.weight": torch.zeros(64, 300)}, "300 inputs, neither 256"),
        ({"classifier.2.weight": torch.zeros(5, 64)}, "last layer gives 5"),
        ({"status.0.weight": torch.zeros(2)}, "nothing takes its `status.0.weight` (1 such)"),
        ({"classifier.2.bias": torch.tensor([0, torch.nan])}, "`classifier.2.bias` hold values"),
    ],
)
def test_checkpoints_that_do_not_fit(
    save_checkpoint, alexnet_state, change: dict[str, Any], cause: str
) -> None:
    changed = {n: t for n, t in {**alexnet_state, **change}.items() if t is not None}
    path = save_checkpoint(changed)
    error = refusal(path)
    assert isinstance(error, WeightsError)
    assert cause in error.problem.cause
    assert error.problem.file == path
    assert error.problem.remedy


def test_another_encoder_is_named(save_checkpoint, alexnet_state, dl_cnb: Any) -> None:
    error = refusal(save_checkpoint(alexnet_state), encoder="vgg16_bn")
    assert error.problem.cause == (
        "the model's encoder gives 9,216 numbers a patch, and vgg16_bn 25,088."
    )
    assert error.problem.remedy == "Give --encoder alexnet."
    # Both give 2,048 numbers: the names of the layers tell.
    path = save_checkpoint(dl_cnb.theirs("resnet50").state_dict(), "r.pth")
    error = refusal(path, encoder="inception_v3")
    assert "does not fit inception_v3: it lacks" in error.problem.cause
    error = refusal(path, encoder="small_cnn")
    assert isinstance(error, ConfigError)
    assert "vgg16_bn" in error.problem.remedy


def test_a_file_of_other_tensors(save_checkpoint) -> None:
    assert (
        "this is no model of the paper"
        in refusal(save_checkpoint({"a": torch.zeros(2)})).problem.cause
    )
    assert "holds no state dict" in refusal(save_checkpoint([torch.zeros(2)])).problem.cause
    assert "holds no state dict" in refusal(save_checkpoint({"a": 3})).problem.cause


def test_options_that_contradict_the_checkpoint(
    save_checkpoint, alexnet_state, dl_cnb: Any
) -> None:
    path = save_checkpoint(alexnet_state)
    assert refusal(path, clinical=True).problem.remedy == "Leave out --clinical."
    assert "has 2 classes, and task 2 3" in refusal(path, task=2).problem.cause
    fused = save_checkpoint(dl_cnb.theirs("alexnet", clinical=True).state_dict(), "c.pth")
    assert refusal(fused).problem.remedy == "Add --clinical."
