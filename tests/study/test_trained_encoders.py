from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from axilla.core.config import Aggregator, Encoder
from axilla.core.errors import WeightsError
from axilla.features import computing
from axilla.features.encoders import build_encoder
from axilla.mil.encoding import own_encoding
from axilla.mil.model import DLCNB
from axilla.study import trained_encoders
from axilla.study.trained_encoders import encode_of


def network(name: str) -> DLCNB:
    encoder = build_encoder(Encoder(name=name, weights="none", trainable=True), seed=1)
    return DLCNB(
        encoder=encoder, features=encoder.features, clinical=0, classes=2, config=Aggregator()
    )


@pytest.fixture(scope="module")
def alexnet() -> DLCNB:
    return network("alexnet")


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_features_are_those_of_the_network_within_bfloat16(alexnet, patches, monkeypatch):
    monkeypatch.setattr(computing, "multiplies_bfloat16", lambda: True)
    exact = own_encoding(alexnet.encoder)(patches)
    found = encode_of(alexnet, config=Encoder(name="alexnet"))(patches).astype(np.float32)
    assert not np.array_equal(found, exact)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
    assert ((found * exact).sum(axis=1) / lengths).min() > computing.MIN_COSINE


def test_auto_falls_back_where_bfloat16_changes_features(alexnet, patches, monkeypatch):
    monkeypatch.setattr(computing, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(computing, "MIN_COSINE", 2.0)  # which none reaches
    monkeypatch.setattr(trained_encoders, "_READY", {})
    found = encode_of(alexnet, config=Encoder(name="alexnet", precision="auto"))(patches)
    exact = own_encoding(alexnet.encoder)(patches)
    np.testing.assert_allclose(found, exact, atol=2e-3)
    with pytest.raises(WeightsError, match="bfloat16"):
        encode_of(alexnet, config=Encoder(name="alexnet", precision="bfloat16"))(patches)


def test_a_network_is_made_ready_once_and_forgotten_with_it():
    config = Encoder(name="alexnet")
    own = network("alexnet")
    before = len(trained_encoders._READY)
    assert encode_of(own, config=config).__self__ is encode_of(own, config=config).__self__
    assert len(trained_encoders._READY) == before + 1
    del own
    gc.collect()
    assert len(trained_encoders._READY) == before


def test_small_encoders_and_heads_are_left_to_the_network():
    assert encode_of(network("small_cnn"), config=Encoder(name="small_cnn")) is None
    torch.manual_seed(0)
    head = DLCNB(encoder=None, features=4, clinical=0, classes=2, config=Aggregator())
    assert encode_of(head, config=Encoder()) is None
