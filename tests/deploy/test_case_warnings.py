"""Every reason not to believe a case's number."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from axilla.core.errors import InputProblems
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.loading import LoadedModel
from axilla.deploy.predicting import CaseResult, predict_case

if TYPE_CHECKING:
    from collections.abc import Callable

    from axilla.core.config import StudyConfig
    from axilla.study.chain import StudyResult

    Study = tuple[StudyConfig, StudyResult]
    WithRecord = Callable[..., LoadedModel]


def codes(found: CaseResult, *, severe: bool | None = None) -> set[str]:
    return {w.code for w in found.record.warnings if severe in {None, w.severe}}


def test_too_little_tumour(case: CaseInput, fused: LoadedModel, tmp_path: Path) -> None:
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


def test_features_far_from_training(
    case: CaseInput, with_record: WithRecord, fused: LoadedModel
) -> None:
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
    case: CaseInput,
    with_record: WithRecord,
    fused: LoadedModel,
    *,
    mpp: float | None,
    trained_on: dict[str, Any],
    code: str | None,
    severe: bool | None,
) -> None:
    cohort = fused.record["training_cohort"] | {"slide_mpp": trained_on}
    model = with_record(fused, training_cohort=cohort)
    found = predict_case(model, replace(case, mpp=mpp))
    told = {w.code: w.severe for w in found.record.warnings if "mpp" in w.code}
    assert told == ({} if code is None else {code: severe})


def test_a_remedy_is_none_of_the_command_line(case: CaseInput, fused: LoadedModel) -> None:
    """The same warning is read in the browser, which has no options."""
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


def test_values_out_of_range_and_missing(
    case: CaseInput, with_record: WithRecord, fused: LoadedModel
) -> None:
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
    reads = replace(fused.bundle.preprocessor, ranges=((30.0, 80.0), None), centiles=True)  # type: ignore[type-var]
    older = with_record(fused, training_cohort=None)
    members = tuple(replace(m, preprocessor=reads) for m in older.bundle.members)
    older = replace(older, bundle=replace(older.bundle, members=members))
    (told,) = [w for w in predict_case(older, old).record.warnings if w.code == "out_of_range"]
    assert "`age` is 88 years; 98% of the training patients have 30 to 80 years" in told.text
    without = {n: v for n, v in case.clinical.items() if n != "age"}
    with pytest.raises(InputProblems, match="`age` is not given, and the model needs it"):
        predict_case(fused, replace(case, clinical=without))


@pytest.mark.parametrize(
    ("size", "limits", "told"),
    [
        ("15", (None, None), "`tumor_size_cm` is 15 cm, more than 8: is it in mm?"),
        ("8", (None, None), None),
        ("15", (1.0, 16.0), None),
        ("15", (1.0, 6.0), "of such patients. It is more than 8: is it in mm?"),
        ("7", (1.0, 6.0), "so the model knows little of such patients."),
    ],
)
def test_a_size_that_is_perhaps_in_another_unit(
    case: CaseInput,
    with_record: WithRecord,
    clinical: LoadedModel,
    *,
    size: str,
    limits: tuple[float | None, float | None],
    told: str | None,
) -> None:
    own = {"mean": 2.0, "sd": 1.0, "missing": 0, "low": limits[0], "high": limits[1]}
    cohort = clinical.record["training_cohort"]
    numbers = cohort["numbers"] | {"tumor_size_cm": own}
    model = with_record(clinical, training_cohort=cohort | {"numbers": numbers})
    values = {**case.clinical, "tumor_size_cm": size}
    found = predict_case(model, replace(case, slides=(), annotations=(), clinical=values))
    severe = [w.text for w in found.record.warnings if w.severe and "tumor_size_cm" in w.text]
    assert [text.endswith(told or "") for text in severe] == ([] if told is None else [True])


def imputing(model: LoadedModel) -> LoadedModel:
    """The same model, as if its study had filled in what was missing."""
    members = tuple(
        replace(m, preprocessor=replace(m.preprocessor, missing="impute", unseen="unknown"))  # type: ignore[type-var]
        for m in model.bundle.members
    )
    clinical = {**model.record["clinical"], "missing": "impute", "unseen": "unknown"}
    record = {**model.record, "clinical": clinical}
    return replace(model, bundle=replace(model.bundle, members=members, record=record))


def test_what_is_filled_in_is_told(case: CaseInput, fused: LoadedModel) -> None:
    given = {**case.clinical, "age": "", "er": "mosaic"}
    found = predict_case(imputing(fused), replace(case, clinical=given))
    assert {"imputed", "unseen_category"} <= codes(found, severe=True)
    assert found.record.clinical["age"].value is None
    reads = fused.bundle.preprocessor
    assert found.record.clinical["age"].used == reads.means[0]  # type: ignore[union-attr]
    assert found.record.clinical["er"].used is None
    assert found.record.clinical["pr"].used == found.record.clinical["pr"].value


def test_an_outline_that_the_model_was_trained_with(case: CaseInput, fused: LoadedModel) -> None:
    assert fused.record["outlined"] == "all"
    without = replace(case, annotations=())
    assert "annotation_missing" in codes(predict_case(fused, without), severe=True)
    given = predict_case(fused, case)
    assert "annotation_missing" not in codes(given)
