"""A patient whose second slide is blank: named, and nobody's study ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from axilla.core.config import StudyConfig
from axilla.core.progress import Silent
from axilla.study.chain import run

if TYPE_CHECKING:
    from pathlib import Path


class Heard(Silent):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def say(self, text: str) -> None:
        self.notes.append(text)


def test_a_slide_that_gives_no_patch_is_named_and_the_study_of_nuclei_goes_on(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "slides").mkdir()
    rows = ["patient_id,slide_id,nodes"]
    for patient in range(8):
        for slide in range(2 if patient == 0 else 1):
            name = f"p{patient}s{slide}"
            pixels = rng.integers(120, 200, (256, 256, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "slides" / f"{name}.png"), pixels | (255 if slide else 0))
            rows.append(f"p{patient},{name},{patient % 2}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows), encoding="utf-8")
    heard = Heard()
    config = StudyConfig.model_validate({
        "cohort": tmp_path / "cohort.csv", "slides": tmp_path / "slides", "regions": "whole",
        "endpoint": "n0-vs-npos", "methods": ["dl-cnb-nuclei"], "patches": {"size": 128},
        "slide_mpp": 0.5, "nuclei": {"classical": True}, "out": tmp_path / "out",
    })  # fmt: skip
    result = run(config, until="embed", reporter=heard)
    assert len(result.cohort.patients) == 8
    (note,) = [note for note in heard.notes if "gives no patch" in note]
    assert "slide p0s1 of patient p0 gives no patch (all 4 are too white)" in note
