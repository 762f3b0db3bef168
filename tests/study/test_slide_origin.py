"""Slides whose scanned part does not begin at their corner, and outlines that QuPath exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from axilla.core.types import Slide
from axilla.study import slide_checks
from axilla.study.slide_checks import cropped_by_qupath
from axilla.wsi.slides import scanned_origin


@pytest.mark.parametrize(
    ("suffix", "origin", "told"),
    [(".geojson", (0, 0), 0), (".geojson", (4096, 51200), 1), (".xml", (4096, 51200), 0)],
)
def test_an_outline_that_qupath_may_count_from_elsewhere_is_told(
    monkeypatch: pytest.MonkeyPatch, suffix: str, origin: tuple[int, int], told: int
) -> None:
    monkeypatch.setattr(slide_checks, "scanned_origin", lambda path: origin)
    image, annotation = Path("s.mrxs"), Path(f"s{suffix}")
    notes = cropped_by_qupath(Slide("s", "p", (image,), annotation), image)
    assert len(notes) == told
    for note in notes:
        assert "begins at x 4,096, y 51,200" in note.cause
        assert "--audit" in note.remedy
        assert (note.patient, note.file, note.fatal) == ("p", annotation, False)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["slides/cmu-1-small-region.svs", "bcnb/regions/351899_0.jpg"])
def test_most_slides_begin_at_their_corner(data_dir: Path, name: str) -> None:
    assert scanned_origin(data_dir / name) == (0, 0)
