"""A study that was run, read back; and one that no longer is what was run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from axilla.core.config import StudyConfig
from axilla.core.errors import StoreError
from axilla.study.case_asking_live import LiveModels
from axilla.study.case_opened import open_case, slide_overlays
from axilla.study.opened import open_study

if TYPE_CHECKING:
    from axilla.study.chain import StudyResult


def test_it_has_the_patients_and_the_split_that_were_run(
    finished: tuple[StudyConfig, StudyResult],
) -> None:
    config, result = finished
    (opened,) = open_study(config)
    assert opened.cohort.labels() == result.cohort.labels()
    assert [p.cohort_of for p in opened.partitions] == [p.cohort_of for p in result.partitions]
    assert opened.methods == config.methods
    assert opened.generated


def test_a_split_that_moved_since_is_refused(
    finished: tuple[StudyConfig, StudyResult], tmp_path: Path
) -> None:
    config, _ = finished
    out = tmp_path / "out"
    out.mkdir()
    for name in ("predictions.csv", "metrics.json"):
        shutil.copy(config.out / name, out / name)
    moved = config.model_copy(update={"out": out, "split": config.split.model_copy(
        update={"seed": 77})})  # fmt: skip
    with pytest.raises(StoreError, match=r"do not go with the table and the split.*was in"):
        open_study(moved)


def test_a_model_trained_end_to_end_answers_as_it_predicted(
    finished: tuple[StudyConfig, StudyResult],
) -> None:
    config, _ = finished
    (opened,) = open_study(config)
    patient = next(p for p in opened.cohort.patients if opened.partitions[0].cohort_of[
        p.patient_id] == "test")  # fmt: skip
    case, models = open_case(opened, patient.patient_id), LiveModels()
    own = {n: f"{v:g}" if isinstance(v, float) else str(v) for n, v in patient.clinical.items()}
    for _ in range(2):  # the second time from features that are held
        answers = {a.method: a.scores["N(+)"] for a in models.ask(case, own)}
        for score in case.scores:
            if score.method in answers:
                assert answers[score.method] == pytest.approx(score.scores["N(+)"], abs=1e-6)
    assert set(answers) == {"clinical", "dl-cnb+c"}
    changed = models.ask(case, own | {"tumor_size_cm": "9"})
    assert all(abs(a.scores["N(+)"] - answers[a.method]) > 1e-6 for a in changed)
    overlays = slide_overlays(case, patient.slides[0])
    assert overlays["side"] == 32
    assert len(overlays["patches"]["x"]) == len(opened.fitting.slides[patient.slides[0].slide_id])
