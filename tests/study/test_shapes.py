"""Studies of other shapes through to the report: folds, three classes, any column, many slides."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.study.chain import StudyResult, run

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("coarse_pictures")
PEOPLE = [f"G{number:02d}" for number in range(18)]


def row(number: int, *, nodes: int, extra: str = "") -> str:
    clinical = f"{40 + number},{1 + number % 7 * 0.3:.1f},positive,negative,negative"
    return f"G{number:02d},{clinical},{nodes}{extra}"


def page_of(result: StudyResult) -> str:
    assert result.report is not None
    return result.report.read_text(encoding="utf-8")


@pytest.mark.usefixtures("drawn")
def test_cross_validation(
    frozen_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Heat maps of folds are drawn in the test by group below.
    monkeypatch.setattr("axilla.study.chain.explain_all", lambda *args, **kwargs: [])
    settings = frozen_settings | {
        "split": {"folds": 3, "repeats": 2, "validation": 0},
        "methods": ("clinical", "dl-cnb"), "threshold": 0.5, "out": tmp_path / "out",
        "published": [{"source": "A 2020", "method": "dl-cnb", "auc": 0.775, "accuracy": 0.745}],
    }  # fmt: skip
    result = run(StudyConfig.model_validate(settings))
    frame = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert list(frame.columns) == [
        "patient_id", "method", "cohort", "label", "score", "repeat", "fold", "imputed",
    ]  # fmt: skip
    tests = frame[(frame["cohort"] == "test") & (frame["method"] == "dl-cnb")]
    assert (tests.groupby("patient_id").size() == 2).all(), "once a repeat"
    assert len(tests) == 60
    assert {p.name for p in (tmp_path / "out" / "models" / "dl-cnb").iterdir()} == {
        "ensemble",
        *(f"repeat{repeat}-fold{fold}" for repeat in range(2) for fold in range(3)),
    }
    assert result.metrics is not None
    folds = result.metrics["folds"]["clinical"]
    assert folds["auc"]["n"] == folds["accuracy"]["n"] == 6
    assert folds["auc"]["mean"] == pytest.approx(np.mean(folds["auc"]["values"]))
    page = page_of(result)
    assert "3-fold cross-validation, 2 repeats" in page
    assert "Out-of-fold test" in page
    assert "independent test" not in page.lower()  # every patient trained other folds' models
    assert f"{folds['auc']['mean']:.3f}" in page
    assert "A 2020" in page
    split = pd.read_csv(tmp_path / "out" / "split.csv")
    assert len(split) == 180


@pytest.mark.usefixtures("drawn")
def test_three_classes(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    settings = tiny_settings | {
        "endpoint": "n0-vs-n1-2-vs-n3plus", "methods": ("clinical", "dl-cnb"),
        "training": {"epochs": 1, "batch_size": 8}, "out": tmp_path / "out",
        "published": [{"source": "A 2020", "method": "clinical", "auc": 0.7, "accuracy": 0.6}],
    }  # fmt: skip
    result = run(StudyConfig.model_validate(settings))
    frame = pd.read_csv(tmp_path / "out" / "predictions.csv")
    scores = ["score_N0", "score_N+(1-2)", "score_N+(>=3)"]
    assert list(frame.columns) == ["patient_id", "method", "cohort", "label", *scores, "imputed"]
    assert np.allclose(frame[scores].sum(axis=1), 1)
    assert result.metrics is not None
    entry = result.metrics["methods"]["dl-cnb"]["test"]
    assert entry["classes"] == ["N0", "N+(1-2)", "N+(>=3)"]
    assert np.sum(entry["confusion_matrix"]) == entry["n"] == 6
    assert entry["auc"]["low"] is None
    page = page_of(result)
    assert "N0 against N+(1-2) against N+(&gt;=3)" in page
    assert (tmp_path / "out" / "figures" / "confusion_dl-cnb_test.svg").is_file()
    tested = frame[(frame["cohort"] == "test") & (frame["method"] == "dl-cnb")]
    shown = tested.sort_values("score_N+(>=3)").iloc[-1]
    called = scores[int(np.argmax(shown[scores]))].removeprefix("score_")
    told = ", ".join(f"{name.removeprefix('score_')} {shown[name]:.3f}" for name in scores)
    assert html.escape(f"{told}, called {called}") in page
    assert (
        store.read_model(tmp_path / "out" / "models" / "dl-cnb").record["threshold"]["value"]
        is None
    )


def test_an_endpoint_from_a_column_by_group(plain_study: Make) -> None:
    people = PEOPLE[:10]
    rows = [f"{p},{'benign' if i % 2 else 'Malignant'},array{i % 5}" for i, p in enumerate(people)]
    settings = plain_study(rows, people, header="patient_id,label,array") | {
        "endpoint": {"column": "label", "negative": "benign", "positive": "malignant"},
        "split": {"folds": 2, "group": "array", "validation": 0}, "threshold": 0.5,
        "regions": "whole",
    }  # fmt: skip
    result = run(StudyConfig.model_validate(settings))
    groups = {p.patient_id: p.group for p in result.cohort.patients}
    for partition in result.partitions:
        sides = {c: {groups[p] for p in partition.members(c)} for c in ("train", "test")}
        assert not sides["train"] & sides["test"], "an array lies on one side"
    table = pd.read_csv(settings["out"] / "predictions.csv")
    labels = table.drop_duplicates("patient_id").set_index("patient_id")["label"]
    assert labels.to_dict() == {p: 1 - i % 2 for i, p in enumerate(people)}
    # Each patient is shown by the fold that did not train on it.
    assert {p.stem for p in (settings["out"] / "attention").iterdir()} == set(people)
    page = page_of(result)
    assert "benign against malignant" in page


def test_several_slides_a_patient(plain_study: Make) -> None:
    """Bags come from every slide, one of them empty; the split is by patient."""
    header = "patient_id,age,tumor_size_cm,er,pr,her2,nodes,slide_id"
    rows, images = [], []
    for number in range(18):
        for part in "ab" if number < 9 else "a":
            slide = f"G{number:02d}{part}"
            rows.append(row(number, nodes=number % 2, extra=f",{slide}"))
            images.append(slide)
    settings = plain_study(rows, images, header=header) | {"regions": "tissue", "threshold": 0.5}
    from PIL import Image

    Image.new("RGB", (96, 96), "white").save(settings["slides"] / "G03b.png")
    config = StudyConfig.model_validate(settings)
    result = run(config)
    assert len(result.cohort.patients) == 18
    assert len(list((config.out / "patches").iterdir())) == 27
    assert len(store.read_grid(config.out / "patches" / "G03b.parquet")) == 0
    frame = pd.read_csv(config.out / "predictions.csv")
    assert sorted(frame["patient_id"]) == PEOPLE
    assert "27 slides" in page_of(result)
    seen = {slide.slide_id: p for p in result.cohort.patients for slide in p.slides}
    tests = set(result.partitions[0].members("test"))
    drawn = {p.stem for p in (config.out / "attention").iterdir()}
    assert drawn == {s for s, p in seen.items() if p.patient_id in tests and s != "G03b"}


def test_auto_takes_the_annotation_where_there_is_one(plain_study: Make) -> None:
    rows = [row(number, nodes=number % 2) for number in range(18)]
    settings = plain_study(rows, PEOPLE)
    notes = settings["slides"].parent / "annotations"
    corners = [[16, 16], [48, 16], [48, 48], [16, 48]]
    outline = {"positive": [{"vertices": corners}]}
    for patient in ("G00", "G01"):
        (notes / f"{patient}.json").write_text(json.dumps(outline), encoding="utf-8")
    config = StudyConfig.model_validate(settings | {"annotations": notes})
    run(config, until="tile")
    kept = {p: len(store.read_grid(config.out / "patches" / f"{p}.parquet")) for p in PEOPLE}
    assert kept["G00"] == kept["G01"] == 4, "32 x 32 pixels of outline"
    assert 16 <= kept["G02"] <= 25, "the pink square of 64 x 64 pixels"
    with pytest.raises(InputProblems) as caught:
        run(StudyConfig.model_validate(dict(config) | {"regions": "annotation"}), until="tile")
    *named, split = caught.value.problems
    assert [p.patient for p in named] == PEOPLE[2:]
    assert split.cause.startswith("without the patients named above, the")


def test_cut_regions_as_bcnb_publishes_them(plain_study: Make) -> None:
    rows = [row(number, nodes=number % 2) for number in range(18)]
    images = [f"{p}_{k}" for p in PEOPLE for k in (1, 2)]
    settings = plain_study(rows, [*images, *PEOPLE]) | {
        "regions": "whole", "threshold": 0.5, "heatmaps": {"ome_tiff": True},
    }  # fmt: skip
    result = run(StudyConfig.model_validate(settings))
    assert [i.name for i in result.cohort.patients[3].slides[0].images] == [
        "G03_1.png",
        "G03_2.png",
    ]
    grid = store.read_grid(settings["out"] / "patches" / "G03.parquet")
    # Regions bear the numbers of their names: 1 and 2 here, BCNB counts from 0.
    assert np.bincount(grid.region).tolist() == [0, 16, 16]
    attention = settings["out"] / "attention"
    table = pd.read_csv(next(attention.glob("*.csv")))
    assert table.groupby("region").size().tolist() == [16, 16]
    # A file for QuPath and an overlay of each region's image.
    slide = next(attention.glob("*.csv")).stem
    for number in (1, 2):
        tiles = json.loads((attention / f"{slide}-{number}.geojson").read_text(encoding="utf-8"))
        assert len(tiles["features"]) == 16
        own = table[table["region"] == number]
        overlay = tifffile.imread(
            settings["out"] / "heatmaps" / f"{slide}-attention-{number}.ome.tif"
        )
        values = overlay[own["y"] + 8, own["x"] + 8]
        np.testing.assert_array_equal(values, own["attention"].astype("f4"))
    assert "18 slides" in page_of(result)
