"""Nuclei of a picture, by colour and by a network of one's own: the file, and mistakes."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from axilla.core.errors import SlideError, StatisticsError, StoreError, WeightsError
from axilla.core.types import MicronsPerPixel
from axilla.nuclei.agreement import compare_instances
from axilla.nuclei.classical import ClassicalSegmenter
from axilla.nuclei.learned import LearnedSegmenter, write_network
from axilla.nuclei.network import NucleusNet
from axilla.nuclei.reading import read_nuclei
from axilla.nuclei.segmentation import TYPICAL_RADIUS_PX, ToolSegmenter, segment_pixels
from axilla.study import nuclei_segmenting
from axilla.study.nuclei_segmenting import Way, image_segmenter, segment_file
from axilla.wsi.slides import open_slide

COLOUR = Way(classical=True)
SHAPE = (300, 380)
STAINS = np.array([[0.62, 0.70, 0.35], [0.15, 0.92, 0.36]])


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Discs of 10 pixels' radius."""
    instances = np.zeros(SHAPE, np.int32)
    places = product(range(30, SHAPE[0] - 20, 48), range(30, SHAPE[1] - 20, 48))
    for number, (y, x) in enumerate(places, start=1):
        cv2.circle(instances, (x, y), 10, number, -1)
    return instances


