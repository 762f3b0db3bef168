from __future__ import annotations

from pathlib import Path

import pytest

from axilla.core.config import Patches
from axilla.core.errors import SlideError
from axilla.core.types import MicronsPerPixel, Slide
from axilla.wsi.scale import patch_side_level0, sane_mpp, slide_mpp

IMAGE = Path("s1.svs")


def slide(*, table: float | None = None, study: float | None = None) -> Slide:
    return Slide(
        "s1",
        "p1",
        (IMAGE,),
        table_mpp=None if table is None else MicronsPerPixel(table),
        study_mpp=None if study is None else MicronsPerPixel(study),
    )


@pytest.mark.parametrize(
    ("table", "found", "study", "expected"),
    [
        (None, None, None, None),
        (None, None, 0.5, 0.5),
        (None, 0.25, 0.5, 0.25),
        (0.3, 0.25, 0.5, 0.3),
        (0.25, 0.3, None, 0.25),
        (1.0, None, 0.5, 1.0),
    ],
)
def test_the_table_goes_before_the_file_and_the_file_before_the_study(
    table: float | None, found: float | None, study: float | None, expected: float | None
) -> None:
    told = None if found is None else MicronsPerPixel(found)
    assert slide_mpp(slide(table=table, study=study), told, image=IMAGE) == expected


@pytest.mark.parametrize("found", [0.2, 0.31])
def test_table_and_file_contradict_each_other(found: float) -> None:
    with pytest.raises(SlideError) as caught:
        slide_mpp(slide(table=0.25), MicronsPerPixel(found), image=IMAGE)
    problem = caught.value.problem
    assert (problem.patient, problem.file) == ("p1", IMAGE)
    assert "`mpp` of slide s1 is 0.25 µm/px, but the file says" in problem.cause
    assert "column `mpp`" in problem.remedy


def test_side_of_a_patch() -> None:
    def side(found: float | None, asked: float | None) -> int:
        mpp = None if found is None else MicronsPerPixel(found)
        return patch_side_level0(slide(), mpp, config=Patches(size=100, mpp=asked), image=IMAGE)

    assert side(None, None) == side(0.25, None) == 100
    assert side(0.25, 0.5) == 200
    assert side(0.499, 0.25) == 50
    with pytest.raises(SlideError, match=r"patient p1, s1\.svs: slide s1 does not say its µm"):
        side(None, 0.5)


def test_a_microscopes_scale() -> None:
    assert sane_mpp(0.25, 0.26) == pytest.approx(0.255)
    assert sane_mpp(0.25, 300) is None
    assert sane_mpp(float("nan"), 0.25) is None
    assert sane_mpp(0.001, 0.25) is None
