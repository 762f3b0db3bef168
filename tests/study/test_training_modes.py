"""The paper's five encoders: their shapes, and both ways of training with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from axilla.core.config import Aggregator, Bags, Encoder, StudyConfig, Training
from axilla.core.config_encoder import parse_encoder_name
from axilla.core.progress import Silent
from axilla.core.types import Cohort
from axilla.features.computing import Computing, FrozenEncoder
from axilla.features.encoders import PatchEncoder, build_encoder, encoder_to_fill
from axilla.features.weights import state_digest
from axilla.mil.batches import PatientInstances
from axilla.mil.model import DLCNB
from axilla.mil.training import TrainingData, train
from axilla.study import embedding
from axilla.study.tiling import Tiles

MAPS = {
    "vgg16_bn": (512, 7, 7), "alexnet": (256, 6, 6), "densenet121": (1024, 7, 7),
    "resnet50": (2048,), "inception_v3": (2048,),
}  # fmt: skip
"""What the original's encoders give of a patch of 224 px, before it is made one row."""
SIDES = {"vgg16_bn": 32, "alexnet": 64, "densenet121": 32, "resnet50": 32, "inception_v3": 96}
"""Small, for quick steps."""
FIRST = {
    "vgg16_bn": "0.0", "alexnet": "0.0", "densenet121": "0.conv0", "resnet50": "conv1",
    "inception_v3": "Conv2d_1a_3x3.conv",
}  # fmt: skip


def drawn(name: str, *, original: bool = False) -> PatchEncoder:
    """An encoder for small patches with drawn weights, without its large classifier."""
    encoder = encoder_to_fill(
        Encoder(name=name, weights="none", input_px=SIDES[name], original=original)
    )
    torch.manual_seed(4)
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.reset_parameters()
    return encoder


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("name", MAPS)
def test_maps_have_the_shapes_of_the_original(name: str, original: bool) -> None:
    config = Encoder(name=name, weights="none", original=original)
    encoder = encoder_to_fill(config, device="meta")
    maps = encoder.body(torch.empty(2, 3, 224, 224, device="meta"))
    assert maps.flatten(1).shape == (2, encoder.features)
    assert encoder.features == int(np.prod(MAPS[name]))
    assert tuple(s for s in maps.shape[1:] if s > 1) == MAPS[name]


@pytest.mark.parametrize(
    ("name", "original", "side"),
    [(name, original, 299 if name == "inception_v3" and not original else 224)
     for name in MAPS for original in (False, True)],
)  # fmt: skip
def test_only_under_original_is_inception_fed_224_px(name: str, original: bool, side: int) -> None:
    config = Encoder(name=name, weights="none", original=original)
    assert encoder_to_fill(config, device="meta").input_px == side
    smaller = config.model_copy(update={"input_px": 128})
    assert encoder_to_fill(smaller, device="meta").input_px == 128


def test_only_under_original_does_densenet_lose_its_last_relu() -> None:
    rng = np.random.default_rng(0)
    patches = torch.from_numpy(rng.integers(0, 256, (2, 3, 32, 32), np.uint8))
    with torch.inference_mode():
        ours, theirs = (
            drawn("densenet121", original=original).eval()(patches) for original in (False, True)
        )
    assert ours.min() == 0
    assert theirs.min() < 0
    torch.testing.assert_close(theirs.clamp(min=0), ours)


def test_original_is_for_the_papers_encoders() -> None:
    with pytest.raises(ValueError, match=r"encoder\.original is for the encoders of the paper"):
        Encoder(name="small_cnn", weights="none", original=True)
    assert parse_encoder_name("small_cnn") == "small_cnn"
    assert Encoder().original is False


def test_an_encoder_to_fill_is_the_encoder_that_is_built() -> None:
    config = Encoder(name="small_cnn", weights="none", trainable=True)
    built, filled = build_encoder(config, seed=3), encoder_to_fill(config)
    filled.load_state_dict(built.state_dict())
    patches = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)
    assert torch.equal(filled.eval()(patches), built.eval()(patches))


