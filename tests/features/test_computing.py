from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from axilla.core.config import Encoder
from axilla.core.errors import WeightsError
from axilla.features import computing as module
from axilla.features.computing import Computing, FrozenEncoder, choose_computing
from axilla.features.encoders import PatchEncoder, build_encoder


@pytest.fixture(scope="module")
def alexnet() -> PatchEncoder:
    torch.set_num_threads(1)
    return build_encoder(Encoder(name="alexnet", weights="none"), seed=3)


@pytest.fixture(scope="module")
def small() -> PatchEncoder:
    return build_encoder(Encoder(name="small_cnn", weights="none", trainable=True), seed=4)


def patches(n: int, *, size: int = 48) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, size, size, 3), np.uint8)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_are_those_by_definition(
    alexnet: PatchEncoder, backend: str, precision: str
) -> None:
    pixels = patches(19)
    exact = FrozenEncoder(alexnet, computing=Computing()).encode(pixels)
    frozen = FrozenEncoder(alexnet, computing=Computing(precision, backend))
    found = frozen.encode(pixels)
    assert (found.dtype, found.shape) == (np.float16, (19, 9216))
    assert cosine(found, exact) >= (0.9999 if precision == "bfloat16" else 0.9999999)
    np.testing.assert_array_equal(frozen.encode(pixels), found)
    # A patch's features do not depend on its companions.
    assert cosine(frozen.encode(pixels[:1]), found[:1]) >= 0.99999


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_float32_weights_are_let_go_once_they_are_converted(backend: str) -> None:
    encoder = build_encoder(Encoder(name="alexnet", weights="none"))
    weights = weakref.ref(encoder.body)
    frozen = FrozenEncoder(encoder, computing=Computing("bfloat16", backend))
    del encoder
    found = frozen.encode(patches(2))
    gc.collect()
    assert weights() is None
    np.testing.assert_array_equal(frozen.encode(patches(2)), found)
    assert (frozen.name, frozen.features, frozen.weights_digest) == ("alexnet", 9216, "none-0")


def test_the_setting_on_machines_of_both_kinds(
    alexnet: PatchEncoder, small: PatchEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hardware, auto in (({"avx512_bf16": True}, "bfloat16"), ({"avx2": True}, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda given=hardware: given)
        assert choose_computing("auto", encoder=alexnet) == Computing(auto, "openvino")
        assert choose_computing("float32", encoder=alexnet) == Computing("float32", "openvino")
        assert choose_computing("bfloat16", encoder=alexnet) == Computing("bfloat16", "openvino")
        # Its input is as large as the patches are cut, and OpenVINO wants to know the size.
        assert choose_computing("auto", encoder=small) == Computing(auto, "torch")
        assert choose_computing("auto", encoder=alexnet, device="cuda") == Computing()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_computing("float32", encoder=alexnet) == Computing("float32", "torch")


def test_batch_norm_is_folded_without_touching_the_encoder() -> None:
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    with torch.no_grad():
        body[1].running_mean += 0.3
        body[1].running_var *= 2
    x = torch.rand(2, 3, 9, 9)
    folded = module._Bfloat16Body(body)
    assert [type(layer).__name__ for layer in folded.body] == [
        "Conv2d", "Identity", "ReLU", "BatchNorm2d",
    ]  # fmt: skip
    assert isinstance(body[1], nn.BatchNorm2d)
    torch.testing.assert_close(folded(x).float(), body(x), atol=0.02, rtol=0.02)


def test_weights_that_bfloat16_changes_are_refused(small: PatchEncoder) -> None:
    network = build_encoder(Encoder(name="small_cnn", weights="none", trainable=True), seed=4)
    with torch.no_grad():
        # A large constant that the last layer takes away again: bfloat16 keeps 8 bits of it.
        first, last = network.body.linears[0], network.body.linears[3]
        first.bias += 1e4
        last.bias -= last.weight.sum(1) * 1e4
    frozen = FrozenEncoder(network, computing=Computing("bfloat16", "torch"))
    with pytest.raises(WeightsError, match=r"others in bfloat16 .*encoder\.precision: float32"):
        frozen.encode(patches(4, size=32))
    exact = FrozenEncoder(network, computing=Computing()).encode(patches(4, size=32))
    assert exact.any()
    auto = FrozenEncoder(network, computing=Computing("bfloat16"), falls_back=True)
    assert auto.may_fall_back
    np.testing.assert_array_equal(auto.encode(patches(4, size=32)), exact)
    assert auto.computing == Computing("float32", "torch")
    assert not auto.may_fall_back


def test_openvino_is_imported_without_its_telemetry() -> None:
    code = (
        "from axilla.features.openvino_backend import _import_openvino as go; import sys; go();"
        "from openvino.tools.ovc import telemetry_utils as t;"
        "print(t.tm.__name__, [m for m in sys.modules if m.startswith('openvino_telemetry.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "[]"]


def test_features_are_those_of_evaluation_mode(small: PatchEncoder) -> None:
    small.train()  # dropout would make every call another
    pixels = patches(5, size=32)
    found = FrozenEncoder(small, computing=Computing()).encode(pixels)
    assert not small.training
    with torch.inference_mode():
        expected = small(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert (found.dtype, found.shape) == (np.float16, (5, 512))
    np.testing.assert_array_equal(found, expected.numpy().astype(np.float16))


def test_batches_do_not_matter(small: PatchEncoder) -> None:
    pixels, frozen = patches(7, size=32), FrozenEncoder(small, computing=Computing())
    split = [frozen.encode(part) for part in (pixels[:1], pixels[1:4], pixels[4:])]
    together = frozen.encode(pixels).astype(np.float32)
    # Sums in another order: the last place of a float16 may differ.
    np.testing.assert_allclose(
        np.concatenate(split).astype(np.float32), together, rtol=2**-10, atol=1e-3
    )


def test_features_that_are_no_numbers_are_refused() -> None:
    encoder = build_encoder(Encoder(name="small_cnn", weights="none", trainable=True))
    with torch.no_grad():
        encoder.body.convolutions[0].bias[0] = 1e38
    with pytest.raises(WeightsError, match="small_cnn gives features that are no numbers"):
        FrozenEncoder(encoder, computing=Computing()).encode(patches(2, size=32))
