"""The method dl-cnb-nuclei through the whole chain, on the generated cohort."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import shape

from axilla.console import ConsoleReporter
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.core.methods import NUCLEI
from axilla.core.progress import Silent
from axilla.core.types import MicronsPerPixel, PatchGrid, SlidePixels
from axilla.nuclei.feature_bags import FEATURES, Bins, feature_bag, feature_values, fix_bins
from axilla.nuclei.outlining import MEASURED
from axilla.study.chain import StudyResult, check, run
from axilla.study.nuclei_slides import SlideNuclei, measure_patches, outlined_patches
from axilla.study.tiling import tile_slides

if TYPE_CHECKING:
    from pathlib import Path

TRAINING = {"epochs": 40, "batch_size": 8, "lr": 1.0e-3, "restarts": None}


@pytest.fixture(scope="module")
def settings(tiny_settings: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in tiny_settings.items() if name not in {"encoder", "bags"}}
    return own | {
        "name": "Nuclei", "methods": ["clinical", NUCLEI], "slide_mpp": 1.0,
        "nuclei": {"classical": True, "bins": 8}, "training": TRAINING, "threshold": 0.5,
    }  # fmt: skip


@pytest.fixture(scope="module")
def found(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    out = tmp_path_factory.mktemp("nuclei") / "out"
    return run(StudyConfig.model_validate(settings | {"out": out}))


def test_every_nucleus_lies_in_its_patch(found: StudyResult) -> None:
    patient = found.cohort.patients[0].slides[0].slide_id
    nuclei = pd.read_parquet(found.layout.nuclei(patient))
    patches = pd.read_parquet(found.layout.nuclei_patches(patient))
    grid = store.read_grid(found.layout.grid(patient))
    assert len(patches) == len(grid)
    assert nuclei.groupby("patch").size().reindex(patches["patch"], fill_value=0).tolist() == (
        patches["nuclei"].tolist()
    )
    corners = grid.xy[nuclei["patch"]]
    inside = nuclei[["x", "y"]].to_numpy() - corners
    assert ((inside > 0) & (inside < grid.size_level0)).all()
    # Nuclei of generated tissue: 30 to 60 µm².
    assert 25 < nuclei["area"].median() < 70


def test_qupath_opens_every_nucleus_where_it_lies(found: StudyResult) -> None:
    slide = found.cohort.patients[0].slides[0].slide_id
    nuclei = pd.read_parquet(found.layout.nuclei(slide))
    text = found.layout.nuclei_drawn(slide, None).read_text(encoding="utf-8")
    features = json.loads(text)["features"]
    assert len(features) == len(nuclei) > 40  # of 57 in its patches the outline cuts seven
    for feature, row in zip(features, nuclei.to_dict("records"), strict=True):
        ring = shape(feature["geometry"])
        assert (ring.centroid.x, ring.centroid.y) == pytest.approx((row["x"], row["y"]), abs=0.15)
        # A pixel of the slide is 1 µm wide.
        assert ring.area == pytest.approx(row["area"], rel=0.05)
        measured = feature["properties"]["measurements"]
        assert measured["Area µm²"] == pytest.approx(row["area"], rel=1e-4)
    assert len(text) / len(features) < 1000


def test_without_the_files_for_qupath_no_model_is_trained_again(
    found: StudyResult, settings: dict[str, Any], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    shutil.copytree(found.layout.out, out)
    own = settings | {"out": out, "nuclei": settings["nuclei"] | {"geojson": False}}
    run(StudyConfig.model_validate(own), until="train", reporter=ConsoleReporter())
    said = capsys.readouterr().out
    assert "30 slides, 30 now" in said
    assert "2 models, done before" in said


def test_planted_features_come_out_in_their_direction(found: StudyResult) -> None:
    tests = pd.read_csv(found.layout.nuclei_tests).set_index("feature")
    more, less = ["density", "orientation"], ["circumference", "circularity", "area"]
    assert (tests.effect[more] > 0.5).all()
    assert (tests.effect[less] < 0.5).all()
    assert (tests.p_adjusted[more + less] < 0.05).all()
    assert tests.p_adjusted["rectangularity"] > 0.05  # which was not planted


def test_the_model_weighs_every_feature_of_every_test_patient(found: StudyResult) -> None:
    weights = pd.read_csv(found.layout.nuclei_weights, dtype={"patient_id": str})
    assert sorted(weights["patient_id"]) == sorted(found.partitions[0].members("test"))
    np.testing.assert_allclose(weights[list(FEATURES)].mean(axis=1), 1, atol=1e-5)


def test_bins_are_of_the_training_patients_alone(found: StudyResult) -> None:
    record = store.read_model_record(found.layout.model(NUCLEI, "split"))
    nuclei = SlideNuclei(found.layout, {}, in_um=True)
    train = set(found.partitions[0].members("train"))
    slides = [s.slide_id for p in found.cohort.patients if p.patient_id in train for s in p.slides]
    own = fix_bins([nuclei.values(slide) for slide in slides], bins=8)
    assert record["members"][0]["bins"] == own.to_json()
    assert record["encoder"]["name"] == "nucleus features"


def test_the_report_tells_of_nuclei_and_of_no_encoder(found: StudyResult) -> None:
    assert found.report is not None
    text = found.report.read_text(encoding="utf-8")
    assert "Nucleus features by class" in text
    assert "Common orientation" in text
    assert "The encoder is" not in text
    assert "8 features became a histogram of 8 bins" in text
    scores = store.read_predictions(found.layout.predictions)
    assert set(scores["method"]) == {"clinical", NUCLEI}


def test_the_report_shows_what_the_model_sees(found: StudyResult) -> None:
    assert found.report is not None
    text = found.report.read_text(encoding="utf-8")
    scores = store.read_predictions(found.layout.predictions)
    scores = scores[(scores["method"] == NUCLEI) & (scores["cohort"] == "test")]
    ranked = scores.sort_values("score")["patient_id"]
    shown = [found.layout.case_nuclei(p).is_file() for p in ranked]
    assert shown[:3] == shown[-3:] == [True] * 3
    assert text.count("Patches with their nuclei outlined</h4>") == min(6, len(ranked))
    assert text.count("Nucleus features of this patient</h4>") == min(6, len(ranked))
    assert "The model sees no patch, only the nuclei&#39;s features" in text
    assert "Attention shows which patches" not in text
    # What carries the model stands right after the cases.
    sections = re.findall(r'<section class="part" id="([a-z-]+)"', text)
    assert sections[sections.index("cases") + 1] == "nuclei"
    weights = pd.read_csv(found.layout.nuclei_weights)[list(FEATURES)].median()
    most = FEATURES[str(weights.idxmax())].lower()
    assert f"the model weighs {most} ({weights.max():.2f})" in text


def test_outlines_are_of_the_nuclei_that_were_measured(
    found: StudyResult, settings: dict[str, Any]
) -> None:
    config = StudyConfig.model_validate(settings | {"out": found.layout.out})
    tiles = tile_slides(found.cohort, config=config, exclude_failed=False, reporter=Silent())
    slide = found.cohort.patients[0].slides[0]
    rows = np.array([0, len(tiles.grids[slide.slide_id]) - 1])
    drawn = outlined_patches(slide, tiles, rows, config=config)
    counts = SlideNuclei(found.layout, {}, in_um=True).patches(slide.slide_id)["nuclei"]
    for image, row in zip(drawn, rows, strict=True):
        lines = (image == np.array(MEASURED, np.uint8)).all(axis=2).astype(np.uint8)
        rings, _ = cv2.connectedComponents(lines, connectivity=8)
        # Touching nuclei share a line; none of another colour is counted.
        assert (rings > 1) == (counts[row] > 0)
        assert rings - 1 <= counts[row]


def test_a_second_run_finds_everything_done(
    found: StudyResult, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        StudyConfig.model_validate(settings | {"out": found.layout.out}),
        reporter=ConsoleReporter(),
    )
    said = capsys.readouterr().out
    assert "30 slides, done before" in said
    assert "nuclei    explained before" in said
    assert "2 models, done before" in said


def test_slides_of_which_only_some_tell_their_scale_are_refused(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    table = pd.read_csv(settings["cohort"], dtype=str)
    table["mpp"] = ["", *["1.0"] * (len(table) - 1)]
    table.to_csv(tmp_path / "cohort.csv", index=False)
    own = {name: value for name, value in settings.items() if name != "slide_mpp"}
    config = StudyConfig.model_validate(
        own | {"cohort": tmp_path / "cohort.csv", "out": tmp_path / "out"}
    )
    (problem,) = check(config)
    assert "as 1 of 30 do not, so nuclei cannot be measured alike" in problem.cause
    assert problem.patient == table["patient_id"].iloc[0]
    assert problem.file is not None
    assert not problem.fatal
    with pytest.raises(InputProblems, match="nuclei cannot be measured alike"):
        run(config)


@pytest.mark.parametrize(
    ("changes", "said", "count"),
    [
        ({"slide_mpp": 2.5}, "at 2.5 µm per pixel nuclei are not seen.", 30),
        ({"nuclei": {"weights": "none.safetensors"}}, "none.safetensors", 1),
    ],
)
def test_what_would_stop_the_nuclei_is_found_before_anything_is_cut(
    settings: dict[str, Any], tmp_path: Path, changes: dict[str, Any], said: str, count: int
) -> None:
    problems = check(StudyConfig.model_validate(settings | changes | {"out": tmp_path}))
    problems = tuple(p for p in problems if not p.cause.startswith("without the patients named"))
    assert len(problems) == count
    for problem in problems:
        assert said in str(problem)
        assert (problem.patient is None) == problem.fatal
    assert not (tmp_path / "grids").exists()


def test_features_made_elsewhere_show_no_nuclei(settings: dict[str, Any], tmp_path: Path) -> None:
    own = {n: v for n, v in settings.items() if n not in {"slides", "annotations"}}
    with pytest.raises(ValueError, match="dl-cnb-nuclei looks at nuclei"):
        StudyConfig.model_validate(own | {"features": {"folder": tmp_path}})


def test_a_slide_without_a_patch_has_no_nuclei_and_stops_nobody(
    found: StudyResult, settings: dict[str, Any]
) -> None:
    none = PatchGrid(
        slide_id="blank", region=np.empty(0, np.int32), xy=np.empty((0, 2), np.int32),
        white_share=np.empty(0, np.float32), size_level0=SlidePixels(64), dropped=12,
        mpp=MicronsPerPixel(1.0),
    )  # fmt: skip
    config = StudyConfig.model_validate(settings)
    nuclei, patches = measure_patches(
        None, none, regions=(), config=config, segmenter=None, add={},  # type: ignore[arg-type]  # not read
    )  # fmt: skip
    whole = pd.read_parquet(found.layout.nuclei(found.cohort.patients[0].slides[0].slide_id))
    assert (len(nuclei), len(patches)) == (0, 0)
    assert nuclei.dtypes.to_dict() == whole.dtypes.to_dict()
    values = feature_values(nuclei, patches["density"].to_numpy())
    assert feature_bag(values, Bins(dict.fromkeys(FEATURES, np.linspace(0, 1, 5)))).sum() == len(
        FEATURES
    )
