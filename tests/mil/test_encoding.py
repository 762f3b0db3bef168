from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from axilla.core.config import Aggregator
from axilla.mil.batches import BagOfSlide, PatientInstances, batches
from axilla.mil.encoding import encode_rows, head_of, own_encoding
from axilla.mil.model import DLCNB
from axilla.mil.prediction import fixed_bags, patch_attention, predict_patients, score_bags

SIDE, FEATURES = 6, 5


class Convolution(nn.Module):
    """A small encoder with BatchNorm, whose statistics are not those of any bag."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, FEATURES, 3), nn.BatchNorm2d(FEATURES), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.seen: list[int] = []

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(patches))
        return self.body(patches.float() / 255).flatten(1)


@pytest.fixture
def model() -> DLCNB:
    torch.manual_seed(3)
    encoder = Convolution()
    encoder.body[1].running_mean += 0.1
    return DLCNB(
        encoder=encoder, features=FEATURES, clinical=2, classes=3,
        config=Aggregator(width=16, attention=8),
    )  # fmt: skip


@pytest.fixture(scope="module")
def slides() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"a": 23, "b": 4, "c": 90}
    return {
        name: rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8) for name, n in sizes.items()
    }


@pytest.fixture(scope="module")
def patients() -> list[PatientInstances]:
    vector = np.array([0.5, -1.0])
    return [
        PatientInstances("1", 0, ("a", "b"), vector),
        PatientInstances("2", 2, ("c",), -vector),
    ]


def whole(model: DLCNB, bags: list[BagOfSlide], slides: dict[str, np.ndarray]) -> list[tuple]:
    """Each bag through the whole model alone, as before features were kept."""
    found = []
    with torch.inference_mode():
        for batch in batches(bags, slides=slides, size=1):
            output = model.eval()(batch.instances, batch.lengths, batch.clinical)
            found.append((output.logits.softmax(1)[0].numpy(), output.attention[0].numpy()))
    return found


def test_bags_score_as_through_the_whole_model(model, slides, patients, draw):
    bags = fixed_bags(patients, slides=slides, draw=draw, seed=1)
    expected = whole(model, bags, slides)
    for found, wanted in zip(score_bags(model, bags, slides=slides), expected, strict=True):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    # Bags in any order give the same, at the price of encoding a slide again.
    turned = score_bags(model, bags[::-1], slides=slides)[::-1]
    for found, wanted in zip(turned, expected, strict=True):
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-6)


def test_each_patch_is_encoded_once_for_all_draws(model, slides, patients):
    def three_bags(n, rng):
        return np.array_split(rng.permutation(n), 3)

    def through_the_whole_model():
        rng = np.random.default_rng(5)
        sums, counts = np.zeros(90), np.zeros(90)
        for _ in range(16):
            for indices in three_bags(90, rng):
                bag = BagOfSlide(patients[1], "c", indices, 1.0)
                (_, attention), = whole(model, [bag], slides)  # fmt: skip
                sums[indices] += attention * len(indices)
                counts[indices] += 1
        return sums / counts

    expected = through_the_whole_model()
    model.encoder.seen.clear()
    found = patch_attention(model, patients[1], "c", slides=slides, cover=three_bags, seed=5)
    assert sum(model.encoder.seen) == 90
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_patches_in_no_bag_are_not_encoded(model, slides, patients, draw):
    predict_patients(model, patients, slides=slides, draw=draw, seed=1)
    # Bags of five of 23 and 90 patches, and the 4 of the small slide.
    assert sum(model.encoder.seen) == 20 + 4 + 90


def test_another_computation_may_be_given(model, slides, patients, draw):
    own = own_encoding(model.encoder.eval())
    asked = []

    def encode(patches):
        asked.append(len(patches))
        return own(patches).astype(np.float16)

    plain = predict_patients(model, patients, slides=slides, draw=draw, seed=1)
    model.encoder.seen.clear()
    given = predict_patients(model, patients, slides=slides, draw=draw, seed=1, encode=encode)
    assert asked == [20, 4, 64, 26]
    for patient, scores in plain.items():
        np.testing.assert_allclose(given[patient], scores, atol=1e-3)


def test_features_of_the_bag_are_not_computed_once(model, slides, patients, draw):
    """Where BatchNorm takes the bag's own statistics, as in the original code."""
    bags = fixed_bags(patients, slides=slides, draw=draw, seed=1)
    model.batch_norm = "batch"

    def never(_):
        raise AssertionError("a patch has no feature of its own")

    found = score_bags(model, bags, slides=slides, encode=never)
    for (scores, _), (wanted, _) in zip(found, whole(model, bags, slides), strict=True):
        np.testing.assert_allclose(scores, wanted, atol=1e-6)
    assert sum(model.encoder.seen) == 2 * (20 + 4 + 90)


def test_the_head_shares_the_weights(model):
    head = head_of(model)
    assert head.encoder is None
    assert model.encoder is not None
    assert not head.training
    assert head.project[0].weight is model.project[0].weight
    assert set(head.state_dict()) == {n for n in model.state_dict() if not n.startswith("encoder")}


def test_rows_beyond_those_asked_for_are_not_read(model, slides):
    encode = own_encoding(model.encoder)
    all_of_them = encode(slides["c"])
    found = encode_rows(slides["c"], [80, 3, 41], encode=encode)
    assert found.shape == (90, FEATURES)
    np.testing.assert_allclose(found[[80, 3, 41]], all_of_them[[80, 3, 41]], atol=1e-6)
    assert encode_rows(slides["c"], [], encode=encode).shape == (90, 0)


def test_memory_is_bounded_by_pixels_computed_at_once():
    class Counting(nn.Module):
        input_px = 256

        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            assert len(patches) <= 8
            return patches.float().mean((2, 3))

    patches = np.full((20, 4, 4, 3), 7, np.uint8)
    np.testing.assert_array_equal(own_encoding(Counting())(patches), np.full((20, 3), 7.0))


def test_bfloat16_rounds_products_and_gives_float32(model, slides):
    exact = own_encoding(model.encoder)(slides["a"])
    found = own_encoding(model.encoder, precision="bfloat16")(slides["a"])
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact)
    np.testing.assert_allclose(found, exact, atol=0.02)