@pytest.fixture(scope="module")
def picture(truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in haematoxylin on eosin, without a scale."""
    rng = np.random.default_rng(2)
    coarse = cv2.resize(rng.random((20, 25)), SHAPE[::-1], interpolation=cv2.INTER_LINEAR)
    amounts = np.stack([1.1 * (truth > 0), 0.25 + 0.4 * coarse * (truth == 0)], axis=2)
    light = 255 * np.exp(-(amounts @ STAINS)) + rng.normal(0, 1.5, (*SHAPE, 3))
    path = tmp_path_factory.mktemp("nuclei") / "tile.png"
    Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small network that has learned nothing and calls everything nuclear."""
    torch.manual_seed(0)
    network = NucleusNet((4, 8)).eval()
    with torch.no_grad():
        network.out.bias.copy_(torch.tensor([20.0, 0.0]))
    path: Path = tmp_path_factory.mktemp("own") / "own.safetensors"
    write_network(path, network, record={})
    return path


@pytest.mark.parametrize(
    ("mpp", "zoom"),
    [(None, TYPICAL_RADIUS_PX / 10), (0.4, 1.0), (0.36, 0.9)],
    ids=["unknown", "exact", "smaller"],
)
def test_by_colour(
    picture: Path, truth: np.ndarray, tmp_path: Path, mpp: float | None, zoom: float
) -> None:
    out = tmp_path / "new" / "nuclei.npz"
    scale = None if mpp is None else MicronsPerPixel(mpp)
    found = segment_file(picture, out, mpp=scale, way=COLOUR)
    assert found.mpp == mpp
    assert found.zoom == pytest.approx(zoom, rel=0.1 if mpp is None else 1e-6)
    with np.load(out, allow_pickle=False) as archive:
        assert archive.files == ["inst_map"]
        written = archive["inst_map"]
    assert (written.dtype, written.shape) == (np.int32, SHAPE)
    agreement = compare_instances(truth, written, radius_px=2)
    assert agreement.truths == agreement.found == agreement.hits == found.count
    assert agreement.aji > 0.85
    # What is written is what `axilla nuclei measure` reads.
    np.testing.assert_array_equal(read_nuclei(out, shape=SHAPE), written)


def test_outlines_are_those_of_the_map_part_by_part(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axilla.nuclei.segmentation.PART_PX", 150)
    scale = MicronsPerPixel(0.4)
    mapped = segment_file(picture, tmp_path / "a.npz", mpp=scale, way=COLOUR)
    # Of any size: no map of the whole is held.
    monkeypatch.setattr(nuclei_segmenting, "MAX_PX", 100)
    drawn = segment_file(picture, tmp_path / "a.geojson", mpp=scale, way=COLOUR)
    assert drawn.count == mapped.count
    instances = read_nuclei(tmp_path / "a.npz", shape=SHAPE)
    agreed = compare_instances(instances, read_nuclei(tmp_path / "a.geojson", shape=SHAPE))
    assert agreed.hits == agreed.truths == agreed.found == mapped.count
    assert agreed.aji > 0.99
    first = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["features"][0]
    assert first["properties"]["objectType"] == "detection"
    area_um2 = first["properties"]["measurements"]["Area µm²"]
    assert area_um2 == pytest.approx((instances == 1).sum() * 0.4**2, rel=1e-4)


def test_a_tool_finds_them_with_its_weights(
    picture: Path, truth: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*args: object, **settings: object) -> ToolSegmenter:
        assert args == ("cellpose", picture)
        assert settings["mpp"] == 0.8
        return ToolSegmenter(
            lambda p: ndimage.label(p[..., 0] < 160)[0],
            mpp=0.8,
            scale=settings["scale"],  # type: ignore[arg-type]
        )

    monkeypatch.setattr("axilla.nuclei.tools.open_tool", opened)
    way = Way(tool="cellpose", weights=picture, tool_mpp=0.8)
    segment_file(picture, tmp_path / "a.npz", mpp=MicronsPerPixel(0.4), way=way)
    agreed = compare_instances(truth, read_nuclei(tmp_path / "a.npz", shape=SHAPE))
    assert agreed.f1 > 0.95
    with pytest.raises(WeightsError, match=r"stardist has no weights\. Give a local file"):
        segment_file(picture, tmp_path / "b.npz", way=Way(tool="stardist"))


def test_by_a_network_of_one_s_own(picture: Path, own: Path, tmp_path: Path) -> None:
    out = tmp_path / "nuclei.npz"
    found = segment_file(picture, out, mpp=MicronsPerPixel(0.4), way=Way(weights=own))
    with open_slide(picture, slide_id="tile", patient_id="tile") as reader:
        segmenter = image_segmenter(reader, Way(weights=own))
        pixels = reader.read(0, 0, *reader.size)
    assert isinstance(segmenter, LearnedSegmenter)
    assert segmenter.network.widths == (4, 8)
    with np.load(out) as archive:
        instances = archive["inst_map"]
    assert instances.max() == found.count
    np.testing.assert_array_equal(instances, segment_pixels(pixels, segmenter))
    # Everything is nuclear, so that it is cut up but nothing is left out but slivers.
    assert (instances > 0).mean() > 0.9


def test_what_the_image_says_of_its_scale_counts_until_another_is_given(
    picture: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told.tif"
    # 20,000 pixels a cm are 0.5 µm per pixel.
    Image.open(picture).save(told, resolution=20_000.0, resolution_unit=3)
    out = tmp_path / "nuclei.npz"
    found = segment_file(told, out, way=COLOUR)
    assert (found.mpp, found.zoom) == (pytest.approx(0.5), pytest.approx(1.25))
    found = segment_file(told, out, mpp=MicronsPerPixel(0.4), way=COLOUR)
    assert (found.mpp, found.zoom) == (pytest.approx(0.4), pytest.approx(1.0))


@pytest.mark.parametrize("size", [(40, 50), (256, 256), (700, 300)])
def test_the_stain_is_told_from_all_over_an_image_of_any_size(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    height, width = size
    ramp = np.linspace(60, 250, width).astype(np.uint8)
    pixels = np.broadcast_to(ramp[None, :, None], (height, width, 3))
    path = tmp_path / "ramp.png"
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    with open_slide(path, slide_id="ramp", patient_id="ramp") as reader:
        sample = nuclei_segmenting._sample(reader)
        assert isinstance(image_segmenter(reader, Way(classical=True)), ClassicalSegmenter)
    assert (sample.ndim, sample.shape[1], sample.dtype) == (2, 3, np.uint8)
    assert sample.min() < 70
    assert sample.max() > 240


@pytest.mark.parametrize("name", ["nuclei.npy", "nuclei", "nuclei.npz.gz"])
def test_another_name_is_no_map(picture: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        StoreError, match=r"is no name of an instance map. Name it .npz, or .geojson"
    ):
        segment_file(picture, tmp_path / name, way=COLOUR)
    assert list(tmp_path.iterdir()) == []


def test_a_large_image_is_to_be_cut(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "nuclei.npz"
    monkeypatch.setattr(nuclei_segmenting, "MAX_PX", SHAPE[0] * SHAPE[1])
    segment_file(picture, out, mpp=MicronsPerPixel(0.4), way=COLOUR)
    out.unlink()
    monkeypatch.setattr(nuclei_segmenting, "MAX_PX", SHAPE[0] * SHAPE[1] - 1)
    with pytest.raises(SlideError, match="has 114,000 pixels, an instance map at most 113,999"):
        segment_file(picture, out, way=COLOUR)
    assert not out.exists()


def test_what_does_not_open_is_a_sentence(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "nuclei.npz"
    with pytest.raises(SlideError, match="does not exist"):
        segment_file(tmp_path / "lost.png", out, way=COLOUR)
    with pytest.raises(WeightsError, match=r"does not open \(No such file"):
        segment_file(picture, out, way=Way(weights=tmp_path / "lost.safetensors"))
    with pytest.raises(WeightsError, match="holds no weights in safetensors"):
        segment_file(picture, out, way=Way(weights=picture))
    with pytest.raises(StatisticsError, match="0 µm per pixel is no scale"):
        segment_file(picture, out, mpp=MicronsPerPixel(0.0), way=COLOUR)
    assert not out.exists()
