"""Cases in the report: which of a patient's slides is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.core.methods import NUCLEI
from axilla.core.types import Cohort, Partition, Patient, Slide
from axilla.report.contents import CaseView
from axilla.study.cases import cases_of
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout

SLIDES = ("P-first", "P-second", "P-third")
METRICS = {"methods": {name: {"test": {"threshold": 0.5}} for name in ("dl-cnb", NUCLEI)}}


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), 200, np.uint8))


def cases(tmp_path: Path, method: str) -> tuple[CaseView, ...]:
    """The report's cases of one test patient with three slides."""
    config = StudyConfig.model_validate({
        "cohort": tmp_path / "cohort.csv", "slides": tmp_path, "endpoint": "n0-vs-npos",
        "methods": [method], "nuclei": {"classical": True}, "out": tmp_path / "out",
    })  # fmt: skip
    slides = tuple(Slide(slide, "P", (tmp_path / f"{slide}.png",)) for slide in SLIDES)
    cohort = Cohort(("N0", "N(+)"), (Patient("P", 1, slides, {}),), (), 1, pd.DataFrame())
    fitting = Fitting(config, cohort, (Partition("split", {"P": "test"}),), None, {})
    row: dict[str, Any] = {"patient_id": "P", "method": method, "cohort": "test", "score": 0.75}
    return cases_of(fitting, pd.DataFrame([row]), METRICS, Layout(config.out))


def test_the_first_slide_that_has_a_heat_map(tmp_path: Path) -> None:
    """No patch of the first one was kept, so nothing is drawn of it."""
    layout = Layout(tmp_path / "out")
    for slide in SLIDES[1:]:
        draw(layout.heatmap(slide))
        draw(layout.gallery(slide))
    (view,) = cases(tmp_path, "dl-cnb")
    assert (view.slide_id, view.patient_id) == ("P-second", "P")
    assert (len(view.maps), len(view.galleries)) == (1, 1)
    assert view.score == "0.750, called N(+) at the threshold 0.500"
    draw(layout.heatmap("P-first"))
    (view,) = cases(tmp_path, "dl-cnb")
    assert view.slide_id == "P-first"


def test_the_first_slide_whose_nuclei_are_outlined(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "out")
    features = layout.case_nuclei("P")
    features.parent.mkdir(parents=True)
    features.write_bytes(b"<svg/>")
    features.with_suffix(".csv").write_text("feature\n", encoding="utf-8")
    # The features are the patient's: they alone choose no slide.
    (view,) = cases(tmp_path, NUCLEI)
    assert (view.slide_id, view.galleries) == ("P-first", ())
    draw(layout.nuclei_outlined("P-third"))
    (view,) = cases(tmp_path, NUCLEI)
    assert view.slide_id == "P-third"
    assert [gallery.title for gallery in view.galleries] == ["Patches with their nuclei outlined"]
    assert view.features is not None


@pytest.mark.parametrize("method", ["dl-cnb", NUCLEI])
def test_a_patient_of_whom_nothing_is_drawn_is_no_case(tmp_path: Path, method: str) -> None:
    assert cases(tmp_path, method) == ()
