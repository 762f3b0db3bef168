"""One new case: the numbers, what they are worth, and every reason not to believe them."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest

from axilla.cli import main
from axilla.core import store
from axilla.core.errors import CohortError, InputProblems
from axilla.deploy.asking import log_odds, probability
from axilla.deploy.case_inputs import CaseInput, read_values
from axilla.deploy.case_record import CaseRecord
from axilla.deploy.loading import LoadedModel, load_model
from axilla.deploy.predicting import CaseResult, predict_case, write_case
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from axilla.core.config import StudyConfig
    from axilla.study.chain import StudyResult

    Study = tuple[StudyConfig, StudyResult]

VALUES = ("age", "tumor_size_cm", "er", "pr", "her2")


def somebody(study: Study) -> str:
    return study[1].partitions[0].members("test")[0]


def case_of(study: Study, patient: str, **changes: Any) -> CaseInput:
    """A test patient as a new case, with the values of the study's table."""
    config = study[0]
    assert config.slides is not None
    table = pd.read_csv(config.cohort, dtype=str, keep_default_na=False).set_index("patient_id")
    (slide,) = config.slides.glob(f"{patient}.*")
    (outline,) = config.annotation_folder.glob(f"{patient}.*")  # type: ignore[union-attr]
    clinical = {name: table.loc[patient, name] for name in VALUES}
    return CaseInput((slide,), (outline,), clinical, **changes)


@pytest.fixture(scope="module")
def fused(trained: Study, weights: Path) -> LoadedModel:
    folder = Layout(trained[0].out).model("dl-cnb+c", "split")
    return load_model(folder, encoder_weights=weights)


@pytest.fixture(scope="module")
def result(trained: Study, fused: LoadedModel) -> CaseResult:
    """A test patient's case; not to be changed."""
    return predict_case(fused, case_of(trained, somebody(trained)))


def codes(found: CaseResult, *, severe: bool | None = None) -> set[str]:
    return {w.code for w in found.record.warnings if severe in {None, w.severe}}


def test_the_probability_is_the_study_s_own(trained: Study, result: CaseResult) -> None:
    table = store.read_predictions(Layout(trained[0].out).predictions)
    row = table[(table["method"] == "dl-cnb+c") & (table["patient_id"] == somebody(trained))]
    record = result.record
    # The study scored all test patients together: the last bits of a sum depend on that.
    assert record.probability["N(+)"] == pytest.approx(row["score"].item(), abs=1e-7)
    assert record.spread == pytest.approx(row["spread"].item(), abs=1e-7)
    assert math.fsum(record.probability.values()) == pytest.approx(1)
    assert np.mean([m["N(+)"] for m in record.members]) == pytest.approx(row["score"].item())


def test_the_range_holds_redraws_and_members(result: CaseResult) -> None:
    record = result.record
    ends = record.range
    assert ends is not None
    assert "not a confidence interval of the risk" in ends.name
    assert ends.redraws == 20
    assert ends.low < record.probability["N(+)"] < ends.high
    assert all(ends.low <= member["N(+)"] <= ends.high for member in record.members)


def test_the_threshold_and_what_it_meant(trained: Study, result: CaseResult) -> None:
    told = store.read_model_record(Layout(trained[0].out).model("dl-cnb+c", "split"))
    call = result.record.call
    assert call is not None
    assert call.threshold == told["threshold"]["value"]
    above = result.record.probability["N(+)"] >= call.threshold
    assert call.called == ("N(+)" if above else "N0")
    assert call.validation is not None
    assert call.validation.n == told["validation"]["n"]
    assert call.validation.chose_threshold
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        measure, own = getattr(call.validation, name), told["validation"][name]
        assert (measure.value, measure.low, measure.high) == (
            own["value"], own.get("low"), own.get("high")
        )  # fmt: skip
    assert "so the figures are optimistic" in result.page
    stable = result.record.stability
    assert stable is not None
    assert stable.redraws == 20
    assert 0 <= stable.same_by_member <= 1


def test_a_recalibration_within_the_bundle(
    trained: Study, fused: LoadedModel, result: CaseResult
) -> None:
    told = {"on": "validation", "method": "platt", "n": 40, "positives": 16, "intercept": -0.3,
            "slope": 0.7}  # fmt: skip
    bundle = replace(fused.bundle, record={**fused.record, "calibration": told})
    found = predict_case(replace(fused, bundle=bundle), case_of(trained, somebody(trained)))
    fitted = found.record.calibrated
    assert fitted is not None
    odds = -0.3 + 0.7 * log_odds(found.record.probability["N(+)"])
    assert log_odds(fitted.probability) == pytest.approx(odds)
    assert fitted.low is not None
    assert fitted.low < fitted.probability < fitted.high  # type: ignore[operator]
    assert f"Calibrated risk: {fitted.probability:.3f}" in found.page
    assert result.record.calibrated is None
    assert "holds no recalibration" in result.page


