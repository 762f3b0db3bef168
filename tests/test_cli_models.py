"""`axilla models` as its users meet it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axilla.cli import main
from axilla.core import store
from axilla.mil.onnx_export import Exported
from axilla.study.exporting import OnnxExport

Axilla = Callable[..., tuple[int, str, str]]
RECORD: dict[str, Any] = {
    "method": "dl-cnb", "classes": ["N0", "N(+)"], "endpoint": "n0-vs-npos", "study": "Here",
    "architecture": {"kind": "dl-cnb", "features": 2}, "members": [{"key": "k", "seed": 1}],
    "encoder": {"name": "vgg16_bn"}, "versions": {"axilla": "0.1.0"},
    "threshold": {"rule": "youden-validation", "value": 0.41234, "validation_patients": 40},
    "validation": {"n": 40, "auc": {"value": 0.8123, "low": 0.7, "high": 0.9}},
}  # fmt: skip


@pytest.fixture
def axilla(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Axilla:
    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["axilla", "models", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return 0 if code is None else int(code), said.out, said.err

    return call


def write(folder: Path, **changes: Any) -> str:
    """A model; the digest of its weights."""
    store.write_model(folder, store.StoredModel({"w": np.zeros(2)}, RECORD | changes), key="k")
    return str(store.read_model_record(folder)["weights_sha256"])


def test_a_line_a_model(axilla: Axilla, tmp_path: Path) -> None:
    digest = write(tmp_path / "a" / "models" / "dl-cnb")
    clinical = {"method": "clinical", "architecture": {"kind": "logistic"}, "encoder": None}
    write(tmp_path / "b", **clinical, validation=None, threshold={"rule": 0.5, "value": None})
    code, out, _ = axilla(tmp_path)
    assert code == 0
    head, first, second = out.splitlines()
    assert head.split()[0] == "Folder"
    assert first.split() == [
        str(tmp_path / "a" / "models" / "dl-cnb"), "dl-cnb", "n0-vs-npos", "vgg16_bn", "0.812",
        "[0.700,", "0.900]", "0.4123", digest[:12], "Here",
    ]  # fmt: skip
    assert second.split() == [
        str(tmp_path / "b"), "clinical", "n0-vs-npos", "–", "–", "–", digest[:12], "Here",
    ]  # fmt: skip


def test_the_folder_at_hand_and_for_programs(
    axilla: Axilla, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = write(tmp_path / "m", members=[{"key": "k", "seed": 1}, {"key": "l", "seed": 2}])
    monkeypatch.chdir(tmp_path)
    code, out, _ = axilla("--json")
    (told,) = json.loads(out)
    assert code == 0
    assert (told["folder"], told["weights_sha256"], told["members"]) == ("m", digest, 2)
    assert told["auc"] == {"value": 0.8123, "low": 0.7, "high": 0.9}
    assert (told["threshold"], told["validation_patients"], told["damaged"]) == (0.41234, 40, None)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.json", b"{", "the file is damaged."),
        ("model.json", b"[" * 100_000, "the file is damaged."),
        ("model.json", b'{"schema": 1}', "written by another version"),
        ("model.safetensors", b"", "a file beside the record is missing, or is not the one"),
        ("model.safetensors", None, "a file beside the record is missing, or is not the one"),
    ],
)
def test_a_damaged_one_is_a_line_that_says_so(
    axilla: Axilla, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    write(tmp_path / "good")
    write(tmp_path / "bad")
    if content is None:
        (tmp_path / "bad" / name).unlink()
    else:
        (tmp_path / "bad" / name).write_bytes(content)
    code, out, err = axilla(tmp_path)
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if str(tmp_path / "bad") in line]
    assert line.startswith(f"{tmp_path / 'bad'}: damaged. ")
    assert said in line
    assert str(tmp_path / "good") in out
    code, out, _ = axilla(tmp_path, "--json")
    assert code == 0
    assert [said in (model["damaged"] or "") for model in json.loads(out)] == [True, False]


def test_links_are_not_followed_nor_depths_without_end(axilla: Axilla, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere")
    look = tmp_path / "look"
    write(look.joinpath(*"123456"))
    write(look.joinpath(*"abcdefg"))
    (look / "round").symlink_to(look, target_is_directory=True)
    (look / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = [model["folder"] for model in json.loads(axilla(look, look, "--json")[1])]
    assert found == [str(look.joinpath(*"123456"))]


def test_names_steer_no_terminal_and_break_no_line(axilla: Axilla, tmp_path: Path) -> None:
    write(tmp_path, study="a\x1b[31m\nb")
    _, out, _ = axilla(tmp_path)
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize("prepared", [(), ("cut at 0.5 µm per pixel", "of normalised stain")])
def test_an_exported_graph_that_takes_prepared_patches_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prepared: tuple[str, ...],
) -> None:
    inputs: dict[str, tuple[int | str, ...]] = {"patches": ("patches_in_bag", 3, 24, 24)}
    graph = Exported(inputs, ("probabilities", "attention"), 1e-7, prepared)
    made = OnnxExport(graph, without_encoder=None)
    monkeypatch.setattr("axilla.study.exporting.export_bundle", lambda *_, **__: made)
    monkeypatch.setattr(sys, "argv", ["axilla", "export-onnx", str(tmp_path), "m.onnx"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Note")]
    told = (
        "Note: the graph takes patches as the model was trained on them, cut at 0.5 µm per pixel, "
        "of normalised stain; patches as they come from a slide are scored wrongly."
    )
    assert notes == ([told] if prepared else [])


def test_no_model_and_no_folder(axilla: Axilla, tmp_path: Path) -> None:
    assert axilla(tmp_path)[:2] == (0, "No model found.\n")
    assert axilla(tmp_path, "--json")[:2] == (0, "[]\n")
    code, _, err = axilla(tmp_path / "nowhere")
    assert code == 2
    assert "does not exist" in " ".join(err.replace("│", " ").split())
