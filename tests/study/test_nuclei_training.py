"""Weights from outlines and from clicks: the same again, and a record of what they come from."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from axilla.cohorts.synthetic_config import SyntheticConfig
from axilla.core import store
from axilla.core.errors import AnnotationError, StoreError
from axilla.core.progress import Silent
from axilla.nuclei.augmentation import OutlinedImage
from axilla.nuclei.learned import read_network
from axilla.nuclei.network import WIDTHS, NucleusNet
from axilla.nuclei.training import NucleusTraining
from axilla.study import nuclei_training
from axilla.study.nuclei_training import fit_nuclei, train_nuclei

SHORT = NucleusTraining(steps=2, batch=2, side_px=64, seed=5)
PLACES = list(product(range(20, 150, 32), range(20, 180, 32)))
"""25 nuclei, y and x."""


def draw(folder: Path, name: str, *, seed: int) -> Path:
    """A picture of discs, with its instance map and a click in each."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = rng.normal((228, 180, 210), 6, (170, 190, 3))
    instances = np.zeros(pixels.shape[:2], np.int32)
    for number, (y, x) in enumerate(PLACES, start=1):
        cv2.circle(instances, (x, y), int(rng.integers(7, 11)), number, -1)
    pixels[instances > 0] = (90, 60, 140)
    image = folder / f"{name}.png"
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(image)
    np.savez_compressed(image.with_suffix(".npz"), inst_map=instances)
    clicks = {"type": "MultiPoint", "coordinates": [[x, y] for y, x in PLACES]}
    image.with_suffix(".geojson").write_text(
        json.dumps([{"type": "Feature", "geometry": clicks}]), encoding="utf-8"
    )
    return image


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """A folder of two pictures."""
    for seed, name in enumerate(("one", "two")):
        draw(tmp_path / "tiles", name, seed=seed)
    return tmp_path / "tiles"


def train(material: list[Path], out: Path, **settings: Any) -> int:
    settings = {"config": SHORT, "generated": 0, "terms": "CC0 1.0"} | settings
    return train_nuclei(material, out, reporter=Silent(), **settings)


