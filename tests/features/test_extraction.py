from __future__ import annotations

import numpy as np
import pytest
import torch

from axilla.core.config import Encoder
from axilla.core.errors import WeightsError
from axilla.features.encoders import PatchEncoder, build_encoder
from axilla.features.extraction import extract_features


@pytest.fixture(scope="module")
def encoder() -> PatchEncoder:
    torch.set_num_threads(1)
    return build_encoder(Encoder(name="small_cnn", weights="none", trainable=True), seed=4)


def patches(n, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


def test_features_are_those_of_evaluation_mode(encoder):
    encoder.train()  # dropout would make every call another
    pixels = patches(5)
    found = extract_features([pixels], encoder=encoder)
    assert not encoder.training
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert found.dtype == np.float16
    assert found.shape == (5, 512)
    np.testing.assert_array_equal(found, expected.numpy().astype(np.float16))


def test_batches_do_not_matter(encoder):
    pixels = patches(7)
    together = extract_features([pixels], encoder=encoder).astype(np.float32)
    split = extract_features([pixels[:1], pixels[1:4], pixels[4:]], encoder=encoder)
    np.testing.assert_allclose(split.astype(np.float32), together, atol=1e-3)


def test_no_patches_give_no_rows(encoder):
    assert extract_features([], encoder=encoder).shape == (0, 512)


def test_features_that_are_no_numbers_are_refused():
    encoder = build_encoder(Encoder(name="small_cnn", weights="none", trainable=True))
    with torch.no_grad():
        encoder.body.convolutions[0].bias[0] = 1e38
    with pytest.raises(WeightsError, match="small_cnn gives features that are no numbers"):
        extract_features([patches(2)], encoder=encoder)
