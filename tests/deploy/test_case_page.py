"""The maps, the page and the files of a case."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from axilla.core.types import MicronsPerPixel, PatchGrid, SlidePixels
from axilla.deploy.case_inputs import CaseInput
from axilla.deploy.case_maps import MAP_PX, _canvas
from axilla.deploy.case_record import CaseRecord
from axilla.deploy.loading import LoadedModel
from axilla.deploy.predicting import CaseResult, predict_case, write_case
from axilla.study.heat_drawing import Picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from axilla.core.config import StudyConfig
    from axilla.study.chain import StudyResult

    Study = tuple[StudyConfig, StudyResult]
    WithRecord = Callable[..., LoadedModel]


def test_maps_and_patches(result: CaseResult) -> None:
    (own,) = result.maps
    assert set(own.values) == {"attention", "contribution"}
    assert own.grid is not None
    assert len(own.values["attention"]) == len(own.grid) == result.record.slides[0].patches
    assert np.nanmean(own.values["attention"]) == pytest.approx(1, abs=0.05)
    top = result.record.slides[0].top_patches
    assert [p.attention for p in top] == sorted((p.attention for p in top), reverse=True)
    assert top[0].attention == pytest.approx(own.values["attention"].max())
    tiles = json.loads(next(iter(result.tiles.values())))
    assert len(tiles["features"]) == len(own.grid)
    measured = tiles["features"][0]["properties"]["measurements"]
    assert set(measured) == {"Attention", "Attention rank", "Contribution"}
    # The map shows the thumbnail; what has more attention is more yellow than before.
    shown = cv2.imdecode(np.frombuffer(own.maps[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape[:2] == (own.maps[0].height, own.maps[0].width)
    scale = shown.shape[1] / 420
    best, least = (
        own.grid.xy[i] for i in (own.values["attention"].argmax(), own.values["attention"].argmin())
    )
    yellow = [
        float(np.subtract(*shown[round((y + 8) * scale) : round((y + 24) * scale),
                                 round((x + 8) * scale) : round((x + 24) * scale)]
              .reshape(-1, 3).mean(axis=0)[[1, 0]]))
        for x, y in (best, least)
    ]  # fmt: skip
    assert yellow[0] > yellow[1]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 93, 500])
def test_any_number_of_images_fits_a_map(count: int) -> None:
    rng = np.random.default_rng(count)
    pictures = [
        Picture((), np.full((h, w, 3), 9, np.uint8), 16.0, MicronsPerPixel(0.5), (w * 16, h * 16))
        for h, w in rng.integers(40, 400, (count, 2)).tolist()
    ]
    nothing = np.empty(0, np.int32)
    grid = PatchGrid(
        slide_id="s",
        white_share=np.zeros(0, np.float32),
        dropped=0,
        xy=nothing.reshape(0, 2),
        region=nothing,
        size_level0=SlidePixels(256),
        mpp=None,
    )
    canvas = _canvas(pictures, grid)
    assert max(canvas.pixels.shape) <= MAP_PX + count
    covered = np.zeros(canvas.pixels.shape[:2], int)
    for place, picture in zip(canvas.placed, pictures, strict=True):
        height, width = (max(1, round(s * 16 * place.scale)) for s in picture.thumbnail.shape[:2])
        covered[place.top : place.top + height, place.left : place.left + width] += 1
        assert place.scale == canvas.placed[0].scale > 0
        assert (place.top == 0) | (count > 4)
    assert covered.max() == 1
    assert ((canvas.pixels[..., 0] == 9) == (covered > 0)).all()


def test_the_page_loads_nothing_and_escapes(result: CaseResult, trained: Study) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", result.page)
    assert "default-src 'none'" in result.page
    assert "<script" not in result.page
    assert "For research use only" in result.page
    assert "trained on a generated cohort" in result.page, "the bundle is of generated data"
    assert result.record.model.generated


def test_files_are_whole_and_read_back(case: CaseInput, result: CaseResult, tmp_path: Path) -> None:
    files = write_case(result, tmp_path / "out")
    assert files[-1].name == "case.json"
    assert {path.name for path in files} == {*result.record.files, "case.json"}
    read = CaseRecord.model_validate_json(files[-1].read_text(encoding="utf-8"))
    assert read == result.record
    assert (tmp_path / "out" / "case.html").read_text(encoding="utf-8") == result.page


def test_maps_follow_the_study_s_ranks(
    fused: LoadedModel, case: CaseInput, with_record: WithRecord, result: CaseResult
) -> None:
    assert "heatmaps" not in fused.record  # of the usual scale, as models before it was told
    found = predict_case(with_record(fused, heatmaps={"scale": "rank"}), case)
    ranked, contribution = found.maps[0].maps
    plain, same = result.maps[0].maps
    assert (ranked.low, ranked.high) == (0, 1)
    assert (plain.low, plain.high) != (0, 1)
    assert ranked.jpeg != plain.jpeg
    assert contribution.jpeg == same.jpeg
    assert "Rank within the slide: 1 = the slide&#39;s most" in found.page
    assert "Rank within the slide" not in result.page
    assert found.record.slides == result.record.slides  # the values are the same


def test_colours_of_a_cohort_are_left_out_and_it_is_told(
    fused: LoadedModel, case: CaseInput, with_record: WithRecord, result: CaseResult
) -> None:
    found = predict_case(with_record(fused, heatmaps={"scale": "cohort"}), case)
    assert [m.jpeg for m in found.maps[0].maps] == [m.jpeg for m in result.maps[0].maps]
    (note,) = found.record.notes
    assert "does not hold the values" in note
    assert note in found.page
