"""The command line as its users meet it: sentences and exit codes, never a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from axilla import __version__
from axilla.core import store

Axilla = Callable[..., Any]


def write_cohort(folder: Path, *, patients: int = 20, **changes: Any) -> Path:
    """A clinical study that runs in a second; returns its study.yaml."""
    rows = ["patient_id,age,tumor_size_cm,er,pr,her2,nodes"]
    rows += [
        f"P{n:02d},{40 + n},{1 + n % 7 * 0.3:.1f},positive,negative,negative,{n % 2}"
        for n in range(patients)
    ]
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return write_study(folder, **changes)


def write_study(folder: Path, **changes: Any) -> Path:
    settings = {
        "cohort": "cohort.csv", "endpoint": "n0-vs-npos", "methods": ["clinical"], "threshold": 0.5,
    }  # fmt: skip
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump(settings | changes), encoding="utf-8")
    return study


def start(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], check=False, capture_output=True, text=True, timeout=300,
        env={**os.environ, **(env or {})},
    )  # fmt: skip


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    done = start("-c", """
import sys
from axilla.cli import main
sys.argv = ["axilla", "--help"]
try:
    main()
finally:
    heavy = {"torch", "pandas", "matplotlib", "numpy", "sklearn", "cv2", "pydantic"}
    print("heavy:", sorted(heavy & set(sys.modules)))
""")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    for command in ("check", "run", "tile", "embed", "train", "predict", "evaluate", "explain",
                    "report", "demo", "generate", "schema"):  # fmt: skip
        assert re.search(rf"\b{command}\b", done.stdout)


def test_a_real_process_refuses_without_a_traceback(tmp_path: Path) -> None:
    study = write_cohort(tmp_path, folds=5)
    done = start("-m", "axilla.cli", "run", str(study))
    assert done.returncode == 2
    assert "unknown key `folds`" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""


def test_no_arguments_and_version(axilla: Axilla) -> None:
    assert axilla("--version") == (0, f"{__version__}\n", "")
    assert "Research use only" in axilla().out + axilla("--help").out
    assert axilla("frobnicate").code == 2


def test_schema_is_valid_and_whole(axilla: Axilla) -> None:
    from axilla.core.config import StudyConfig

    answer = axilla("schema")
    schema = json.loads(answer.out)
    assert answer.code == 0
    assert set(schema["properties"]) == set(StudyConfig.model_fields)
    assert schema["required"] == ["cohort"]
    assert schema["additionalProperties"] is False
    for key, model in (
        ("Patches", "size max_blank white_level white_by mpp edge"),
        ("Bags", "size redraw per_epoch file"),
        ("Encoder", "name weights trainable input_px"),
        ("Clinical", "numeric categorical missing"),
        ("Heatmaps", "scale ome_tiff"),
        ("FoldSplit", "folds repeats group validation seed"),
    ):
        assert set(schema["$defs"][key]["properties"]) >= set(model.split())

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [r for v in value.values() for r in references(v)]
        return [r for v in value for r in references(v)] if isinstance(value, list) else []

    names = {ref.removeprefix("#/$defs/") for ref in references(schema)}
    assert names <= set(schema["$defs"]), "every reference leads somewhere"


def test_check_and_run(axilla: Axilla, tmp_path: Path) -> None:
    study = write_cohort(tmp_path)
    assert axilla("check", study) == (0, "No problem found.\n", "")
    first = axilla("run", study)
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines() == [
        "train     1 model, 1 now",
        "predict   20 patients",
        "evaluate  tables and figures written",
        f"report    {tmp_path / 'out' / 'report.html'}",
        f"Report: {tmp_path / 'out' / 'report.html'}",
    ]
    second = axilla("run", study)
    assert second.out.splitlines()[:4] == [
        "train     1 model, done before",
        "predict   done before",
        "evaluate  done before",
        "report    done before",
    ]
    for text in (first.out, second.out):
        assert "\x1b" not in text
        assert "\r" not in text, "no progress bar where nobody watches"


def test_a_run_tells_what_earlier_settings_left(axilla: Axilla, tmp_path: Path) -> None:
    study = write_cohort(tmp_path)
    (tmp_path / "out" / "patches").mkdir(parents=True)
    (tmp_path / "out" / "patches" / "Q010.parquet").touch()
    (tmp_path / "out" / "models" / "dl-cnb").mkdir(parents=True)
    (tmp_path / "out" / "models" / "dl-cnb" / "model.json").touch()
    said = axilla("run", study).out
    folder = tmp_path / "out" / "models" / "dl-cnb"
    assert f"note      left from earlier settings: models of dl-cnb ({folder}). Delete" in said
    assert "note      left of slides that are no longer in the table: Q010 (patches): del" in said
    assert (tmp_path / "out" / "patches" / "Q010.parquet").exists()
    assert "left" not in axilla("predict", study).out


@pytest.mark.parametrize(("launched", "said"), [(None, True), ("axilla", False)])
def test_control_c_says_that_a_run_goes_on_later(
    axilla: Axilla,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    launched: str | None,
    said: bool,
) -> None:
    """Of several processes that we started only the one that started them speaks."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if launched is not None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", launched)
    monkeypatch.setattr("axilla.study.chain.run", interrupted)
    told = "Stopped. Start the same command again: it goes on where it was.\n"
    assert axilla("run", write_cohort(tmp_path)) == (130, "", told if said else "")


