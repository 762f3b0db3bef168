from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from axilla.core.errors import AnnotationError, SlideError
from axilla.core.types import Slide
from axilla.wsi.regions import find_regions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def slide(tmp_path: Path, save_png: Callable) -> Slide:
    image = np.full((300, 400, 3), 240, np.uint8)
    image[50:250, 100:300] = (220, 140, 190)
    annotation = tmp_path / "s1.json"
    annotation.write_text(json.dumps({"positive": [{"vertices": [[0, 0], [9, 0], [0, 9]]}]}))
    return Slide("s1", "p1", (save_png(image),), annotation)


def test_auto_takes_the_annotation_else_tissue_else_cut_regions(slide: Slide) -> None:
    assert [r.source for r in find_regions(slide, mode="auto")] == ["annotation"]
    bare = replace(slide, annotation=None)
    (tissue,) = find_regions(bare, mode="auto")
    assert tissue.source == "tissue"
    assert tissue.polygon.bounds == pytest.approx((100, 50, 300, 250), abs=3)
    cut = replace(bare, images=slide.images * 2)
    assert [(r.index, r.source) for r in find_regions(cut, mode="auto")] == [
        (0, "whole"),
        (1, "whole"),
    ]


def test_what_is_asked_for(slide: Slide) -> None:
    assert [r.source for r in find_regions(slide, mode="annotation")] == ["annotation"]
    assert [r.source for r in find_regions(slide, mode="tissue")] == ["tissue"]
    (whole,) = find_regions(slide, mode="whole")
    assert (whole.index, whole.image, whole.polygon, whole.source) == (
        0,
        slide.images[0],
        None,
        "whole",
    )
    several = replace(slide, images=slide.images * 2)
    assert [r.index for r in find_regions(several, mode="tissue")] == [0, 1]


def test_errors(slide: Slide, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"patient p1.* no annotation.*regions: auto"):
        find_regions(replace(slide, annotation=None), mode="annotation")
    with pytest.raises(AnnotationError, match="2 images with one annotation"):
        find_regions(replace(slide, images=slide.images * 2), mode="auto")
    gone = Slide("s1", "p1", (tmp_path / "gone.png",))
    with pytest.raises(SlideError, match="does not exist"):
        find_regions(gone, mode="tissue")