def test_image_and_clinical_parts_add_up(result: CaseResult) -> None:
    parts = result.record.log_odds
    assert parts is not None
    assert parts.prevalence is not None
    assert parts.image is not None
    assert parts.clinical is not None
    whole = parts.prevalence + parts.image + parts.clinical
    assert whole == pytest.approx(log_odds(result.record.probability["N(+)"]), abs=1e-5)
    assert set(parts.columns) == set(VALUES)


def test_the_reference_patient_has_no_clinical_part(trained: Study, fused: LoadedModel) -> None:
    reads = fused.bundle.preprocessor
    usual = dict(zip(reads.numeric, reads.means, strict=True))  # type: ignore[union-attr]
    usual |= dict(zip(reads.categorical, reads.modes, strict=True))  # type: ignore[union-attr]
    case = replace(case_of(trained, somebody(trained)), clinical=usual)
    parts = predict_case(fused, case).record.log_odds
    assert parts is not None
    assert parts.clinical == pytest.approx(0, abs=1e-9)
    assert all(value == pytest.approx(0, abs=1e-9) for value in parts.columns.values())


def test_other_clinical_values_are_asked_without_the_slides(
    trained: Study, fused: LoadedModel, result: CaseResult
) -> None:
    asked = dict(result.prepared.patient.clinical)
    assert probability(result.prepared)[1] == pytest.approx(result.record.probability["N(+)"])
    larger = {**asked, "tumor_size_cm": 4.5}
    own = predict_case(fused, replace(case_of(trained, somebody(trained)), clinical=larger))
    found = probability(result.prepared, larger)
    assert found[1] == pytest.approx(own.record.probability["N(+)"], abs=1e-6)
    assert found[1] != pytest.approx(result.record.probability["N(+)"], abs=1e-6)