def record_of(out: Path) -> dict[str, Any]:
    text = out.with_suffix(".json").read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return record


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_record_says_what_the_weights_come_from(tiles: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.safetensors"
    assert train([tiles], out) == 50
    record = record_of(out)
    assert set(record["material"]) == {
        "tiles/one.png", "tiles/one.npz", "tiles/two.png", "tiles/two.npz",
    }  # fmt: skip
    for name, identity in record["material"].items():
        assert identity == store.file_identity(tmp_path / name, content=True)
        assert digest(tmp_path / name) in str(identity)
    assert len(record["material_sha256"]) == 64
    assert record["terms_of_the_material"] == "CC0 1.0"
    assert (record["outlined_nuclei"], record["generated_slides"]) == (50, 0)
    assert record["training"]["seed"] == 5
    assert record["training"]["steps"] == 2
    assert record["command"] == (
        "axilla nuclei train own.safetensors MATERIAL... --steps 2 --generated 0 --seed 5"
    )
    assert 0 < record["mean_loss_of_the_last_100_steps"] < 10
    # No path of the machine: neither the folder's, nor the user's.
    text = out.with_suffix(".json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text


def test_the_weights_open_and_are_the_same_again(tiles: Path, tmp_path: Path) -> None:
    first, again, other = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    train([tiles], first)
    train([tiles / "one.png", tiles / "two.png"], again)
    train([tiles], other, config=NucleusTraining(steps=2, batch=2, side_px=64, seed=6))
    assert read_network(first).widths == WIDTHS
    assert digest(first) == digest(again) != digest(other)
    assert record_of(first)["material_sha256"] == record_of(again)["material_sha256"]
    assert record_of(first)["training"] != record_of(other)["training"]


def test_other_material_has_another_digest(tiles: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.safetensors"
    train([tiles], out)
    before = record_of(out)["material_sha256"]
    draw(tiles, "two", seed=9)
    train([tiles], out)
    assert record_of(out)["material_sha256"] != before


def heard(monkeypatch: pytest.MonkeyPatch) -> list[OutlinedImage]:
    """Instead of training, what it would have been trained on."""
    given: list[OutlinedImage] = []

    def listens(sources: list[OutlinedImage], **settings: Any) -> NucleusNet:
        given[:] = sources
        settings["told"](1, 0.5)
        return settings.get("start") or NucleusNet((2, 3))

    monkeypatch.setattr(nuclei_training, "train_network", listens)
    return given


def test_folders_weigh_the_same_and_painted_slides_a_tenth(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "other", "three", seed=3)
    small = SyntheticConfig(width=420, height=320, patch=32)
    monkeypatch.setattr(nuclei_training, "GENERATED", small)
    given = heard(monkeypatch)
    train([tiles, tmp_path / "other"], tmp_path / "own.safetensors", generated=2)
    weights = [source.weight for source in given]
    assert weights == pytest.approx([0.225, 0.225, 0.45, 0.05, 0.05])
    painted = given[-1]
    assert painted.image.shape == (320, 420, 3)
    assert painted.instances.max() > 20
    assert (given[-2].instances != painted.instances).any()
    assert record_of(tmp_path / "own.safetensors")["generated_slides"] == 2
    train([tiles], tmp_path / "own.safetensors")
    assert [source.weight for source in given] == pytest.approx([0.5, 0.5])


def test_clicks_are_enough(tiles: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "own.safetensors", tmp_path / "again.safetensors"
    clicks = [(tiles / f"{name}.geojson", tiles / f"{name}.png") for name in ("one", "two")]
    config = NucleusTraining(steps=3, batch=2, side_px=64, seed=5)
    assert fit_nuclei(clicks, out, config=config, reporter=Silent()) == 50
    record = record_of(out)
    assert set(record["material"]) == {
        "tiles/one.png", "tiles/one.geojson", "tiles/two.png", "tiles/two.geojson",
    }  # fmt: skip
    assert digest(tiles / "two.geojson") in str(record["material"]["tiles/two.geojson"])
    assert record["points"] == 50
    assert record["training"]["seed"] == 5
    assert (
        record["command"] == "axilla nuclei fit POINTS... --out own.safetensors --steps 3 --seed 5"
    )
    assert str(tmp_path) not in out.with_suffix(".json").read_text(encoding="utf-8")
    network = read_network(out)
    assert network.widths == WIDTHS
    assert network.radius_px == record["median_radius_px"] > 0
    fit_nuclei(clicks, again, config=config, reporter=Silent())
    assert digest(out) == digest(again)


@pytest.mark.parametrize(("steps", "rounds"), [(1, [1]), (3, [2, 1]), (30, [20, 10]), (8, [6, 2])])
def test_the_last_third_learns_from_the_network_s_own_word(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, rounds: list[int]
) -> None:
    given = []

    def listens(sources: list[OutlinedImage], **settings: Any) -> NucleusNet:
        given.append((sources, settings["config"], settings.get("start")))
        settings["told"](1, 0.5)
        return NucleusNet((2, 3)).eval()

    monkeypatch.setattr(nuclei_training, "train_network", listens)
    config = NucleusTraining(steps=steps, seed=5, rate=0.01)
    clicks = [(tiles / "one.geojson", tiles / "one.png")]
    fit_nuclei(clicks, tmp_path / "own.safetensors", config=config, reporter=Silent())
    assert [config.steps for _, config, _ in given] == rounds
    assert [start is None for _, _, start in given] == [True, False][: len(rounds)]
    assert [config.seed for _, config, _ in given] == [5, 6][: len(rounds)]
    assert [config.rate for _, config, _ in given] == [0.01, 0.005][: len(rounds)]
    first = given[0][0][0]
    assert first.weight == 25
    assert {-1, 0, 25} <= set(np.unique(first.instances).tolist())


@pytest.mark.parametrize("name", ["own.json", "own", "own.pt"])
def test_another_name_is_no_weights(tiles: Path, tmp_path: Path, name: str) -> None:
    clicks = [(tiles / "one.geojson", tiles / "one.png")]
    with pytest.raises(StoreError, match=r"is no name of weights. Name it .safetensors"):
        train([tiles], tmp_path / name)
    with pytest.raises(StoreError, match=r"is no name of weights. Name it .safetensors"):
        fit_nuclei(clicks, tmp_path / name, config=SHORT, reporter=Silent())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiles"]


def test_material_that_is_none_is_a_sentence(tiles: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.safetensors"
    with pytest.raises(AnnotationError, match="has no outlined image"):
        train([tmp_path], out)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "small.png")
    clicks = [(tiles / "one.geojson", tmp_path / "small.png")]
    with pytest.raises(AnnotationError, match="points outside the image of 50 x 40"):
        fit_nuclei(clicks, out, config=SHORT, reporter=Silent())
    assert not out.exists()
