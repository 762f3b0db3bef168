from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from axilla.core.config import Aggregator
from axilla.mil.model import CLINICAL_COPIES, DLCNB, AttentionPool

KINDS = ("attention", "gated", "mean", "max")


def oracle(pool: AttentionPool, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One bag [N, width], instance by instance, as the papers write it."""
    n, width = h.shape
    if pool.kind == "mean":
        return sum(h[i] for i in range(n)) / n, np.full(n, 1 / n)
    if pool.kind == "max":
        z, a = np.zeros(width), np.zeros(n)
        for j in range(width):
            best = max(range(n), key=lambda i: h[i, j])
            z[j] = h[best, j]
            a[best] += 1 / width
        return z, a
    weights = {name: value.double().numpy() for name, value in pool.state_dict().items()}
    scores = []
    for i in range(n):
        hidden = np.tanh(weights["tanh.0.weight"] @ h[i] + weights["tanh.0.bias"])
        if pool.kind == "gated":
            gate = weights["gate.0.weight"] @ h[i] + weights["gate.0.bias"]
            hidden = hidden / (1 + np.exp(-gate))
        scores.append(float((weights["score.weight"] @ hidden + weights["score.bias"])[0]))
    odds = [np.exp(score - max(scores)) for score in scores]
    a = np.array([odd / sum(odds) for odd in odds])
    return sum(a[i] * h[i] for i in range(n)), a


@pytest.mark.parametrize("kind", KINDS)
def test_pooling_equals_the_slow_oracle_under_padding(kind):
    torch.manual_seed(0)
    pool = AttentionPool(Aggregator(kind=kind, width=6, attention=4)).eval()
    lengths = [5, 1, 3]
    h = torch.randn(3, 5, 6)
    mask = torch.arange(5)[None] < torch.tensor(lengths)[:, None]
    h[~mask] = 99.0  # what pads must not matter
    with torch.inference_mode():
        z, attention = pool(h, mask)
    for b, length in enumerate(lengths):
        expected_z, expected_a = oracle(pool, h[b, :length].double().numpy())
        np.testing.assert_allclose(z[b].numpy(), expected_z, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(attention[b, :length].numpy(), expected_a, atol=1e-6)
        assert (attention[b, length:] == 0).all()
        assert float(attention[b].sum()) == pytest.approx(1, abs=1e-6)


def test_the_originals_attention_has_one_hidden_unit_and_drops_logits():
    pool = AttentionPool(Aggregator(original=True, width=6))
    assert pool.score.in_features == 1
    assert pool.score_dropout.p == 0.5
    ours = AttentionPool(Aggregator(width=6))
    assert ours.score.in_features == 128
    assert ours.score_dropout.p == 0.0


def make_network(*, kind="attention", clinical=0, classes=2, encoder=None, **more):
    torch.manual_seed(2)
    return DLCNB(
        encoder=encoder, features=8, clinical=clinical, classes=classes,
        config=Aggregator(kind=kind, width=6, attention=4, **more),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clinical", [0, 3])
def test_bags_side_by_side_equal_one_bag_at_a_time(kind, clinical):
    network = make_network(kind=kind, clinical=clinical, classes=3).eval()
    lengths = [4, 1, 6]
    x = torch.randn(11, 8)
    c = torch.randn(3, clinical) if clinical else None
    with torch.inference_mode():
        together = network(x, lengths, c)
        for b, part in enumerate(x.split(lengths)):
            alone = network(part, [lengths[b]], None if c is None else c[b : b + 1])
            torch.testing.assert_close(together.logits[b : b + 1], alone.logits)
            torch.testing.assert_close(together.attention[b, : lengths[b]], alone.attention[0])
            assert (together.attention[b, lengths[b] :] == 0).all()
    assert together.logits.shape == (3, 3)


def test_the_layers_are_those_of_the_paper():
    network = DLCNB(encoder=None, features=25088, clinical=0, classes=2, config=Aggregator())
    assert [type(layer) for layer in network.project] == [nn.Linear, nn.Dropout, nn.ReLU]
    assert network.project[0].weight.shape == (256, 25088)
    assert [type(layer) for layer in network.classifier] == [nn.Linear, nn.ReLU, nn.Linear]
    assert network.classifier[0].weight.shape == (64, 256)
    assert network.classifier[2].weight.shape == (2, 64)


def test_clinical_data_are_copied_ten_times():
    assert CLINICAL_COPIES == 10
    network = make_network(clinical=3).eval()
    assert network.classifier[0].in_features == 6 + 10 * 3
    x, c = torch.randn(4, 8), torch.randn(1, 3)
    with torch.inference_mode():
        h = network.project(x)
        z, _ = network.pool(h[None], torch.ones(1, 4, dtype=torch.bool))
        by_hand = network.classifier(torch.cat([z] + [c] * 10, dim=1))
        torch.testing.assert_close(network(x, [4], c).logits, by_hand)
    with pytest.raises(ValueError, match="needs the clinical vectors"):
        network(x, [4])


def test_an_encoder_is_part_of_the_model():
    network = make_network(encoder=nn.Sequential(nn.Flatten(), nn.Linear(12, 8)))
    output = network(torch.rand(5, 3, 2, 2), [2, 3])
    output.logits.sum().backward()
    assert network.encoder[1].weight.grad is not None
    assert output.attention.shape == (2, 3)


def test_half_precision_features_are_taken_as_they_come():
    network = make_network().eval()
    x = torch.randn(4, 8).half()
    with torch.inference_mode():
        torch.testing.assert_close(network(x, [4]).logits, network(x.float(), [4]).logits)
