"""What a case is made of, and what is said of what cannot be one; the command."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from axilla import cli_deploying
from axilla.cli import main
from axilla.core.errors import CohortError, InputProblems, StoreError
from axilla.deploy.case_inputs import OPTIONS, CaseInput, read_values
from axilla.deploy.loading import LoadedModel, load_model
from axilla.deploy.predicting import CaseResult, predict_case
from axilla.deploy.validating import validate
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from axilla.core.config import StudyConfig
    from axilla.study.chain import StudyResult

    Study = tuple[StudyConfig, StudyResult]
    WithRecord = Callable[..., LoadedModel]


def test_several_slides_of_a_patient(
    case_of: Callable[[int], CaseInput], fused: LoadedModel, result: CaseResult
) -> None:
    first, second = (case_of(index) for index in (0, 1))
    both = replace(
        first, slides=first.slides + second.slides,
        annotations=first.annotations + second.annotations,
    )  # fmt: skip
    found = predict_case(fused, both)
    assert [s.slide_id for s in found.record.slides] == [p.stem for p in both.slides]
    assert len(found.tiles) == 2
    alone = predict_case(fused, replace(second, clinical=first.clinical))
    scores = [r.record.probability["N(+)"] for r in (result, alone)]
    # Bags count alike, whichever slide they are of; they are drawn anew.
    assert min(scores) - 0.02 < found.record.probability["N(+)"] < max(scores) + 0.02


def test_cut_regions_are_one_slide(case: CaseInput, fused: LoadedModel, tmp_path: Path) -> None:
    for number, half in enumerate(np.array_split(cv2.imread(str(case.slides[0])), 2, axis=1)):
        cv2.imwrite(str(tmp_path / f"P1_{number}.png"), half)
    parts = tuple(sorted(tmp_path.glob("P1_*.png")))
    found = predict_case(fused, CaseInput(parts, (), case.clinical, regions="whole"))
    assert found.record.patient_id == "P1"
    (slide,) = found.record.slides
    assert slide.images == ("P1_0.png", "P1_1.png")
    assert sorted(found.tiles) == ["P1-1.geojson", "P1-2.geojson"]


def test_mistakes_are_sentences(case: CaseInput, fused: LoadedModel, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    shutil.copy(case.annotations[0], other)
    text = tmp_path / "slide.txt"
    text.write_text("no slide")
    for changes, said in (
        ({"slides": ()}, "looks at slides, and none is given"),
        ({"slides": (tmp_path / "gone.svs",)}, "there is no such file"),
        ({"slides": (text,)}, "this is no slide"),
        ({"slides": case.slides * 2}, "another slide has the same name"),
        ({"annotations": (case.annotations[0], other)}, "belongs to no slide of its own"),
        ({"annotations": (), "regions": "annotation"}, "has no annotation"),
        ({"regions": "tissue"}, "regions are to be tissue"),
        ({"mpp": 400.0}, "400 µm per pixel is no microscope's"),
        ({"patient_id": "a/b"}, "cannot be a file's name"),
        ({"clinical": {**case.clinical, "age": "old"}}, "`age` is 'old', which is no number"),
        ({"clinical": {**case.clinical, "age": "1961"}}, "probably the year of birth"),
        ({"clinical": {**case.clinical, "er": "perhaps"}}, "which no training patient had"),
        (
            {"clinical": {n: v for n, v in case.clinical.items() if n != "her2"} | {"her": "x"}},
            "reads no column `her`; the nearest is `her2`",
        ),
    ):
        with pytest.raises(InputProblems, match=re.escape(said)):
            predict_case(fused, replace(case, **changes))


def test_a_slide_without_tissue(case: CaseInput, fused: LoadedModel, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "white.png"), np.full((200, 200, 3), 255, np.uint8))
    white = replace(case, slides=(tmp_path / "white.png",))
    for changes, said in (
        ({"annotations": (), "regions": "auto"}, "no tissue was found on slide white"),
        ({"annotations": (), "regions": "whole"}, "no patch is left: all 49 are too white"),
    ):
        with pytest.raises(InputProblems, match=said) as told:
            predict_case(fused, replace(white, **changes))
        assert "--exclude-failed" not in str(told.value)


def test_a_scale_that_the_model_needs_is_asked_for(
    case: CaseInput, with_record: WithRecord, fused: LoadedModel
) -> None:
    model = with_record(fused, patches=fused.record["patches"] | {"mpp": 0.5})
    with pytest.raises(InputProblems, match="does not say its µm per pixel") as told:
        predict_case(model, case)
    assert "Give the µm per pixel that the slide was scanned with" in str(told.value)
    assert "slide_mpp" not in str(told.value)


def test_values_in_other_units_and_of_no_use(case: CaseInput, fused: LoadedModel) -> None:
    size = float(case.clinical["tumor_size_cm"])  # type: ignore[arg-type]
    given = {n: v for n, v in case.clinical.items() if n != "tumor_size_cm"}
    found = predict_case(
        fused, replace(case, clinical={**given, "Tumor size mm": f"{10 * size:g}", "ki67": "20"})
    )
    assert found.record.clinical["tumor_size_cm"].value == pytest.approx(size)
    assert any("multiplied by 0.1" in note for note in found.record.notes)
    assert "`ki67` is not looked at: the model does not read it." in found.record.notes


def test_a_remedy_is_one_of_a_case(case: CaseInput, fused: LoadedModel) -> None:
    """A case has neither a study's file nor a table."""
    for changes, said, remedy in (
        ({"her2": "neg"}, "which no training patient had", "Give a value that the model knows."),
        ({"tumor_size_cm": "21"}, "should be at most 20", "Write it in cm."),
        ({"age": "5"}, "should be at least 10", "Correct the value."),
        ({"er": ""}, "`er` is not given", "Give it: --er VALUE on the command line, or in the "),
        ({"tumor_size_cm": ""}, "is not given", "Give it: --tumor-size-cm VALUE on the command "),
    ):
        with pytest.raises(InputProblems, match=said) as told:
            predict_case(fused, replace(case, clinical={**case.clinical, **changes}))
        (problem,) = told.value.problems
        assert problem.file is None
        assert problem.remedy.startswith(remedy)
        assert "declare" not in problem.remedy


