"""The commands about nuclei as their users meet them: exit codes, sentences, files."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from axilla.cli import main
from axilla.nuclei.learned import read_network, write_network
from axilla.nuclei.network import NucleusNet
from axilla.nuclei.segmentation import TYPICAL_RADIUS_PX
from axilla.nuclei.training import NucleusTraining

PLACES = list(product(range(24, 150, 36), range(24, 250, 36)))
"""28 nuclei, y and x."""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Axilla = Callable[..., Answer]


@pytest.fixture
def axilla(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Axilla:
    """Run `axilla nuclei ...` in this process."""

    def call(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["axilla", "nuclei", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training as it is, of fewer and smaller samples."""
    settings = functools.partial(NucleusTraining, batch=2, side_px=64)
    monkeypatch.setattr("axilla.nuclei.training.NucleusTraining", settings)


@pytest.fixture
def tile(tmp_path: Path) -> Path:
    """A picture of violet discs on pink, its instance map and its clicks beside it."""
    rng = np.random.default_rng(4)
    pixels = rng.normal((228, 180, 210), 5, (170, 280, 3))
    instances = np.zeros(pixels.shape[:2], np.int32)
    for number, (y, x) in enumerate(PLACES, start=1):
        cv2.circle(instances, (x, y), 10, number, -1)
    pixels[instances > 0] = (90, 60, 140)
    image = tmp_path / "tiles" / "tile.png"
    image.parent.mkdir()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(image)
    np.savez_compressed(image.with_suffix(".npz"), inst_map=instances)
    clicks = {"type": "MultiPoint", "coordinates": [[x, y] for y, x in PLACES]}
    features = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": clicks}]}
    image.with_suffix(".geojson").write_text(json.dumps(features), encoding="utf-8")
    return image


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tiles as the one that the user stands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_one_line(text: str) -> str:
    """What is said, whatever the width of the terminal and the frame around it."""
    return " ".join(text.replace("│", " ").split())


def test_the_verbs_are_told(axilla: Axilla) -> None:
    said = axilla("--help")
    assert said.code == 0
    for verb in ("segment", "train", "fit", "measure"):
        assert f" {verb} " in said.out


def test_segment_and_measure(axilla: Axilla, tile: Path, tmp_path: Path) -> None:
    found, table = tmp_path / "found.npz", tmp_path / "found.csv"
    said = axilla("segment", tile, found, "--classical", "--mpp", "0.4")
    assert said == Answer(0, f"{found}: 28 nuclei\n", "")
    with np.load(found) as archive:
        assert archive["inst_map"].shape == (170, 280)
        assert archive["inst_map"].max() == 28
    assert axilla("measure", found, tile, table, "--mpp", "0.4").code == 0
    measured = pd.read_csv(table)
    assert sorted(zip(measured["y"].round(-1), measured["x"].round(-1), strict=True)) == sorted(
        (float(np.round(y, -1)), float(np.round(x, -1))) for y, x in PLACES
    )
    # 10 pixels' radius, at 0.4 µm.
    assert measured["major_axis"].mean() == pytest.approx(8, rel=0.1)


def test_segment_says_where_it_guessed_the_scale(
    axilla: Axilla, tile: Path, tmp_path: Path
) -> None:
    said = axilla("segment", tile, tmp_path / "found.npz", "--classical")
    assert said.code == 0
    first, note = said.out.split("\n", 1)
    assert first.endswith("found.npz: 28 nuclei")
    told = in_one_line(note)
    assert told.startswith("Note: µm per pixel is not known")
    enlarged = re.search(r"enlarged ([\d.]+) times", told)
    assert enlarged is not None
    # The discs have a radius of 10 pixels.
    assert float(enlarged[1]) == pytest.approx(TYPICAL_RADIUS_PX / 10, rel=0.1)
    assert told.endswith("Give --mpp where you know it.")