def test_maps_and_patches(result: CaseResult) -> None:
    (own,) = result.maps
    assert set(own.values) == {"attention", "contribution"}
    assert own.grid is not None
    assert len(own.values["attention"]) == len(own.grid) == result.record.slides[0].patches
    assert np.nanmean(own.values["attention"]) == pytest.approx(1, abs=0.05)
    top = result.record.slides[0].top_patches
    assert [p.attention for p in top] == sorted((p.attention for p in top), reverse=True)
    assert top[0].attention == pytest.approx(own.values["attention"].max())
    tiles = json.loads(next(iter(result.tiles.values())))
    assert len(tiles["features"]) == len(own.grid)
    measured = tiles["features"][0]["properties"]["measurements"]
    assert set(measured) == {"Attention", "Attention rank", "Contribution"}
    # The map shows the thumbnail; what has more attention is more yellow than before.
    shown = cv2.imdecode(np.frombuffer(own.maps[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape[:2] == (own.maps[0].height, own.maps[0].width)
    scale = shown.shape[1] / 420
    best, least = (
        own.grid.xy[i] for i in (own.values["attention"].argmax(), own.values["attention"].argmin())
    )
    yellow = [
        float(np.subtract(*shown[round((y + 8) * scale) : round((y + 24) * scale),
                                 round((x + 8) * scale) : round((x + 24) * scale)]
              .reshape(-1, 3).mean(axis=0)[[1, 0]]))
        for x, y in (best, least)
    ]  # fmt: skip
    assert yellow[0] > yellow[1]


def test_the_page_loads_nothing_and_escapes(result: CaseResult, trained: Study) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", result.page)
    assert "default-src 'none'" in result.page
    assert "<script" not in result.page
    assert "For research use only" in result.page
    assert "trained on a generated cohort" in result.page, "the bundle is of generated data"
    assert result.record.model.generated


def test_files_are_whole_and_read_back(result: CaseResult, tmp_path: Path) -> None:
    files = write_case(result, tmp_path / "out")
    assert files[-1].name == "case.json"
    assert {path.name for path in files} == {*result.record.files, "case.json"}
    read = CaseRecord.model_validate_json(files[-1].read_text(encoding="utf-8"))
    assert read == result.record
    assert (tmp_path / "out" / "case.html").read_text(encoding="utf-8") == result.page


def test_the_same_case_gives_the_same_bytes(
    trained: Study, fused: LoadedModel, result: CaseResult
) -> None:
    again = predict_case(fused, case_of(trained, somebody(trained)))
    assert again.json == result.json
    assert again.page == result.page


def test_images_are_decoded_once(
    trained: Study, fused: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("axilla.study.tiling.PatchReader")  # who would read patches again
    assert predict_case(fused, case_of(trained, somebody(trained))).record.slides[0].patches


def test_nothing_is_left_behind(
    trained: Study, fused: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    predict_case(fused, case_of(trained, somebody(trained)))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    with pytest.raises(InputProblems):
        predict_case(fused, replace(case_of(trained, somebody(trained)), slides=(broken,)))
    assert list(tmp_path.iterdir()) == [broken]


def with_record(model: LoadedModel, **changes: Any) -> LoadedModel:
    record = {**model.record, **changes}
    return replace(model, bundle=replace(model.bundle, record=record))


def test_too_little_tumour(trained: Study, fused: LoadedModel, tmp_path: Path) -> None:
    case = case_of(trained, somebody(trained))
    slide = cv2.imread(str(case.slides[0]))
    height, width = slide.shape[:2]
    crop = slide[height // 2 - 32 : height // 2 + 32, width // 2 - 32 : width // 2 + 32]
    cv2.imwrite(str(tmp_path / "small.png"), np.minimum(crop, 200))
    small = replace(case, slides=(tmp_path / "small.png",), annotations=(), regions="whole")
    found = predict_case(fused, small)
    assert "few_patches" in codes(found, severe=True)
    assert found.doubtful
    assert found.page.index("Do not rely on this number") < found.page.index('class="large"')
    assert "4 patches in all, fewer than the 5 of one bag" in found.page


def test_features_far_from_training(trained: Study, fused: LoadedModel) -> None:
    case = case_of(trained, somebody(trained))
    length = fused.bundle.network.features  # type: ignore[union-attr]
    k = min(32, length)
    near = {
        "seed": 8888, "features": length, "patients": 40, "mean": [0.0] * k,
        "factor": [[0.0] * i + [1e6] for i in range(k)],
        "quantiles": {"0.5": 1.0, "0.9": 1.5, "0.95": 2.0},
    }  # fmt: skip
    told = {"patients": 40, "patches": 200, "member": None, "distance": near, "reason": None}
    assert not codes(predict_case(with_record(fused, reference=told), case)) & {
        "far_from_training", "distance_unknown",
    }  # fmt: skip
    far = near | {"factor": [[0.0] * i + [1e-6] for i in range(k)]}
    found = predict_case(with_record(fused, reference=told | {"distance": far}), case)
    assert "far_from_training" in codes(found, severe=True)
    unknown = predict_case(with_record(fused, reference=None), case)
    assert "distance_unknown" in codes(unknown, severe=False)


@pytest.mark.parametrize(
    ("mpp", "trained_on", "code", "severe"),
    [
        (0.25, {"median": 0.25, "low": None, "high": None}, None, None),
        (0.27, {"median": 0.25, "low": None, "high": None}, None, None),
        (0.5, {"median": 0.25, "low": None, "high": None}, "mpp_differs", True),
        (0.5, {"median": 0.3, "low": 0.25, "high": 0.5}, None, None),
        (0.5, {"median": None, "low": None, "high": None}, "training_mpp_unknown", False),
        (None, {"median": 0.25, "low": None, "high": None}, "mpp_unknown", False),
    ],
)
def test_microns_per_pixel(
    trained: Study,
    fused: LoadedModel,
    *,
    mpp: float | None,
    trained_on: dict[str, Any],
    code: str | None,
    severe: bool | None,
) -> None:
    cohort = fused.record["training_cohort"] | {"slide_mpp": trained_on}
    model = with_record(fused, training_cohort=cohort)
    found = predict_case(model, case_of(trained, somebody(trained), mpp=mpp))
    told = {w.code: w.severe for w in found.record.warnings if "mpp" in w.code}
    assert told == ({} if code is None else {code: severe})


def test_a_remedy_is_none_of_the_command_line(trained: Study, fused: LoadedModel) -> None:
    """The same warning is read in the browser, which has no options."""
    case = case_of(trained, somebody(trained))
    given = {**case.clinical, "age": "", "er": "mosaic"}
    found = predict_case(imputing(fused), replace(case, annotations=(), clinical=given))
    remedies = {w.code: w.remedy for w in found.record.warnings}
    assert (
        remedies["imputed"] == remedies["mpp_unknown"] == "Give it, if it is known, and ask again."
    )
    assert remedies["annotation_missing"] == "Outline the tumour and ask again."
    assert remedies["unseen_category"] == ""
    said = re.sub(r"<style>.*?</style>", "", found.page, flags=re.DOTALL)
    assert "Give it, if it is known, and ask again." in said
    assert "Outline the tumour and ask again." in said
    assert not re.search(r"(?<!\w)--[a-z]", said + found.json)


def test_a_scale_that_the_model_needs_is_asked_for(trained: Study, fused: LoadedModel) -> None:
    model = with_record(fused, patches=fused.record["patches"] | {"mpp": 0.5})
    with pytest.raises(InputProblems, match="does not say its µm per pixel") as told:
        predict_case(model, case_of(trained, somebody(trained)))
    assert "Give the µm per pixel that the slide was scanned with" in str(told.value)
    assert "slide_mpp" not in str(told.value)


def test_values_out_of_range_and_missing(trained: Study, fused: LoadedModel) -> None:
    case = case_of(trained, somebody(trained))
    numbers = {
        "age": {"mean": 55.0, "sd": 10.0, "missing": 0, "low": 40.0, "high": 70.0},
        "tumor_size_cm": {"mean": 2.0, "sd": 1.0, "missing": 0, "low": None, "high": None},
    }
    model = with_record(fused, training_cohort={**fused.record["training_cohort"],
                                                "numbers": numbers})  # fmt: skip
    old = replace(case, clinical={**case.clinical, "age": "88"})
    found = predict_case(model, old)
    (told,) = [w for w in found.record.warnings if w.code == "out_of_range"]
    assert told.severe
    assert "`age` is 88 years; the lowest and the highest ten training patients are" in told.text
    without = {n: v for n, v in case.clinical.items() if n != "age"}
    with pytest.raises(InputProblems, match="`age` is not given, and the model needs it"):
        predict_case(fused, replace(case, clinical=without))


def imputing(model: LoadedModel) -> LoadedModel:
    """The same model, as if its study had filled in what was missing."""
    members = tuple(
        replace(m, preprocessor=replace(m.preprocessor, missing="impute", unseen="unknown"))  # type: ignore[type-var]
        for m in model.bundle.members
    )
    clinical = {**model.record["clinical"], "missing": "impute", "unseen": "unknown"}
    record = {**model.record, "clinical": clinical}
    return replace(model, bundle=replace(model.bundle, members=members, record=record))


def test_what_is_filled_in_is_told(trained: Study, fused: LoadedModel) -> None:
    case = case_of(trained, somebody(trained))
    given = {**case.clinical, "age": "", "er": "mosaic"}
    found = predict_case(imputing(fused), replace(case, clinical=given))
    assert {"imputed", "unseen_category"} <= codes(found, severe=True)
    assert found.record.clinical["age"].value is None
    reads = fused.bundle.preprocessor
    assert found.record.clinical["age"].used == reads.means[0]  # type: ignore[union-attr]
    assert found.record.clinical["er"].used is None
    assert found.record.clinical["pr"].used == found.record.clinical["pr"].value


def test_an_outline_that_the_model_was_trained_with(trained: Study, fused: LoadedModel) -> None:
    assert fused.record["outlined"] == "all"
    case = replace(case_of(trained, somebody(trained)), annotations=())
    assert "annotation_missing" in codes(predict_case(fused, case), severe=True)
    given = predict_case(fused, case_of(trained, somebody(trained)))
    assert "annotation_missing" not in codes(given)


def test_several_slides_of_a_patient(
    trained: Study, fused: LoadedModel, result: CaseResult
) -> None:
    first, second = (case_of(trained, p) for p in trained[1].partitions[0].members("test")[:2])
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


def test_cut_regions_are_one_slide(trained: Study, fused: LoadedModel, tmp_path: Path) -> None:
    case = case_of(trained, somebody(trained))
    for number, half in enumerate(np.array_split(cv2.imread(str(case.slides[0])), 2, axis=1)):
        cv2.imwrite(str(tmp_path / f"P1_{number}.png"), half)
    parts = tuple(sorted(tmp_path.glob("P1_*.png")))
    found = predict_case(fused, CaseInput(parts, (), case.clinical, regions="whole"))
    assert found.record.patient_id == "P1"
    (slide,) = found.record.slides
    assert slide.images == ("P1_0.png", "P1_1.png")
    assert sorted(found.tiles) == ["P1-1.geojson", "P1-2.geojson"]


def test_a_clinical_model_takes_no_slide(trained: Study) -> None:
    model = load_model(Layout(trained[0].out).model("clinical", "split"))
    case = case_of(trained, somebody(trained))
    found = predict_case(model, replace(case, slides=(), annotations=(), patient_id="P9"))
    table = store.read_predictions(Layout(trained[0].out).predictions)
    row = table[(table["method"] == "clinical") & (table["patient_id"] == somebody(trained))]
    assert found.record.probability["N(+)"] == row["score"].item()
    assert (found.record.range, found.record.slides, found.tiles) == (None, (), {})
    assert "What was asked" in found.page
    with pytest.raises(InputProblems, match="reads clinical values alone"):
        predict_case(model, case)


def test_three_classes(settings: dict[str, Any], tmp_path: Path, trained: Study) -> None:
    from axilla.core.config import StudyConfig
    from axilla.study.chain import run

    own = settings | {
        "endpoint": "n0-vs-n1-2-vs-n3plus", "methods": ["dl-cnb"], "out": tmp_path / "out",
        "stain": None, "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
        "training": {"epochs": 1, "restarts": None}, "threshold": 0.5,
    }  # fmt: skip
    run(StudyConfig.model_validate(own), until="train")
    model = load_model(Layout(tmp_path / "out").model("dl-cnb", "split"))
    found = predict_case(model, replace(case_of(trained, somebody(trained)), clinical={}))
    record = found.record
    assert list(record.probability) == ["N0", "N+(1-2)", "N+(>=3)"]
    assert (record.call, record.range, record.log_odds) == (None, None, None)
    assert "Likeliest class" in found.page
    assert "there is no threshold" in found.page


def test_mistakes_are_sentences(trained: Study, fused: LoadedModel, tmp_path: Path) -> None:
    case = case_of(trained, somebody(trained))
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


def test_a_slide_without_tissue(trained: Study, fused: LoadedModel, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "white.png"), np.full((200, 200, 3), 255, np.uint8))
    case = replace(case_of(trained, somebody(trained)), slides=(tmp_path / "white.png",))
    for changes, said in (
        ({"annotations": (), "regions": "auto"}, "no tissue was found on slide white"),
        ({"annotations": (), "regions": "whole"}, "no patch is left: all 49 are too white"),
    ):
        with pytest.raises(InputProblems, match=said) as told:
            predict_case(fused, replace(case, **changes))
        assert "--exclude-failed" not in str(told.value)


def test_values_in_other_units_and_of_no_use(trained: Study, fused: LoadedModel) -> None:
    case = case_of(trained, somebody(trained))
    size = float(case.clinical["tumor_size_cm"])  # type: ignore[arg-type]
    given = {n: v for n, v in case.clinical.items() if n != "tumor_size_cm"}
    found = predict_case(
        fused, replace(case, clinical={**given, "Tumor size mm": f"{10 * size:g}", "ki67": "20"})
    )
    assert found.record.clinical["tumor_size_cm"].value == pytest.approx(size)
    assert any("multiplied by 0.1" in note for note in found.record.notes)
    assert "`ki67` is not looked at: the model does not read it." in found.record.notes


def test_a_file_of_values(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    path.write_text('{"age": 47, "er": "positive", "pr": null}')
    assert read_values(path) == {"age": 47, "er": "positive", "pr": None}
    for text in ("[1]", '{"age": [1]}', '{"age": true}', "no"):
        path.write_text(text)
        with pytest.raises(CohortError, match=r"Write \{"):
            read_values(path)


def command(trained: Study, weights: Path, *more: str) -> list[str]:
    case = case_of(trained, somebody(trained))
    folder = Layout(trained[0].out).model("dl-cnb+c", "split")
    given = [f"--set={name}={value}" for name, value in case.clinical.items()]
    return [
        "axilla", "predict-case", str(folder), str(case.slides[0]), "--annotation",
        str(case.annotations[0]), "--encoder-weights", str(weights), *given, *more,
    ]  # fmt: skip


def test_the_command(
    trained: Study,
    weights: Path,
    *,
    result: CaseResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", command(trained, weights, "--json"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out) == json.loads(result.json)
    out = ["--out", str(tmp_path / "case"), "--age", "110"]
    monkeypatch.setattr(
        sys, "argv", [a for a in command(trained, weights, *out) if "=age=" not in a]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    said = capsys.readouterr().out
    assert "WARNING   `age` is 110 years" in said
    assert str(tmp_path / "case" / "case.html") in said.replace("\n", "")
    assert json.loads((tmp_path / "case" / "case.json").read_text())["doubtful"]
    monkeypatch.setattr(sys, "argv", command(trained, weights, "--set", "age=x"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "which is no number" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["axilla", "predict-case", str(tmp_path), "--schema"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["title"] == "CaseRecord"
