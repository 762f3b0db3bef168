"""Explain features made elsewhere: of which slides there is no overlay, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from axilla import features_from_arrays
from axilla.core.config import StudyConfig
from axilla.core.progress import Silent
from axilla.study.chain import run

CORNERS = 64 * np.argwhere(np.ones((3, 3)))
ELSEWHERE = (
    "; no OME-TIFF of {}, whose files do not give corners and side of the patches in whole pixels"
)


class Heard(Silent):
    """Remembers what each step said."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def done(self, step: str, detail: str) -> None:
        self.said[step] = detail


def write_stamp(folder: Path, slide: str, features: Any) -> None:
    with h5py.File(folder / f"{slide}.h5", "w") as file:
        file["feats"], file["coords"] = features, CORNERS * 2.0
        file.attrs["tile_size_um"], file.attrs["unit"] = 128.0, "um"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Six test patients, of whose files one has all that an overlay needs."""
    rng, feats = np.random.default_rng(7), tmp_path / "feats"
    rows = ["patient_id,nodes,split"]
    told: dict[str, Any] = {
        "whole": {"coords": CORNERS, "patch_size": 64},
        "between": {"coords": CORNERS + 0.5, "patch_size": 64},
        "side": {"coords": CORNERS * 1.01},  # the side is told by the neighbours: 64.64
        "one": {"coords": CORNERS[:1]},
        "bare": {},
        "stamp": None,
    }
    told |= {f"P{i}": {} for i in range(8)}
    for i, (name, places) in enumerate(told.items()):
        split = ("train" if i % 4 else "val") if name.startswith("P") else "test"
        rows.append(f"{name},{i // 4 % 2 if split == 'val' else i % 2},{split}")
        found = rng.normal(size=(1 if name == "one" else 9, 5)).astype(np.float32)
        if places is None:
            write_stamp(feats, name, found)
        else:
            features_from_arrays(feats, name, found, **places)
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    return {
        "cohort": table, "features": {"folder": feats}, "endpoint": "n0-vs-npos",
        "split": {"column": "split"}, "bags": {"size": 4}, "methods": ("dl-cnb",),
        "training": {"epochs": 1, "restarts": None}, "threshold": 0.5, "out": tmp_path / "out",
    }  # fmt: skip


def explained(settings: dict[str, Any], **heatmaps: Any) -> str:
    """What the step says when it is done."""
    heard = Heard()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("axilla.study.chain._evaluate", lambda *_, **__: {})
        config = StudyConfig.model_validate(settings | {"heatmaps": heatmaps})
        run(config, until="explain", reporter=heard)
    return heard.said["explain"]


@pytest.mark.usefixtures("coarse_pictures")
def test_slides_without_an_overlay_are_counted_with_the_reason(
    settings: dict[str, Any], work: Counter[str]
) -> None:
    bare = "6 test slides; no heat map of 1, whose files hold no coordinates"
    assert explained(settings) == bare, "nobody asked for overlays"
    said = explained(settings, ome_tiff=True)
    drawn = {path.name for path in (settings["out"] / "heatmaps").glob("*-attention.ome.tif")}
    assert drawn == {"whole-attention.ome.tif"}
    assert said == bare + ELSEWHERE.format(4)
    work.clear()
    assert explained(settings, ome_tiff=True) == said, "and so when all was done before"
    assert work == {}
