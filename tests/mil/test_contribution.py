"""Contributions against leaving each patch out by hand, and what cannot be told."""

import numpy as np
import pytest
import torch

from axilla.core.config import Aggregator
from axilla.mil.batches import PatientInstances
from axilla.mil.contribution import (
    ROWS_AT_ONCE,
    is_told,
    patch_contribution,
    projected_patches,
)
from axilla.mil.encoding import PATCHES_AT_ONCE, encode_rows, own_encoding
from axilla.mil.model import DLCNB


def make_model(*, classes=2, clinical=0, **aggregator):
    torch.manual_seed(0)
    config = Aggregator(width=16, attention=8, dropout=0.5, **aggregator)
    return DLCNB(encoder=None, features=12, clinical=clinical, classes=classes, config=config)


def whole(n, rng):
    return [rng.permutation(n)]


def log_odds(model, x, clinical=None):
    vector = None if clinical is None else torch.tensor(clinical, dtype=torch.float32)[None]
    with torch.inference_mode():
        logits = model.eval()(torch.from_numpy(x), [len(x)], vector).logits[0].double()
    return float(logits[1] - logits[0])


@pytest.mark.parametrize("clinical", [None, np.array([0.5, -1.0])])
@pytest.mark.parametrize("kind", ["attention", "gated", "mean", "max"])
def test_it_is_what_the_score_loses_without_the_patch(kind, clinical):
    model = make_model(kind=kind, clinical=0 if clinical is None else 2)
    x = np.random.default_rng(1).normal(size=(9, 12)).astype(np.float32)
    patient = PatientInstances("P", 1, ("s",), clinical)
    found = patch_contribution(model, patient, "s", slides={"s": x}, cover=whole, seed=0, draws=2)
    expected = [
        log_odds(model, x, clinical) - log_odds(model, np.delete(x, i, axis=0), clinical)
        for i in range(9)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.min() < 0 < found.max()


def test_it_is_the_mean_over_the_bags_that_hold_the_patch():
    model = make_model()
    x = np.random.default_rng(2).normal(size=(6, 12)).astype(np.float32)
    bags = {"s": [np.array([0, 1, 2]), np.array([2, 3]), np.array([4])]}
    patient = PatientInstances("P", 0, ("s",), None, bags=bags)
    found = patch_contribution(model, patient, "s", slides={"s": x}, cover=whole, seed=0)
    twice = [
        log_odds(model, x[[0, 1, 2]]) - log_odds(model, x[[0, 1]]),
        log_odds(model, x[[2, 3]]) - log_odds(model, x[[3]]),
    ]
    assert found[2] == pytest.approx(np.mean(twice), abs=1e-5)
    # Alone in its bag, and in none: there is no score without it.
    assert np.isnan(found[4:]).all()


def test_a_patch_that_speaks_for_the_class_is_found():
    """A witness among patches that say nothing: only it is above zero."""
    model = make_model(kind="mean")
    with torch.no_grad():
        for part in model.parameters():
            part.zero_()
        model.project[0].weight[0, 0] = 1  # h_0 = ReLU(x_0)
        model.classifier[0].weight[0, 0] = 1
        model.classifier[2].weight[1, 0] = 1
    x = np.zeros((5, 12), dtype=np.float32)
    x[3, 0] = 2
    patient = PatientInstances("P", 1, ("s",), None)
    found = patch_contribution(model, patient, "s", slides={"s": x}, cover=whole, seed=0)
    # With it 2 / 5; without it 0; without another 2 / 4.
    np.testing.assert_allclose(found, [-0.1, -0.1, -0.1, 0.4, -0.1], atol=1e-6)


def test_what_cannot_be_told():
    three = make_model(classes=3)
    assert not is_told(three)
    companions = make_model()
    companions.encoder = torch.nn.Flatten()
    companions.batch_norm = "batch"
    assert not is_told(companions)
    companions.batch_norm = "running"
    assert is_told(companions)
    with pytest.raises(ValueError, match="two classes"):
        patch_contribution(
            three, PatientInstances("P", 0, ("s",), None), "s",
            slides={"s": np.zeros((3, 12), np.float32)}, cover=whole, seed=0,
        )  # fmt: skip


class Counted:
    """Instances that remember how many were asked for at once."""

    def __init__(self, rows):
        self.rows, self.asked = rows, []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, indices):
        self.asked.append(len(indices))
        return self.rows[indices]


# One more than a block, a whole number of blocks, and a rest.
@pytest.mark.parametrize("n", [1, ROWS_AT_ONCE + 1, 3 * ROWS_AT_ONCE, 3 * ROWS_AT_ONCE + 100])
def test_patches_are_projected_in_blocks_to_the_same_bit(n):
    model = make_model()
    x = np.random.default_rng(3).normal(size=(n, 12)).astype(np.float16)
    counted = Counted(x)
    _, found = projected_patches(model, counted)
    with torch.inference_mode():
        expected = model.eval().project(torch.from_numpy(x).float()).numpy()
    assert found.tobytes() == expected.tobytes()
    assert sum(counted.asked) == n
    assert max(counted.asked) < 2 * ROWS_AT_ONCE


def test_what_a_model_encodes_is_projected_in_blocks_too():
    model = make_model()
    model.encoder = torch.nn.Sequential(torch.nn.Flatten(), Scaled())
    n = 2 * ROWS_AT_ONCE + 1
    patches = np.random.default_rng(4).integers(0, 256, (n, 2, 2, 3), dtype=np.uint8)
    counted = Counted(patches)
    _, found = projected_patches(model, counted)
    encode = own_encoding(model.encoder)
    features = encode_rows(patches, np.arange(n), encode=encode)
    with torch.inference_mode():
        expected = model.eval().project(torch.from_numpy(features)).numpy()
    assert found.tobytes() == expected.tobytes()
    assert sum(counted.asked) == n
    assert max(counted.asked) == PATCHES_AT_ONCE


class Scaled(torch.nn.Module):
    """Bytes as numbers up to 1."""

    def forward(self, x):
        return x.float() / 255
