"""A patient whose second slide is blank: named, in no bag, and nobody's study ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.progress import Silent
from axilla.study.chain import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Heard(Silent):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def say(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def blank(tmp_path: Path) -> Callable[..., StudyConfig]:
    """A study of nuclei in 12 slides of noise; with a blank second slide of the first patient."""

    def make(*, second: bool, **settings: Any) -> StudyConfig:
        rng = np.random.default_rng(0)
        folder = tmp_path / ("with" if second else "without")
        (folder / "slides").mkdir(parents=True)
        rows = ["patient_id,slide_id,nodes"]
        for patient in range(12):
            pixels = cv2.GaussianBlur(
                rng.integers(0, 255, (256, 256, 3), dtype=np.uint8), (0, 0), 4
            )
            pixels = np.clip(4.0 * (pixels - 127.0) + 150, 0, 254).astype(np.uint8)
            for slide in range(2 if second and patient == 0 else 1):
                name = f"p{patient}s{slide}"
                cv2.imwrite(str(folder / "slides" / f"{name}.png"), pixels | (255 if slide else 0))
                rows.append(f"p{patient},{name},{patient % 2}")
        (folder / "cohort.csv").write_text("\n".join(rows), encoding="utf-8")
        return StudyConfig.model_validate({
            "cohort": folder / "cohort.csv", "slides": folder / "slides", "regions": "whole",
            "endpoint": "n0-vs-npos", "methods": ["dl-cnb-nuclei"], "patches": {"size": 128},
            "slide_mpp": 0.5, "nuclei": {"classical": True}, "out": folder / "out", **settings,
        })  # fmt: skip

    return make


def test_a_slide_that_gives_no_patch_is_named_and_the_study_of_nuclei_goes_on(
    blank: Callable[..., StudyConfig],
) -> None:
    heard = Heard()
    result = run(blank(second=True), until="embed", reporter=heard)
    assert len(result.cohort.patients) == 12
    (note,) = [note for note in heard.notes if "gives no patch" in note]
    assert "slide p0s1 of patient p0 gives no patch (all 4 are too white)" in note


def test_a_slide_that_gives_no_patch_has_no_bag_of_features_and_changes_no_score(
    blank: Callable[..., StudyConfig],
) -> None:
    training = {"epochs": 3, "batch_size": 8, "restarts": None}
    split = {"folds": 3, "repeats": 1}
    scores, weights = [], []
    for second in (False, True):
        config = blank(second=second, training=training, split=split, threshold=0.5)
        layout = run(config, until="explain").layout
        scores.append(store.read_predictions(layout.predictions))
        weights.append(pd.read_csv(layout.nuclei_weights))
    # The patient is judged, weighed and learned from by the other slide alone.
    pd.testing.assert_frame_equal(*scores)
    pd.testing.assert_frame_equal(*weights)
    assert scores[0]["score"].nunique() > 12