def twos(n: int, rng: np.random.Generator) -> Sequence[NDArray[np.int64]]:
    return list(rng.permutation(n)[: n // 2 * 2].reshape(-1, 2))


def cohort(side: int) -> tuple[list[PatientInstances], dict[str, NDArray[np.uint8]]]:
    """Two patients, of whom the second's patches are dark."""
    rng = np.random.default_rng(0)
    slides = {
        f"s{label}": rng.integers(0, 250 - 150 * label, (4, side, side, 3), np.uint8)
        for label in (0, 1)
    }
    return [PatientInstances(f"p{i}", i, (f"s{i}",), None) for i in (0, 1)], slides


def fitted(
    encoder: PatchEncoder | None, features: int, slides: dict[str, NDArray[np.generic]]
) -> DLCNB:
    patients, _ = cohort(8)

    def make() -> DLCNB:
        return DLCNB(
            encoder=encoder, features=features, clinical=0, classes=2,
            config=Aggregator(width=16, attention=8),
        )  # fmt: skip

    network, _ = train(
        make, TrainingData(patients, [], slides, twos, 2),
        config=Training(epochs=1, restarts=None), bags=Bags(size=2), seed=1,
    )  # fmt: skip
    return network


def first_weight(encoder: PatchEncoder, name: str) -> torch.Tensor:
    weight = encoder.body.get_submodule(FIRST[name]).weight
    assert isinstance(weight, torch.Tensor)
    return weight


@pytest.mark.parametrize("name", MAPS)
def test_end_to_end_the_first_layer_learns(name: str) -> None:
    encoder = drawn(name)
    weight = first_weight(encoder, name)
    before = weight.detach().clone()
    _, slides = cohort(SIDES[name])
    network = fitted(encoder, encoder.features, slides)
    after = first_weight(network.encoder, name)
    assert not torch.equal(after, before)
    # Weight decay alone moves weights too: the gradient itself must get there.
    network.train().zero_grad(set_to_none=True)
    patches = torch.from_numpy(slides["s0"]).permute(0, 3, 1, 2)
    network(patches, [2, 2]).logits[:, 0].sum().backward()
    assert after.grad is not None
    assert after.grad.isfinite().all()
    assert float(after.grad.abs().max()) > 0


@pytest.mark.parametrize("name", MAPS)
def test_frozen_the_encoder_stays_as_it_was(name: str) -> None:
    encoder = drawn(name).train()
    before = state_digest(encoder.state_dict())
    _, slides = cohort(SIDES[name])
    frozen = FrozenEncoder(encoder, computing=Computing())
    features = {slide: frozen.encode(pixels) for slide, pixels in slides.items()}
    assert features["s0"].shape == (4, encoder.features)
    network = fitted(None, encoder.features, features)
    assert network.encoder is None
    assert not any(name.startswith("encoder") for name in network.state_dict())
    assert state_digest(encoder.state_dict()) == before, "weights and running statistics"
    assert all(p.grad is None for p in encoder.parameters())


def test_features_of_the_originals_encoder_have_another_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedding, "build_encoder", lambda config, seed: encoder_to_fill(config))
    nobody = Cohort(("N0", "N(+)"), (), (), 0, pd.DataFrame())
    tiles = Tiles(cohort=nobody, grids={}, keys={"s": "grid"})

    def key(**encoder: object) -> str:
        config = StudyConfig.model_validate(
            {"cohort": "c.csv", "slides": "s", "endpoint": "n0-vs-npos", "out": tmp_path,
             "encoder": {"name": "densenet121", "weights": "none", **encoder}}
        )  # fmt: skip
        return embedding.embed_slides(tiles, config=config, reporter=Silent())["s"]

    assert key() == key(original=False) != key(original=True)