NO_SLIDE = (
    "there is no slide {}.<svs, ndpi, mrxs, scn, bif, vms, svslide, tif, tiff, dcm, jpg, jpeg, "
    "png, bmp>."
)
DAMAGED = (
    "the image of slide P04 cannot be decoded: it is damaged, cut short, or not what its ending "
    "`.png` says."
)


def test_explain_audit_needs_no_training(axilla: Axilla, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    study = write_cohort(
        tmp_path, methods=["dl-cnb"], slides="slides", regions="whole", patches={"size": 16},
        encoder={"name": "small_cnn", "weights": "none", "trainable": True},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 250, (32, 32, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "slides" / f"P{number:02d}.png"), pixels)
    answer = axilla("explain", "--audit", study)
    page = tmp_path / "out" / "audit" / "index.html"
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith(f"audit     20 slides, 20 drawn now\nLook at: {page}\n")
    assert len(list(page.parent.glob("*.png"))) == 20
    assert not (tmp_path / "out" / "models").exists()


def test_check_lists_everything_at_once(axilla: Axilla, tmp_path: Path) -> None:
    slides, notes = tmp_path / "slides", tmp_path / "notes"
    slides.mkdir()
    notes.mkdir()
    study = write_cohort(
        tmp_path, methods=["clinical", "dl-cnb"], slides="slides", annotations="notes",
        regions="whole", patches={"size": 16},
        encoder={"name": "small_cnn", "weights": "none", "trainable": True},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(20):
        cv2.imwrite(str(slides / f"P{number:02d}.png"), rng.integers(0, 250, (32, 32, 3), np.uint8))
    (slides / "P03.png").unlink()
    (slides / "P04.png").write_text("no picture", encoding="utf-8")
    with (tmp_path / "cohort.csv").open("a", encoding="utf-8") as table:
        table.write("P05,50,2.0,positive,negative,negative,1\n")
        table.write("P20,,2.0,positive,negative,negative,1\n")
        table.write("P21,50,2.0,positive,negative,negative,some\n")
    answer = axilla("check", study)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("9 problems in the inputs:\n1. ")
    blocks = re.split(r"^\d+\. ", answer.err, flags=re.MULTILINE)[1:]
    found = [(re.search(r"patient: (.+)", block), block.split("\n")[0]) for block in blocks]
    assert [(who[1] if who else "", cause) for who, cause in found] == [
        ("P03", NO_SLIDE.format("P03")),
        ("P05", "the patient stands in 2 rows."),
        ("P05", "the rows disagree on `age` ('45', '50')."),
        ("P05", "the rows disagree on `tumor_size_cm` ('2.5', '2.0')."),
        ("P20", NO_SLIDE.format("P20")),
        ("P20", "`age` is missing."),
        ("P21", "`nodes` is 'some', which is no count of positive lymph nodes."),
        ("P21", NO_SLIDE.format("P21")),
        ("P04", DAMAGED),
    ]  # fmt: skip
    for block in blocks:
        assert "   file:    " in block
        assert "   remedy:  " in block
    refused = axilla("run", study)
    assert (refused.code, refused.err) == (2, answer.err)


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"patchs": {"size": 64}}, ["unknown key `patchs` (did you mean `patches`?)"]),
        ({"bags": {"sizes": 10}, "endpoint": "n0-vs-all"},
         ["unknown key `bags.sizes`", "`endpoint` is 'n0-vs-all', but may be n0-vs-npos"]),
        ({"cohort": "${NOT_SET_ANYWHERE}/cohort.csv"},
         ["environment variable NOT_SET_ANYWHERE, which is not set", "export NOT_SET_ANYWHERE="]),
        ({"cohort": "nowhere.csv"}, ["there is no such file.", "nowhere.csv"]),
        ({"methods": ["dl-cnb"], "slides": "nowhere"}, ["there is no such folder.", "nowhere"]),
        ({"methods": ["dl-cnb"]}, ["slides: missing, but methods name dl-cnb"]),
    ],
    ids=["key", "two", "variable", "cohort", "slides", "no slides"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "run"])
