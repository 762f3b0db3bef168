"""Nuclei of an image through the command: what the table holds, and mistakes as sentences."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import shape

from axilla.cli import main
from axilla.core.types import MicronsPerPixel
from axilla.study.nuclei_measuring import measure_image


@pytest.fixture
def two_nuclei(tmp_path: Path) -> tuple[Path, Path]:
    """An image without a scale, and the outlines of two nuclei in it."""
    image = tmp_path / "tile.png"
    cv2.imwrite(str(image), np.full((100, 120, 3), 230, np.uint8))
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    np.column_stack([x + 16 * np.cos(turn), 50 + 10 * np.sin(turn)]).tolist()
                ],
            },
        }
        for x in (30, 85)
    ]
    outlines = tmp_path / "nuclei.geojson"
    outlines.write_text(json.dumps(features), encoding="utf-8")
    return image, outlines


def call(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    monkeypatch.setattr(sys, "argv", ["axilla", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_row_a_nucleus_in_microns(
    two_nuclei: tuple[Path, Path], tmp_path: Path, suffix: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image, outlines = two_nuclei
    out = tmp_path / f"table.{suffix}"
    assert call(monkeypatch, "nuclei", "measure", outlines, image, out, "--mpp", 0.25) == 0
    assert "2 nuclei" in capsys.readouterr().out
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert table["x"].tolist() == pytest.approx([30, 85], abs=0.5)
    assert table["major_axis"].tolist() == pytest.approx([8, 8], rel=0.05)
    assert table["density"][0] == pytest.approx(2 / (0.1 * 0.12 * 0.25**2))


def test_for_qupath_each_nucleus_has_its_measures(
    two_nuclei: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image, outlines = two_nuclei
    out = tmp_path / "measured.geojson"
    assert call(monkeypatch, "nuclei", "measure", outlines, image, out, "--mpp", 0.25) == 0
    assert "2 nuclei" in capsys.readouterr().out
    table = measure_image(outlines, image, tmp_path / "table.csv", mpp=MicronsPerPixel(0.25)).table
    features = json.loads(out.read_text(encoding="utf-8"))["features"]
    for feature, row in zip(features, table.to_dict("records"), strict=True):
        ring = shape(feature["geometry"])
        assert ring.is_valid
        # Centres of the table are counted from the middle of the first pixel.
        assert (ring.centroid.x, ring.centroid.y) == pytest.approx(
            (row["x"] + 0.5, row["y"] + 0.5), abs=0.1
        )
        assert ring.area * 0.25**2 == pytest.approx(row["area"], rel=0.02)
        told = feature["properties"]["measurements"]
        assert told["Area µm²"] == pytest.approx(row["area"], rel=1e-4)
        assert told["Major axis µm"] == pytest.approx(row["major_axis"], rel=1e-4)
        assert told["Circularity"] == pytest.approx(row["circularity"], rel=1e-4)
        assert set(told) == {
            "Area µm²", "Major axis µm", "Minor axis µm", "Circumference µm", "Circularity",
            "Rectangularity", "Orientation °",
        }  # fmt: skip
    # Two are too few to have neighbours, and what is missing is not told.
    assert table["polarity"].isna().all()


@pytest.mark.parametrize("suffix", ["csv", "geojson"])
def test_a_map_may_number_nuclei_as_it_likes(tmp_path: Path, suffix: str) -> None:
    image, nuclei, out = tmp_path / "a.png", tmp_path / "a.npz", tmp_path / f"out.{suffix}"
    cv2.imwrite(str(image), np.full((60, 200, 3), 230, np.uint8))
    instances = np.zeros((60, 200), np.int32)
    for number, x in enumerate(range(10, 190, 18)):
        instances[20:30, x : x + 14] = 2**31 - 1 - number
    np.savez(nuclei, inst_map=instances)
    table = measure_image(nuclei, image, out).table
    assert table["nucleus"].tolist() == [2**31 - 1 - number for number in range(9, -1, -1)]
    # All lie level.
    assert table["polarity"].tolist() == pytest.approx([1] * 10)
    if suffix == "geojson":
        features = json.loads(out.read_text(encoding="utf-8"))["features"]
        told = [one["properties"]["measurements"]["Common orientation"] for one in features]
        assert told == [1] * 10


def test_without_a_scale_lengths_are_pixels(two_nuclei: tuple[Path, Path], tmp_path: Path) -> None:
    image, outlines = two_nuclei
    measured = measure_image(outlines, image, tmp_path / "table.csv")
    assert measured.mpp is None
    assert measured.table["minor_axis"].tolist() == pytest.approx([20, 20], rel=0.06)


def test_mistakes_are_sentences(
    two_nuclei: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image, outlines = two_nuclei
    assert call(monkeypatch, "nuclei", "measure", outlines, image, tmp_path / "table.xls") == 2
    assert "Name it .parquet or .csv, or .geojson" in capsys.readouterr().err
    lost = tmp_path / "lost.npz"
    assert call(monkeypatch, "nuclei", "measure", lost, image, tmp_path / "table.csv") == 2
    said = capsys.readouterr().err
    assert "does not open (No such file or directory)" in said
    assert str(lost) in said
    assert not (tmp_path / "table.csv").exists()