def test_segment_by_own_weights(axilla: Axilla, tile: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NucleusNet((4, 8)).eval()
    with torch.no_grad():
        network.out.bias.copy_(torch.tensor([-20.0, 0.0]))
    own = tmp_path / "own.safetensors"
    write_network(own, network, record={})
    found = tmp_path / "found.npz"
    said = axilla("segment", tile, found, "--mpp", "0.4", "--weights", own)
    assert said == Answer(0, f"{found}: 0 nuclei\n", "")
    with np.load(found) as archive:
        assert archive["inst_map"].max() == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("found.png",), ("is no name of an instance map", "Name it .npz")),
        (("found.npz", "--mpp", 0), ("0 µm per pixel is no scale", "Give a number above 0")),
        (("found.npz", "--mpp", "nan"), ("nan µm per pixel is no scale", "Give a number")),
        (("found.npz", "--mpp", 9), ("at 9 µm per pixel nuclei are not seen", "at most 1.6 µm")),
        (("found.npz", "--mpp", "wide"), ("--mpp",)),
        (("found.npz", "--sharp"), ("--sharp",)),
        (("found.npz", "--tool", "cellpose"), ("--tool", "goes without --classical")),
        (("found.npz", "--tool", "hovernet"), ("--tool", "cellpose", "stardist")),
        (("found.npz", "--tool-mpp", 0.5), ("--tool-mpp", "goes with --tool")),
    ],
)
def test_segment_refuses_in_sentences(
    axilla: Axilla, tile: Path, in_folder: Path, settings: tuple[object, ...], told: tuple[str, ...]
) -> None:
    said = axilla("segment", tile, *settings, "--classical")
    assert (said.code, said.out) == (2, "")
    assert all(part in in_one_line(said.err) for part in told), said.err
    assert not list(in_folder.glob("found.*"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("lost.png",), ("lost.png", "does not exist")),
        (
            ("tiles/tile.png", "--weights", "tiles/tile.npz"),
            ("holds no weights in safetensors", "Give a file that `axilla nuclei train`"),
        ),
        (("tiles/tile.png", "--weights", "lost"), ("does not open (No such file or directory)",)),
        (("tiles/tile.png", "--tool", "stardist"), ("stardist has no weights", "--weights")),
    ],
)
def test_segment_refuses_files_that_are_none(
    axilla: Axilla, tile: Path, in_folder: Path, settings: tuple[str, ...], told: tuple[str, ...]
) -> None:
    image, *others = settings
    said = axilla("segment", image, "found.npz", *others)
    assert (said.code, said.out) == (2, "")
    assert all(part in in_one_line(said.err) for part in told), said.err
    assert not list(in_folder.glob("found.*"))


@pytest.mark.usefixtures("small_batches")
def test_train(axilla: Axilla, tile: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.safetensors"
    said = axilla(
        "train", out, tile.parent, "--steps", 2, "--generated", 0, "--seed", 7, "--terms", "CC0",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert f"{out}: learned from 28 outlined nuclei and 0 generated slides" in said.out
    record = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["terms_of_the_material"] == "CC0"
    assert (record["training"]["steps"], record["training"]["seed"]) == (2, 7)
    assert set(record["material"]) == {"tiles/tile.png", "tiles/tile.npz"}
    read_network(out)
    # And they segment.
    found = tmp_path / "found.npz"
    assert axilla("segment", tile, found, "--mpp", "0.4", "--weights", out).code == 0
    assert found.is_file()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("apart", [False, True], ids=["beside", "apart"])
def test_fit(axilla: Axilla, tile: Path, tmp_path: Path, apart: bool) -> None:
    points, settings = tile.with_suffix(".geojson"), []
    if apart:
        points = points.rename(tmp_path / "clicks.geojson")
        settings = ["--image", tile]
    out = tmp_path / "own.safetensors"
    said = axilla("fit", points, "--out", out, "--steps", 3, *settings)
    assert said.code == 0, said.err
    assert f"{out}: learned from 28 points" in said.out
    record = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["points"] == 28
    assert set(record["material"]) == {f"{points.parent.name}/{points.name}", "tiles/tile.png"}
    read_network(out)


def test_one_image_is_not_for_two_files_of_points(
    axilla: Axilla, tile: Path, tmp_path: Path
) -> None:
    points, out = tile.with_suffix(".geojson"), tmp_path / "own.safetensors"
    said = axilla("fit", points, points, "--image", tile, "--out", out)
    assert (said.code, said.out) == (2, "")
    assert "--image" in said.err
    assert "goes with one file of points" in in_one_line(said.err)
    assert not out.exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("train", "own.pt", "tiles"), ("is no name of weights", "Name it .safetensors")),
        (
            ("train", "own.safetensors", "empty"),
            ("has no outlined image", "Lay <name>.npz (with inst_map) beside each <name>.png"),
        ),
        (("train", "own.safetensors"), ("MATERIAL",)),
        (("train", "own.safetensors", "tiles", "--steps", 0), ("--steps", "1")),
        (("fit", "tiles/tile.geojson", "--out", "own.pt"), ("is no name of weights",)),
        (("fit", "lone.geojson"), ("has no image beside it", "name it by --image")),
        (
            ("fit", "lone.geojson", "--image", "tiles/tile.png"),
            ("has 1 point", "Click 3 nuclei or more"),
        ),
        (("fit", "tiles/tile.npz", "--image", "tiles/tile.png"), ("is no JSON",)),
        (("fit", "tiles/tile.geojson", "--steps", 2), ("--steps", "3")),
    ],
)
def test_learning_refuses_in_sentences(
    axilla: Axilla, tile: Path, in_folder: Path, args: tuple[object, ...], told: tuple[str, ...]
) -> None:
    (in_folder / "empty").mkdir()
    lone = [{"type": "Point", "coordinates": [5, 5]}]
    (in_folder / "lone.geojson").write_text(json.dumps(lone), encoding="utf-8")
    said = axilla(*args)
    assert (said.code, said.out) == (2, "")
    assert all(part in in_one_line(said.err) for part in told), said.err
    assert not list(in_folder.glob("*.safetensors"))