def test_what_is_wrong_with_a_study(
    command: str, changes: dict[str, Any], sentences: list[str], axilla: Axilla, tmp_path: Path
) -> None:
    answer = axilla(command, write_cohort(tmp_path, **changes))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("1 problem in the inputs:\n1. ")
    for sentence in sentences:
        assert sentence in answer.err
    assert "Traceback" not in answer.err


def test_a_study_file_that_is_none(axilla: Axilla, tmp_path: Path) -> None:
    for name, content in (("a.yaml", b"\xff\xfe\x00"), ("b.yaml", b"{"), ("c.yaml", b"")):
        (tmp_path / name).write_bytes(content)
    for name in ("a.yaml", "b.yaml", "c.yaml", "nowhere.yaml", "."):
        answer = axilla("check", tmp_path / name)
        assert answer.code == 2
        assert "1 problem in the inputs" in answer.err


def test_an_out_that_cannot_be_written(axilla: Axilla, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    answer = axilla("run", write_cohort(tmp_path, out="taken"))
    assert answer.code == 2
    assert "cannot be written: a file stands where the folder should be." in answer.err
    assert "taken" in answer.err
    assert "Traceback" not in answer.err


def test_two_runs_at_once(axilla: Axilla, tmp_path: Path) -> None:
    study = write_cohort(tmp_path)
    with store.locked(tmp_path / "out"):
        for command in ("run", "train", "evaluate"):
            answer = axilla(command, study)
            assert (answer.code, answer.out) == (75, "")
            assert answer.err.startswith(
                "The output folder is in use:\n1. another run is working in this folder (process "
                f"{os.getpid()} on "
            )
            assert f"file:    {tmp_path / 'out'}" in answer.err
            assert "Traceback" not in answer.err
        assert axilla("check", study).code == 0, "to look does no harm"
    assert axilla("train", study).code == 0


def test_check_json_says_the_same_to_programs(axilla: Axilla, tmp_path: Path) -> None:
    study = write_cohort(tmp_path, name="Mine")
    with (tmp_path / "cohort.csv").open("a", encoding="utf-8") as table:
        table.write("P 05,50,2.0,positive,negative,negative,\n")
    assert axilla("check", study).code == 2
    said = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert {n: said[n] for n in ("schema", "axilla", "study", "patients", "slides")} == {
        "schema": 1, "axilla": __version__, "study": "Mine", "slides": 0,
        "patients": {"enrolled": 21, "usable": 19, "excluded": 2},
    }  # fmt: skip
    assert [(p["code"], p["patient"], p["fatal"]) for p in said["problems"]] == [
        ("table", "P 05", False),
        ("alike-patients", "P05", False),
        ("alike-patients", "P 05", False),
    ]
    for problem in said["problems"]:
        assert set(problem) == {"code", "patient", "slide", "file", "cause", "remedy", "fatal"}
        assert problem["file"] == str(tmp_path / "cohort.csv")


def test_import_ucsb(axilla: Axilla, tmp_path: Path) -> None:
    (tmp_path / "ytma10_010704_benign1_ccd.png").touch()
    table = tmp_path / "ucsb.csv"
    assert axilla("import-ucsb", tmp_path, table) == (0, f"1 images in {table}\n", "")
    assert axilla("import-ucsb", tmp_path / "nowhere", table).code == 2


def test_generate(axilla: Axilla, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    answer = axilla("generate", folder, "--patients", 1, "--seed", 3)
    assert answer.code == 0
    assert len(pd.read_csv(folder / "cohort.csv")) == 1
    assert "done before" in axilla("generate", folder, "--patients", 1, "--seed", 3).out
    finer = axilla("generate", tmp_path / "finer", "--patients", 1, "--seed", 3, "--mpp", 0.5)
    assert finer.code == 0
    with Image.open(next((tmp_path / "finer" / "slides").iterdir())) as slide:
        assert slide.size == (2200, 1600)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    refused = axilla("generate", tmp_path / "mine", "--patients", 1)
    assert refused.code == 2
    assert "holds other files" in refused.err


def test_the_encoders_are_listed_with_what_stands_between_them_and_this_machine(
    axilla: Axilla, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    said = axilla("encoders")
    assert said.code == 0
    first, why, licence = said.out.splitlines()[:3]
    assert first.split() == ["alexnet", "-", "224", "px", "->", "9,216"]
    assert why.strip() == "weights not here: downloaded when first used, or give a file"
    assert licence.strip() == (
        "licence, as far as known (the model's card decides): torchvision's; trained on ImageNet"
    )
    assert "huggingface.co/paige-ai/Virchow2 with your account" in said.out
    one = axilla("encoders", "virchow2")
    assert one.out.splitlines()[0].split() == ["virchow2", "-", "224", "px", "->", "2,560"]
    wrong = axilla("encoders", "virchow3")
    assert wrong.code == 2
    assert "did you mean `virchow2`?" in wrong.err