def test_the_options_are_those_of_the_command() -> None:
    names = inspect.signature(cli_deploying.predict_case).parameters
    assert set(OPTIONS) <= set(names)


def test_a_folder_of_several_models_names_them(trained: Study, tmp_path: Path) -> None:
    models = Layout(trained[0].out).models("clinical").parent
    with pytest.raises(StoreError, match=r"several models: clinical, dl-cnb, dl-cnb\+c\. Name one"):
        load_model(models)
    with pytest.raises(StoreError, match=r"several models: models/clinical, models/dl-cnb,"):
        validate(models.parent, trained[0], out=tmp_path / "validation")
    shutil.copytree(models / "clinical", tmp_path / "one" / "clinical")
    with pytest.raises(StoreError, match=r"is no model; it holds one: clinical\. Name that one"):
        load_model(tmp_path / "one")
    with pytest.raises(StoreError, match="is missing"):
        load_model(tmp_path)


def test_a_file_of_values(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    path.write_text('{"age": 47, "er": "positive", "pr": null}')
    assert read_values(path) == {"age": 47, "er": "positive", "pr": None}
    for text in ("[1]", '{"age": [1]}', '{"age": true}', "no"):
        path.write_text(text)
        with pytest.raises(CohortError, match=r"Write \{"):
            read_values(path)


def command(trained: Study, case: CaseInput, weights: Path, *more: str) -> list[str]:
    folder = Layout(trained[0].out).model("dl-cnb+c", "split")
    given = [f"--set={name}={value}" for name, value in case.clinical.items()]
    return [
        "axilla", "predict-case", str(folder), str(case.slides[0]), "--annotation",
        str(case.annotations[0]), "--encoder-weights", str(weights), *given, *more,
    ]  # fmt: skip


def test_the_command(
    case: CaseInput,
    trained: Study,
    weights: Path,
    *,
    result: CaseResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", command(trained, case, weights, "--json"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out) == json.loads(result.json)
    asked = command(trained, case, weights, "--out", str(tmp_path / "case"), "--set", "bmi=3")
    at = asked.index("--annotation")
    monkeypatch.setattr(sys, "argv", asked[:at] + asked[at + 2 :])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    said = capsys.readouterr().out
    assert "WARNING   Slide SYN-" in said
    assert "has no outline" in said.replace("\n", " ")
    assert "note      `bmi` is not looked at: the model does not read it.\n" in said
    assert str(tmp_path / "case" / "case.html") in said.replace("\n", "")
    assert json.loads((tmp_path / "case" / "case.json").read_text())["doubtful"]
    monkeypatch.setattr(sys, "argv", command(trained, case, weights, "--set", "age=x"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "which is no number" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["axilla", "predict-case", str(tmp_path), "--schema"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["title"] == "CaseRecord"
