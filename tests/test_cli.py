"""The command line as its users meet it: sentences and exit codes, never a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from axilla import __version__
from axilla.analysis.roc import compare_paired
from axilla.cli import main
from axilla.console import ConsoleReporter, print_problems
from axilla.core import store
from axilla.core.errors import Problem
from axilla.mil.training import Epoch


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Axilla = Callable[..., Answer]


@pytest.fixture
def axilla(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Axilla:
    """Run a command in this process, as the console script would."""

    def call(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["axilla", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return Answer(0 if code is None else int(code), said.out, said.err)

    return call


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
    assert axilla("--version") == Answer(0, f"{__version__}\n", "")
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
    assert axilla("check", study) == Answer(0, "No problem found.\n", "")
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


def test_problems_are_a_table_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = Problem(
        "it is [red]wrong[/red] \x1b[31m.", "Mend it.", "P1", Path("/data/a.svs"), slide="S1"
    )
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    print_problems((problem,))
    shown = capsys.readouterr().err
    assert shown.startswith("1 problem in the inputs:\n")
    for cell in ("P1", "slide S1", "a.svs", "[red]wrong[/red]", "Mend it.", "lie in: /data"):
        assert cell in shown
    assert "\x1b[31m" not in shown, "a table cannot steer the terminal"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    print_problems((problem,))
    assert capsys.readouterr().err == (
        "1 problem in the inputs:\n1. it is [red]wrong[/red] \N{REPLACEMENT CHARACTER}[31m.\n"
        "   patient: P1\n   slide:   S1\n   file:    /data/a.svs\n   remedy:  Mend it.\n"
    )


def predictions(**columns: Any) -> pd.DataFrame:
    """Two methods on three cohorts of 20."""
    rng = np.random.default_rng(0)
    rows = [
        {"patient_id": f"{cohort}-{n}", "method": method, "cohort": cohort, "label": n % 2,
         "score": round(float(np.clip(0.3 * (n % 2) + 0.7 * rng.random(), 0, 1)), 3)}
        for method in ("a", "b") for cohort in ("train", "val", "test") for n in range(20)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


def test_evaluate_predictions(axilla: Axilla, tmp_path: Path) -> None:
    predictions().to_csv(tmp_path / "mine.csv", index=False)
    out = tmp_path / "out"
    answer = axilla("evaluate", "--predictions", tmp_path / "mine.csv", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    assert (
        answer.out == f"{len([p for p in out.rglob('*') if p.is_file()])} files written to {out}\n"
    )
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["endpoint"] == "mine"
    assert set(metrics["methods"]) == {"a", "b"}
    assert (out / "tables" / "table2.csv").is_file()
    assert (out / "figures" / "roc_test.png").is_file()


def test_evaluate_several_files(axilla: Axilla, tmp_path: Path) -> None:
    """Supplementary Table 1: the studies of several encoders in one table, by paired DeLong."""
    frame = predictions()
    for method in ("a", "b"):
        own = frame[frame["method"] == method].assign(method="dl-cnb")
        # One patient that the other study lost.
        own[own["patient_id"] != f"test-{int(method == 'b')}"].to_csv(
            tmp_path / f"{method}.csv", index=False
        )
    files = [f"--predictions={name}={tmp_path / file}" for name, file in
             (("vgg16_bn", "a.csv"), ("resnet50", "b.csv"))]  # fmt: skip
    out = tmp_path / "encoders"
    answer = axilla("evaluate", *files, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["endpoint"] == "encoders"
    assert list(metrics["methods"]) == ["vgg16_bn", "resnet50"]
    (test,) = (one for one in metrics["comparisons"] if one["cohort"] == "test")
    wide = frame[frame["cohort"] == "test"].pivot_table(
        index=["patient_id", "label"], columns="method", values="score"
    )
    common = wide.drop(["test-0", "test-1"], level="patient_id").reset_index()
    expected = compare_paired(common["label"], common["a"], common["b"])
    assert (test["n"], test["p"]) == (18, pytest.approx(expected.p, rel=1e-12))
    table = pd.read_csv(out / "tables" / "comparison.csv", dtype=str)
    assert table["Method"].unique().tolist() == ["vgg16_bn", "resnet50"]
    table = pd.read_csv(out / "tables" / "table2.csv", dtype=str)
    assert table["Method"].tolist() == ["vgg16_bn"] * 3 + ["resnet50"] * 3

    answer = axilla(
        "evaluate", "--predictions", tmp_path / "a.csv", "--predictions", tmp_path / "b.csv",
        "--out", tmp_path / "never",
    )  # fmt: skip
    assert answer.code == 2
    assert "a.csv and b.csv both have a method called dl-cnb" in answer.err
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [("0.5", 0.5), ("5e-1", 0.5), ("{sensitivity: 1.0}", None), ("youden-per-cohort", None)],
)
def test_evaluate_with_a_threshold(
    rule: str, threshold: float | None, axilla: Axilla, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("axilla.study.evaluating.draw_evaluation", lambda *args, **options: [])
    frame = predictions()
    frame.to_csv(tmp_path / "mine.csv", index=False)
    args = ("--predictions", tmp_path / "mine.csv", "--out", tmp_path / "out", "--threshold", rule)
    assert axilla("evaluate", *args).code == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    entry = metrics["methods"]["a"]
    if threshold is not None:
        assert entry["test"]["threshold"] == threshold
    elif rule.startswith("{"):
        assert metrics["threshold_rule"] == {"sensitivity": 1.0}
        val = frame[(frame["method"] == "a") & (frame["cohort"] == "val")]
        lowest = val.loc[val["label"] == 1, "score"].min()
        below = val.loc[val["score"] < lowest, "score"].max()
        # No positive validation patient is missed, and the line runs half way to the next below.
        assert entry["test"]["threshold"] == pytest.approx((lowest + below) / 2)
    else:
        assert entry["test"]["threshold"] != entry["train"]["threshold"]


def test_evaluate_three_classes(axilla: Axilla, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet([1, 1, 1], 30)
    frame = pd.DataFrame(shares, columns=["score_N0", "score_N1", "score_N2"])
    frame.insert(0, "patient_id", [f"P{n}" for n in range(30)])
    frame = frame.assign(method="mine", cohort="test", label=[f"N{n % 3}" for n in range(30)])
    frame.to_csv(tmp_path / "three.csv", index=False)
    out = tmp_path / "out"
    answer = axilla("evaluate", "--predictions", tmp_path / "three.csv", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    entry = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["methods"]["mine"]
    assert np.sum(entry["test"]["confusion_matrix"], axis=1).tolist() == [10, 10, 10]
    assert (out / "figures" / "confusion_mine_test.svg").is_file()


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (predictions().drop(columns="label"), "no column `label`"),
        (predictions().drop(columns="score"), "no column `score`"),
        (predictions(score=1.5), "the score 1.5 is not a probability"),
        (predictions(score="high"), "is not a probability"),
        (predictions(label=2), "the label 2 is none of 0, 1"),
        (predictions(cohort="test"), "more than one row"),
        (predictions()[lambda f: f["cohort"] == "test"], "chosen on the cohort `val`"),
        (predictions().head(0), "hold no rows"),
    ],
)  # fmt: skip
def test_evaluate_bad_predictions(
    frame: pd.DataFrame, sentence: str, axilla: Axilla, tmp_path: Path
) -> None:
    if sentence == "more than one row":
        frame = frame.assign(patient_id=frame["patient_id"].str.split("-").str[1])
    frame.to_csv(tmp_path / "bad.csv", index=False)
    answer = axilla("evaluate", "--predictions", tmp_path / "bad.csv", "--out", tmp_path / "out")
    assert answer.code == 2
    assert sentence in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "out").exists()


def test_evaluate_bad_files_and_options(axilla: Axilla, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    predictions().to_csv(tmp_path / "good.csv", index=False)
    out = ("--out", tmp_path / "out")
    for name in ("empty.csv", "image.csv", "nowhere.csv", "."):
        answer = axilla("evaluate", "--predictions", tmp_path / name, *out)
        assert answer.code == 2, name
        assert "problem in the inputs" in answer.err
    for args in (
        (), ("--predictions", tmp_path / "good.csv"),
        ("study.yaml", "--predictions", tmp_path / "good.csv", *out),
        ("--predictions", tmp_path / "good.csv", *out, "--threshold", "half"),
        ("--predictions", tmp_path / "good.csv", *out, "--threshold", "{npv: 2}"),
    ):  # fmt: skip
        answer = axilla("evaluate", *args)
        assert answer.code == 2, args
        assert "Traceback" not in answer.err


def test_import_ucsb(axilla: Axilla, tmp_path: Path) -> None:
    (tmp_path / "ytma10_010704_benign1_ccd.png").touch()
    table = tmp_path / "ucsb.csv"
    assert axilla("import-ucsb", tmp_path, table) == Answer(0, f"1 images in {table}\n", "")
    assert axilla("import-ucsb", tmp_path / "nowhere", table).code == 2


def test_generate(axilla: Axilla, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    answer = axilla("generate", folder, "--patients", 1, "--seed", 3)
    assert answer.code == 0
    assert len(pd.read_csv(folder / "cohort.csv")) == 1
    assert "done before" in axilla("generate", folder, "--patients", 1, "--seed", 3).out
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    refused = axilla("generate", tmp_path / "mine", "--patients", 1)
    assert refused.code == 2
    assert "holds other files" in refused.err


class Terminal(io.StringIO):
    """A standard output that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    reporter = ConsoleReporter()
    assert list(reporter.track([1, 2, 3], "Cutting patches")) == [1, 2, 3]
    with reporter.epochs(2, "Training dl-cnb") as on_epoch:
        on_epoch(Epoch(0, 1e-4, 0.6931, None, None))
        on_epoch(Epoch(1, 1e-4, 0.5, 0.6, 0.75))
    with reporter.epochs(1, "Painting slides") as on_slide:
        on_slide(None)
    shown = screen.getvalue()
    assert "Cutting patches" in shown
    assert "loss 0.500, validation AUC 0.750" in shown
    assert "Painting slides" in shown


def test_a_training_taken_up_again_goes_on_from_its_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    with ConsoleReporter().epochs(9, "Training") as on_epoch:
        on_epoch(Epoch(6, 1e-4, 0.6, None, None))
        on_epoch(Epoch(7, 1e-4, 0.5, 0.6, 0.75))
    assert "8/9" in screen.getvalue()


def test_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter()
    assert list(reporter.track([1, 2], "Cutting patches")) == [1, 2]
    with reporter.epochs(1, "Training") as on_epoch:
        on_epoch(Epoch(0, 1e-4, 0.7, None, None))
    reporter.done("tile", "2 slides")
    assert capsys.readouterr().out == "tile      2 slides\n"


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
