"""Weights written and read again, files that are none, and what the network says of odd sizes."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from axilla.core.errors import StoreError, WeightsError
from axilla.nuclei import learned
from axilla.nuclei.learned import SHIPPED, LearnedSegmenter, read_network, write_network
from axilla.nuclei.network import WIDTHS, NucleusNet, as_input

SMALL = (4, 8, 8, 8)
RECORD = {"command": "axilla nuclei train", "nuclei": 3}


def network_of(widths=SMALL, *, seed=0):
    """A network whose normalisation has seen something."""
    torch.manual_seed(seed)
    network = NucleusNet(widths)
    for _ in range(3):
        network(torch.rand(2, 3, 32, 32))
    return network.eval()


def pixels_of(shape, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "own.safetensors"
    write_network(path, network_of(), record=RECORD)
    return path


@pytest.mark.parametrize("widths", [SMALL, (4, 6), WIDTHS])
def test_weights_come_back_within_their_rounding(tmp_path, widths):
    network = network_of(widths)
    path = tmp_path / "own.safetensors"
    write_network(path, network, record=RECORD)
    found = read_network(path)
    assert found.widths == tuple(widths)
    assert not found.training
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(found.state_dict()[name], value.half().float())
    x = as_input(torch.from_numpy(pixels_of((40, 48))[None]))
    with torch.inference_mode():
        torch.testing.assert_close(found(x), network(x), atol=5e-3, rtol=5e-3)
    assert json.loads((tmp_path / "own.json").read_text(encoding="utf-8")) == RECORD
    assert {value.dtype for value in load(path.read_bytes()).values()} == {torch.float16}


def test_weights_that_cannot_be_written_are_a_sentence(tmp_path):
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be written"):
        write_network(tmp_path / "taken" / "own.safetensors", network_of(), record=RECORD)


def changed(path, **tensors):
    """The file with other tensors; None takes one out."""
    values = load(path.read_bytes()) | {n.replace("__", "."): v for n, v in tensors.items()}
    path.write_bytes(save({name: value for name, value in values.items() if value is not None}))


def no_channels(path):
    shapes = {"down.0.0.weight": (0, 3, 3, 3), "down.1.0.weight": (0, 0, 3, 3)}
    path.write_bytes(save({name: torch.zeros(shape) for name, shape in shapes.items()}))


MISTAKES = {
    "no network": (lambda p: p.write_text("notes", encoding="utf-8"), "no weights in safetensors"),
    "empty": (lambda p: p.write_bytes(b""), "no weights in safetensors"),
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "no weights in safetensors"),
    "other names": (lambda p: p.write_bytes(save({"a": torch.ones(3)})), "of another network"),
    "one level": (lambda p: changed(p, down__1__0__weight=None), "of another network"),
    "one missing": (lambda p: changed(p, out__bias=None), "of another network"),
    "one too many": (lambda p: changed(p, more=torch.ones(3)), "of another network"),
    "another shape": (lambda p: changed(p, out__bias=torch.ones(5)), "of another network"),
    "a flat kernel": (lambda p: changed(p, down__0__0__weight=torch.ones(4)), "of another network"),
    "no channels": (no_channels, "of another network"),
    "too wide": (
        lambda p: changed(p, down__3__0__weight=torch.zeros(1025, 8, 3, 3)), "of another network",
    ),
    "not a number": (lambda p: changed(p, out__bias=torch.tensor([1.0, torch.nan])), "not finite"),
    "infinite": (lambda p: changed(p, out__bias=torch.tensor([1.0, -torch.inf])), "not finite"),
    "missing": (lambda p: p.unlink(), r"does not open \(No such file or directory\)"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_files_that_are_no_weights_are_sentences(written, mistake):
    make, said = MISTAKES[mistake]
    make(written)
    with pytest.raises(WeightsError, match=said) as raised:
        read_network(written)
    assert raised.value.problem.file == written
    assert "Give a file that `axilla nuclei train`" in str(raised.value)


def test_a_folder_is_no_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"does not open \(Is a directory\)"):
        read_network(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "own.safetensors"
    write_network(path, NucleusNet(), record=RECORD)
    monkeypatch.setattr(learned, "MAX_BYTES", path.stat().st_size)
    read_network(path)
    monkeypatch.setattr(learned, "MAX_BYTES", 2 << 20)
    with path.open("ab") as file:
        file.truncate(3 << 20)
    with pytest.raises(WeightsError, match="is larger than 2 MB"):
        read_network(path)


@given(data=st.data())
def test_no_damage_gives_anything_but_a_network_or_our_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    write_network(path, network_of((2, 3)), record=RECORD)
    content = bytearray(path.read_bytes())
    # Most of a file is numbers; its header, where damage does harm, comes first.
    for at in data.draw(st.lists(st.integers(0, min(1500, len(content) - 1)), min_size=1)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        found = read_network(path)
    except WeightsError as error:
        found = error
    assert isinstance(found, WeightsError | NucleusNet)


@pytest.mark.parametrize("turns", [1, 4])
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 16), (33, 50)])
def test_odd_sizes_keep_their_shape(shape, turns):
    segmenter = LearnedSegmenter(network_of(), sizes=(1.0,), turns=turns)
    pixels = pixels_of(shape)
    nuclear, depth = segmenter(pixels)
    for plane in (nuclear, depth):
        assert (plane.shape, plane.dtype) == (shape, np.float32)
    assert 0 < nuclear.min() <= nuclear.max() < 1
    # As of the same image with its last row and column repeated, whichever way it is turned.
    padded = np.pad(pixels, ((0, -shape[0] % 8), (0, -shape[1] % 8), (0, 0)), mode="edge")
    seen = []
    for turn in range(turns):
        turned = torch.from_numpy(np.rot90(padded, turn).copy())[None]
        with torch.inference_mode():
            logit, distance = segmenter.network(as_input(turned))[0]
        seen.append([np.rot90(out, -turn) for out in (logit.sigmoid(), distance)])
    expected = np.mean(seen, axis=0)[:, : shape[0], : shape[1]]
    np.testing.assert_allclose(nuclear, expected[0], atol=1e-5)
    np.testing.assert_allclose(depth, cv2.GaussianBlur(expected[1], (0, 0), 1.0), atol=1e-5)


def test_a_turned_image_has_its_nuclei_turned():
    segmenter = LearnedSegmenter(network_of(), sizes=(1.0, 0.5), turns=4)
    pixels = pixels_of((32, 48))
    for plane, turned in zip(segmenter(pixels), segmenter(np.rot90(pixels).copy()), strict=True):
        np.testing.assert_allclose(turned, np.rot90(plane), atol=1e-5)


@pytest.mark.parametrize(("radius", "zoom"), [(None, None), (5.0, 2.0), (1.0, 4.0), (20.0, 0.5)])
def test_a_fitted_network_keeps_the_size_of_its_nuclei(tmp_path, radius, zoom):
    network = network_of()
    network.radius_px = radius
    write_network(tmp_path / "own.safetensors", network, record={})
    read = read_network(tmp_path / "own.safetensors")
    assert read.radius_px == radius
    assert LearnedSegmenter(read).own_zoom == zoom


def test_sizes_are_averaged():
    network, pixels = network_of(), pixels_of((32, 48))
    small = cv2.resize(pixels, (24, 16), interpolation=cv2.INTER_AREA)
    both = LearnedSegmenter(network, sizes=(1.0, 0.5))(pixels)[0]
    one = LearnedSegmenter(network, sizes=(1.0,))
    enlarged = cv2.resize(one(small)[0], (48, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(both, (one(pixels)[0] + enlarged) / 2, atol=1e-5)


def test_half_the_precision_says_nearly_the_same():
    pixels = pixels_of((40, 40))
    exact, rough = (
        LearnedSegmenter(network_of(), precision=kind)(pixels)
        for kind in (torch.float32, torch.bfloat16)
    )
    for one, two in zip(exact, rough, strict=True):
        assert two.dtype == np.float32
        assert 0 < np.abs(one - two).max() < 0.05


def test_the_shipped_weights_are_small_and_say_where_they_come_from():
    assert SHIPPED.stat().st_size <= 3_000_000
    assert read_network().widths == WIDTHS
    record = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["training"]["seed"] >= 0
    assert record["command"].startswith(f"axilla nuclei train {SHIPPED.name} ")
    assert f"--seed {record['training']['seed']}" in record["command"]
    assert record["terms_of_the_material"] != "not stated"
    assert record["outlined_nuclei"] > 0
    assert len(record["material_sha256"]) == 64
    # An image and its map each.
    assert len(record["material"]) % 2 == 0
    assert not [name for name in record["material"] if name.startswith("/")]
    # What the weights are judged by taught them nothing.
    assert not [name for name in record["material"] if "/test_" in name]
