"""Where a case has no number that one would look for, it says why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from axilla.core import store
from axilla.deploy.case_reasons import why_no_recalibration
from axilla.deploy.predicting import predict_case
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from axilla.core.config import StudyConfig
    from axilla.deploy.case_inputs import CaseInput
    from axilla.deploy.loading import LoadedModel
    from axilla.deploy.predicting import CaseResult
    from axilla.study.chain import StudyResult

    Study = tuple[StudyConfig, StudyResult]
    WithRecord = Callable[..., LoadedModel]

NULLABLE = ("spread", "range", "calibrated", "call", "stability", "log_odds")
FOLDS = {"name": "folds", "seed": 1}


def test_few_validation_patients_are_counted(trained: Study, result: CaseResult) -> None:
    told = store.read_model_record(Layout(trained[0].out).model("dl-cnb+c", "split"))
    counts = told["patients"]["val"]
    assert min(counts.values()) < 10
    reason = (
        "A recalibration asks for 10 validation patients of each class, and the study had "
        f"{counts['N0']} N0 and {counts['N(+)']} N(+)."
    )
    assert result.record.reasons == {"calibrated": reason}
    assert f"no patient's risk. {reason}".replace("'", "&#39;") in result.page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": {"file": "a.pth"}}, "trained elsewhere and imported"),
        ({"partition": FOLDS}, "every patient of the study trained or validated some"),
        ({"schema": 2}, "by an earlier version of axilla"),
        ({"patients": {"val": {"N0": 0, "N(+)": 0}}}, "No patients were kept for validation"),
        ({"patients": {}}, "No patients were kept for validation"),
        ({"patients": {"val": {"N0": 40, "N(+)": 9}}}, "the study had 40 N0 and 9 N(+)"),
        (
            {"patients": {"val": {"N0": 40, "N(+)": 10}}},
            "Among the study's validation patients (40 N0 and 10 N(+)) no recalibration exists",
        ),
    ],
)
def test_why_a_bundle_holds_no_recalibration(changes: dict[str, Any], said: str) -> None:
    record = {"schema": 3, "partition": {"name": "split", "seed": 1}, "patients": {}} | changes
    assert said in why_no_recalibration(record, ("N0", "N(+)"))


def test_an_ensemble_over_folds_has_no_validation_figures(
    fused: LoadedModel, case: CaseInput, with_record: WithRecord
) -> None:
    model = with_record(fused, partition=FOLDS, validation=None, calibration=None)
    found = predict_case(model, case)
    assert found.record.call is not None
    assert found.record.call.validation is None
    for name in ("calibrated", "call.validation"):
        assert "every patient of the study trained or validated" in found.record.reasons[name]
    assert "There are no validation figures of the threshold. No patients are left" in found.page


def test_an_imported_model_has_none(
    fused: LoadedModel, case: CaseInput, with_record: WithRecord
) -> None:
    model = with_record(fused, source={"file": "a.pth"}, validation=None, calibration=None)
    found = predict_case(model, case)
    assert found.record.reasons["call.validation"].startswith("It is not known which patients")
    assert found.record.reasons["calibrated"] in found.page


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (
            {"rule": {"npv": 0.9}, "value": None, "reason": "no threshold reaches it"},
            "No class is called. No threshold could be chosen: no threshold reaches it.",
        ),
        (
            {"rule": "youden-per-cohort", "value": None},
            "No class is called. In the study each cohort chose its own threshold",
        ),
    ],
)
def test_no_threshold_has_a_reason(
    fused: LoadedModel, case: CaseInput, with_record: WithRecord, *,
    threshold: dict[str, Any], said: str,
) -> None:  # fmt: skip
    found = predict_case(with_record(fused, threshold=threshold), case)
    assert (found.record.call, found.record.stability) == (None, None)
    assert {"call", "stability"} <= set(found.record.reasons)
    assert said in found.page


def test_a_clinical_model_draws_nothing(
    clinical: LoadedModel, case: CaseInput, with_record: WithRecord
) -> None:
    alone = replace(case, slides=(), annotations=(), patient_id="P9")
    found = predict_case(clinical, alone)
    assert {name for name in NULLABLE if getattr(found.record, name) is None} == {
        name for name in found.record.reasons if "." not in name
    }
    assert "A model of clinical values draws no bags" in found.record.reasons["range"]
    assert "There is no range about it. A model of clinical values draws no bags" in found.page
