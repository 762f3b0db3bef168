"""What was cut, drawn over every slide: all cohorts, without training, and those in trouble too."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from axilla.analysis.grid_view import DROPPED
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems
from axilla.core.progress import Silent
from axilla.study import auditing
from axilla.study.auditing import audit_slides
from axilla.study.chain import check, run

Make = Callable[..., dict[str, Any]]
BOWTIE = [[16, 16], [80, 80], [80, 16], [16, 80]]
SQUARE = [[16, 16], [80, 16], [80, 80], [16, 80]]
FAR = [[500, 500], [900, 500], [900, 900]]


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def done(self, step: str, detail: str) -> None:
        self.lines.append(f"{step}: {detail}")


@pytest.fixture
def settings(plain_study: Make) -> dict[str, Any]:
    """Too few to split: A in order, B repaired, C outside, D no JSON, E no outline, G cut off."""
    rows = [f"{p},50,2,positive,positive,negative,{i % 2}" for i, p in enumerate("ABCDEFG")]
    made = plain_study(rows, list("ABCDEG"))
    notes = made["slides"].parent / "annotations"
    for patient, ring in {"A": SQUARE, "B": BOWTIE, "C": FAR, "G": SQUARE}.items():
        text = json.dumps({"positive": [{"vertices": ring}]})
        (notes / f"{patient}.json").write_text(text, encoding="utf-8")
    (notes / "D.json").write_text("{", encoding="utf-8")
    whole = made["slides"] / "G.png"
    whole.write_bytes(whole.read_bytes()[:40])
    # Weights that are nowhere: what is cut can be looked at without them.
    encoder = {"name": "resnet50", "weights": str(made["out"] / "none.safetensors")}
    return made | {"annotations": notes, "encoder": encoder}


def audit(settings: dict[str, Any]) -> tuple[Path, Told]:
    told = Told()
    page = audit_slides(StudyConfig.model_validate(settings), reporter=told)
    assert page is not None
    return page, told


def test_every_slide_is_drawn_and_every_trouble_named(settings: dict[str, Any]) -> None:
    page, told = audit(settings)
    assert told.lines[-1] == "audit: 5 slides, 1 cannot be drawn, 5 drawn now"
    assert {p.name for p in page.parent.iterdir()} == {
        "A.png", "B.png", "C.png", "D.png", "E.png", "index.html",
    }  # fmt: skip
    text = page.read_text(encoding="utf-8")
    cards = dict(re.findall(r"<li[^>]*>(?:(?!</li>).)*?<h2>(\w)</h2>(.*?)</li>\n", text, re.DOTALL))
    assert list(cards) == ["B", "C", "D", "E", "G", "A"], "those with a remark first"
    assert "No annotation: all tissue that is found was taken." in cards["E"]
    assert "No annotation" not in cards["A"] + cards["B"]
    assert "Patches: 16 kept, 0 dropped." in cards["A"]
    assert "Repaired: outlines that cross themselves (1)." in cards["B"]
    assert "lies wholly outside the slide of 96 x 96 pixels" in cards["C"]
    assert "neither JSON nor XML" in cards["D"]
    assert re.search(r"<li>F: There is no slide F\.", text)
    assert 'src="A.png"' in text
    assert "6 slides; 5 with a remark come first" in text
    assert 'src="D.png"' in text, "the slide alone"
    assert "Not cut into patches." in cards["D"]
    assert 'src="G.png"' not in text, "nothing of it can be shown"
    assert "slide G" in cards["G"] or "G.png" in cards["G"]
    assert not (settings["out"] / "split.csv").exists(), "nothing but what was cut"


def test_pictures_show_what_was_dropped(settings: dict[str, Any]) -> None:
    page, _ = audit(settings)
    image = np.asarray(Image.open(page.parent / "B.png").convert("RGB")).astype(int)
    assert image.shape == (96, 96, 3)
    grid = store.read_grid(settings["out"] / "patches" / "B.parquet")
    assert (len(grid), grid.dropped, grid.repaired) == (4, 12, 1)
    slide = np.asarray(Image.open(settings["slides"] / "B.png").convert("RGB")).astype(int)
    # A dropped patch between the wings of the bow has 30 % of the colour over it; what is outside
    # the grid has not. The picture has 256 colours, so means are compared.
    between, outside = np.s_[20:28, 36:44], np.s_[4:12, 4:80]
    shade = 255 * np.array(to_rgb(DROPPED))
    expected = 0.7 * slide[between].mean((0, 1)) + 0.3 * shade
    assert image[between].mean((0, 1)) == pytest.approx(expected, abs=6)
    assert image[outside].mean((0, 1)) == pytest.approx(slide[outside].mean((0, 1)), abs=6)


def test_a_slide_without_a_readable_annotation_is_shown_alone(settings: dict[str, Any]) -> None:
    page, _ = audit(settings)
    image = np.asarray(Image.open(page.parent / "D.png").convert("RGB")).astype(int)
    slide = np.asarray(Image.open(settings["slides"] / "D.png").convert("RGB")).astype(int)
    assert image.shape == slide.shape
    # As the slide but for the palette of 256 colours: not a line, not a shade of a patch.
    assert np.abs(image - slide).mean() < 3
    assert (np.abs(image[4:12] - 255) <= 6).all()


def test_a_second_audit_draws_nothing(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, _ = audit(settings)
    before = {p: p.stat().st_mtime_ns for p in page.parent.iterdir()}
    drawn: list[int] = []
    real = auditing._picture
    monkeypatch.setattr(
        auditing, "_picture", lambda views, **k: drawn.append(1) or real(views, **k)
    )
    _, told = audit(settings)
    assert {p: p.stat().st_mtime_ns for p in page.parent.iterdir()} == before
    assert (drawn, told.lines[-1]) == ([], "audit: 5 slides, 1 cannot be drawn, done before")
    assert "neither JSON nor XML" in page.read_text(encoding="utf-8"), "still beside its picture"
    (page.parent / "A.png").unlink()
    text = json.dumps({"positive": [{"vertices": SQUARE}]})
    (settings["annotations"] / "D.json").write_text(text, encoding="utf-8")
    _, told = audit(settings)
    assert (len(drawn), told.lines[-1]) == (2, "audit: 5 slides, 1 cannot be drawn, 2 drawn now")


def test_several_images_share_a_picture(plain_study: Make) -> None:
    rows = [f"{p},50,2,positive,positive,negative,{i % 2}" for i, p in enumerate("AB")]
    images = [f"{p}_{k}" for p in "AB" for k in (1, 2, 3)]
    page, told = audit(plain_study(rows, images) | {"regions": "whole"})
    assert told.lines[-1] == "audit: 2 slides, 2 drawn now"
    with Image.open(io.BytesIO((page.parent / "A.png").read_bytes())) as picture:
        assert picture.size == (192, 192), "two by two panels"


def test_ids_are_text_not_markup(plain_study: Make) -> None:
    names = ["a&b #1", "<b>"]
    rows = [f"{p},50,2,positive,positive,negative,{i % 2}" for i, p in enumerate(names)]
    page, _ = audit(plain_study(rows, names))
    text = page.read_text(encoding="utf-8")
    assert "<h2>a&amp;b #1</h2>" in text
    assert 'src="a%26b%20%231.png"' in text
    assert "<h2><b></h2>" not in text


def test_a_clinical_study_has_nothing_to_draw(settings: dict[str, Any]) -> None:
    told = Told()
    config = StudyConfig.model_validate(settings | {"methods": ("clinical",), "slides": None})
    assert audit_slides(config, reporter=told) is None
    assert told.lines == ["audit: not needed: no method looks at slides"]


def test_an_unusable_table_stops_it(settings: dict[str, Any]) -> None:
    settings["cohort"].write_text("name\nA\n", encoding="utf-8")
    with pytest.raises(InputProblems, match="patient_id"):
        audit(settings)


def test_check_and_tile_tell_repairs(settings: dict[str, Any]) -> None:
    config = StudyConfig.model_validate(settings)
    told = Told()
    check(config, reporter=told)
    note, bare = told.lines
    assert "1 of 6 slides has no annotation (E)" in bare
    assert "patient B" in note
    assert "1 of 1 regions of slide B has an outline that crosses itself" in note


def test_kept_classes_are_part_of_what_was_cut(plain_study: Make) -> None:
    people = [f"P{number:02d}" for number in range(18)]
    rows = [f"{p},50,2,positive,positive,negative,{i % 2}" for i, p in enumerate(people)]
    settings = plain_study(rows, people)
    notes = settings["slides"].parent / "annotations"
    features = []
    for low, name in ((16, "Tumour"), (48, "Stroma")):
        ring = [[low, 16], [80, 16], [80, 80], [low, 80]]
        shape = {"type": "Polygon", "coordinates": [ring]}
        properties = {"classification": {"name": name}}
        features.append({"type": "Feature", "geometry": shape, "properties": properties})
    for patient in people:
        (notes / f"{patient}.geojson").write_text(json.dumps(features), encoding="utf-8")
    for keep, kept in ((["tumour"], 16), (["STROMA"], 8), (["stroma", "tumour"], 24)):
        given = {"folder": notes, "keep": keep}
        config = StudyConfig.model_validate(settings | {"annotations": given})
        run(config, until="tile")
        assert len(store.read_grid(config.out / "patches" / "P00.parquet")) == kept
    given = {"folder": notes, "keep": ["tumor"]}
    problems = check(StudyConfig.model_validate(settings | {"annotations": given}))
    assert [p.patient for p in problems if p.patient] == people
    assert "its classes are Tumour (1), Stroma (1)" in problems[0].cause
