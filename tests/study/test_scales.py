"""µm per pixel and the limit of pixels, from the study file to the patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems, Problem
from axilla.core.progress import Silent
from axilla.study.chain import check, run
from axilla.study.inputs import check_inputs
from axilla.study.tiling import check_memory, tile_slides

Make = Callable[..., dict[str, Any]]
PEOPLE = [f"G{number:02d}" for number in range(24)]
HEADER = "patient_id,age,tumor_size_cm,er,pr,her2,nodes,mpp"


@pytest.fixture
def scaled(plain_study: Make) -> Callable[..., dict[str, Any]]:
    """A study at 1 µm/px; `told` gives the table's µm/px, `stored` that of the slide's file."""

    def make(
        *, told: dict[str, str] | None = None, stored: dict[str, float] | None = None, **more: Any
    ) -> dict[str, Any]:
        rows = [f"{p},50,2,positive,negative,negative,{i % 2}," + (told or {}).get(p, "")
                for i, p in enumerate(PEOPLE)]  # fmt: skip
        settings = plain_study(rows, PEOPLE, header=HEADER)
        for patient, mpp in (stored or {}).items():
            path = settings["slides"] / f"{patient}.png"
            pixels = cv2.imread(str(path))[..., ::-1]
            per_cm = 1e4 / mpp
            tifffile.imwrite(path.with_suffix(".tif"), np.ascontiguousarray(pixels),
                             photometric="rgb", resolution=(per_cm, per_cm),
                             resolutionunit="CENTIMETER")  # fmt: skip
            path.unlink()
        return settings | {
            "patches": {"size": 16, "mpp": 1.0, "max_blank": 0.9}, "regions": "whole",
            "threshold": 0.5,
        } | more  # fmt: skip

    return make


def problems_of(settings: dict[str, Any]) -> tuple[Problem, ...]:
    return tuple(check(StudyConfig.model_validate(settings)))


def test_every_way_to_say_the_scale(scaled: Callable[..., dict[str, Any]]) -> None:
    settings = scaled(
        told={"G00": "0.25", "G02": "0.55"},
        stored={"G01": 0.25, "G02": 0.5},
        slide_mpp=0.5,
    )
    assert problems_of(settings) == ()
    config = StudyConfig.model_validate(settings)
    run(config, until="tile")
    grids = {p: store.read_grid(config.out / "patches" / f"{p}.parquet") for p in PEOPLE}
    got = {p: (grid.mpp, grid.size_level0) for p, grid in grids.items()}
    assert got["G00"] == (0.25, 64), "from the table"
    assert got["G01"] == (pytest.approx(0.25), 64), "from the file, before the study"
    assert got["G02"] == (0.55, 29), "from the table, before the file"
    assert got["G03"] == (0.5, 32), "from the study"


def test_a_missing_scale_is_found_before_computing(
    scaled: Callable[..., dict[str, Any]],
) -> None:
    settings = scaled(told=dict.fromkeys(PEOPLE[1:], "0.5"))
    (problem,) = problems_of(settings)
    assert (problem.patient, problem.file, problem.fatal) == (
        "G00", settings["slides"] / "G00.png", False,
    )  # fmt: skip
    assert "does not say its µm per pixel" in problem.cause
    for way in ("column `mpp`", "`slide_mpp`", "metadata", "`patches.mpp: null`"):
        assert way in problem.remedy
    with pytest.raises(InputProblems):
        run(StudyConfig.model_validate(settings), until="tile")
    assert not list((settings["out"]).glob("patches/*"))
    assert problems_of(settings | {"patches": {"size": 16}}) == ()


def test_table_and_file_contradict_each_other(scaled: Callable[..., dict[str, Any]]) -> None:
    settings = scaled(told={"G03": "0.5"}, stored={"G03": 0.25}, slide_mpp=0.5)
    (problem,) = problems_of(settings)
    assert (problem.patient, problem.fatal) == ("G03", False)
    assert problem.cause == (
        "the table's `mpp` of slide G03 is 0.5 µm/px, but the file says 0.25 µm/px."
    )


def test_a_changed_scale_cuts_the_slide_again(scaled: Callable[..., dict[str, Any]]) -> None:
    settings = scaled(slide_mpp=0.5)
    config = StudyConfig.model_validate(settings)
    run(config, until="tile")
    table = pd.read_csv(config.cohort, dtype=str)
    table.loc[0, "mpp"] = "0.25"
    table.to_csv(config.cohort, index=False)
    before = {p.stem: p.stat().st_mtime_ns for p in (config.out / "patches").iterdir()}
    run(config, until="tile")
    after = {p.stem: p.stat().st_mtime_ns for p in (config.out / "patches").iterdir()}
    assert {p for p in after if after[p] != before[p]} == {"G00"}


def test_the_limit_of_pixels(scaled: Callable[..., dict[str, Any]]) -> None:
    settings = scaled(slide_mpp=0.5, max_slide_px=96 * 96)
    assert problems_of(settings) == ()
    problems = problems_of(settings | {"max_slide_px": 96 * 96 - 1})
    assert [p.patient for p in problems if p.patient] == PEOPLE
    assert "96 x 96 pixels, more than the 9,215 of `max_slide_px`" in problems[0].cause


def test_a_slide_of_no_bytes_and_one_cut_short(scaled: Callable[..., dict[str, Any]]) -> None:
    settings = scaled(slide_mpp=0.5, stored={"G02": 0.5})
    slides = settings["slides"]
    (slides / "G00.png").write_bytes(b"")
    for patient in ("G01", "G02"):
        path = next(slides.glob(f"{patient}.*"))
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
    told = {p.patient: p.cause for p in problems_of(settings) if p.patient}
    assert list(told) == ["G00", "G01", "G02"]
    assert "an empty file" in told["G00"]
    assert "cut short" in told["G01"]
    assert "cut short" in told["G02"]


@pytest.mark.real_data
def test_real_slides_with_without_and_beyond_reading(data_dir: Path, tmp_path: Path) -> None:
    """cmu says 0.499 µm/px, tcga nothing, broken.svs does not open."""
    names = ("cmu-1-small-region", "tcga-cr-7395-01a-01-ts1", "broken")
    rows = [f"{n},50,2,positive,negative,negative,{i % 2}," for i, n in enumerate(names)]
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    settings = {
        "cohort": table, "slides": data_dir / "slides", "endpoint": "n0-vs-npos",
        "regions": "tissue", "patches": {"mpp": 1.0}, "methods": ("dl-cnb",), "threshold": 0.5,
        "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
        "out": tmp_path / "out",
    }  # fmt: skip
    told = {p.patient: p.cause for p in problems_of(settings) if p.patient}
    assert set(told) == {"tcga-cr-7395-01a-01-ts1", "broken"}
    assert "does not say its µm per pixel" in told["tcga-cr-7395-01a-01-ts1"]
    assert "does not open" in told["broken"]
    table.write_text("\n".join([HEADER, *rows[:2]]).replace("positive,negative,negative,1,",
                     "positive,negative,negative,1,0.25") + "\n", encoding="utf-8")  # fmt: skip
    config = StudyConfig.model_validate(settings)
    cohort = check_inputs(config, reporter=Silent(), memory=check_memory(config)).cohort
    assert cohort is not None
    tiles = tile_slides(cohort, config=config, exclude_failed=False, reporter=Silent())
    got = {name: (grid.size_level0, grid.mpp) for name, grid in tiles.grids.items()}
    assert got == {names[0]: (513, 0.499), names[1]: (1024, 0.25)}
    assert all(len(grid) > 0 for grid in tiles.grids.values())


def test_slides_of_two_magnifications_are_noted(scaled: Callable[..., dict[str, Any]]) -> None:
    coarse = dict.fromkeys(PEOPLE[:6], "0.5")
    told = dict.fromkeys(PEOPLE[6:], "0.25") | coarse
    settings = scaled(told=told)
    settings["patches"] = {"size": 16, "max_blank": 0.9}
    config = StudyConfig.model_validate(settings)
    for _ in range(2):  # the second time from memory
        assert check(config) == ()
        (note,) = store.read_json(config.out / "check.json")["notes"]
        assert "differ in their µm per pixel (18 of 0.25, 6 of 0.5)" in note["cause"]
        assert "2.0 times as much tissue a side" in note["cause"]
        assert note["remedy"].startswith("Set `patches: {mpp: 0.5}`")
    alike = config.model_copy(update={"patches": config.patches.model_copy(update={"mpp": 0.5})})
    assert check(alike) == ()
    assert store.read_json(config.out / "check.json")["notes"] == []


def test_tissue_is_searched_by_the_scale_that_the_study_tells(
    scaled: Callable[..., dict[str, Any]],
) -> None:
    """A square of 64 pixels is dust at 0.25 µm per pixel, and a piece of tissue at 10."""
    settings = scaled() | {"regions": "tissue", "patches": {"size": 16}}
    for mpp, fine in ((0.25, False), (10.0, True)):
        config = StudyConfig.model_validate(settings | {"slide_mpp": mpp})
        assert (check(config) == ()) == fine, mpp
