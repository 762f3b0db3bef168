"""One new case: the numbers, and what they are worth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from axilla.core import store
from axilla.core.errors import InputProblems
from axilla.core.private_folder import LOCK, PREFIX
from axilla.deploy.asking import log_odds, probability
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.loading import LoadedModel, load_model
from axilla.deploy.predicting import CaseResult, predict_case
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from axilla.core.config import StudyConfig
    from axilla.study.chain import StudyResult

    Study = tuple[StudyConfig, StudyResult]
    WithRecord = Callable[..., LoadedModel]


def test_the_probability_is_the_study_s_own(trained: Study, result: CaseResult) -> None:
    table = store.read_predictions(Layout(trained[0].out).predictions)
    row = table[(table["method"] == "dl-cnb+c") & (table["patient_id"] == result.record.patient_id)]
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
    case: CaseInput, fused: LoadedModel, result: CaseResult
) -> None:
    told = {"on": "validation", "method": "platt", "n": 40, "positives": 16, "intercept": -0.3,
            "slope": 0.7}  # fmt: skip
    bundle = replace(fused.bundle, record={**fused.record, "calibration": told})
    found = predict_case(replace(fused, bundle=bundle), case)
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
    assert set(parts.columns) == set(result.record.clinical)


def test_the_reference_patient_has_no_clinical_part(case: CaseInput, fused: LoadedModel) -> None:
    reads = fused.bundle.preprocessor
    usual = dict(zip(reads.numeric, reads.means, strict=True))  # type: ignore[union-attr]
    usual |= dict(zip(reads.categorical, reads.modes, strict=True))  # type: ignore[union-attr]
    parts = predict_case(fused, replace(case, clinical=usual)).record.log_odds
    assert parts is not None
    assert parts.clinical == pytest.approx(0, abs=1e-9)
    assert all(value == pytest.approx(0, abs=1e-9) for value in parts.columns.values())


def test_other_clinical_values_are_asked_without_the_slides(
    case: CaseInput, fused: LoadedModel, result: CaseResult
) -> None:
    asked = dict(result.prepared.patient.clinical)
    assert probability(result.prepared)[1] == pytest.approx(result.record.probability["N(+)"])
    larger = {**asked, "tumor_size_cm": 4.5}
    own = predict_case(fused, replace(case, clinical=larger))
    found = probability(result.prepared, larger)
    assert found[1] == pytest.approx(own.record.probability["N(+)"], abs=1e-6)
    assert found[1] != pytest.approx(result.record.probability["N(+)"], abs=1e-6)


def test_the_same_case_gives_the_same_bytes(
    case: CaseInput, fused: LoadedModel, result: CaseResult
) -> None:
    again = predict_case(fused, case)
    assert again.json == result.json
    assert again.page == result.page


def test_images_are_decoded_once(
    case: CaseInput, fused: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("axilla.study.tiling.PatchReader")  # who would read patches again
    assert predict_case(fused, case).record.slides[0].patches


def test_nothing_is_left_behind(
    case: CaseInput, fused: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    predict_case(fused, case)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    with pytest.raises(InputProblems):
        predict_case(fused, replace(case, slides=(broken,)))
    assert list(tmp_path.iterdir()) == [broken]


def test_what_a_killed_process_left_is_removed(
    case: CaseInput, clinical: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{PREFIX}case-1"
    left.mkdir()
    (left / LOCK).touch()
    (left / "features.h5").write_bytes(b"of a patient")
    predict_case(clinical, replace(case, slides=(), annotations=(), patient_id="P9"))
    assert list(tmp_path.iterdir()) == []


def test_a_clinical_model_takes_no_slide(case: CaseInput, trained: Study) -> None:
    model = load_model(Layout(trained[0].out).model("clinical", "split"))
    found = predict_case(model, replace(case, slides=(), annotations=(), patient_id="P9"))
    table = store.read_predictions(Layout(trained[0].out).predictions)
    row = table[(table["method"] == "clinical") & (table["patient_id"] == case.slides[0].stem)]
    # Of one row and of many, sums may round the last bit another way.
    assert found.record.probability["N(+)"] == pytest.approx(row["score"].item(), abs=1e-12)
    assert (found.record.range, found.record.slides, found.tiles) == (None, (), {})
    assert "What was asked" in found.page
    with pytest.raises(InputProblems, match="reads clinical values alone"):
        predict_case(model, case)


def test_three_classes(case: CaseInput, settings: dict[str, Any], tmp_path: Path) -> None:
    from axilla.core.config import StudyConfig
    from axilla.study.chain import run

    own = settings | {
        "endpoint": "n0-vs-n1-2-vs-n3plus", "methods": ["dl-cnb"], "out": tmp_path / "out",
        "stain": None, "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
        "training": {"epochs": 1, "restarts": None}, "threshold": 0.5,
    }  # fmt: skip
    run(StudyConfig.model_validate(own), until="train")
    model = load_model(Layout(tmp_path / "out").model("dl-cnb", "split"))
    found = predict_case(model, replace(case, clinical={}))
    record = found.record
    assert list(record.probability) == ["N0", "N+(1-2)", "N+(>=3)"]
    assert (record.call, record.range, record.log_odds) == (None, None, None)
    missing = {"spread", "range", "calibrated", "call", "stability", "log_odds"}
    assert set(record.reasons) == missing
    assert "tells 3 classes apart" in record.reasons["calibrated"]
    assert "Likeliest class" in found.page
    assert "there is no threshold" in found.page
