from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from axilla.core.config import Aggregator, Bags, Training
from axilla.core.errors import ConfigError
from axilla.mil.batches import BagOfSlide, PatientInstances, choose_bags
from axilla.mil.feeding import Feed, Share, TrainingData, batch_size
from axilla.mil.model import DLCNB
from axilla.mil.training import train
from axilla.mil.weighting import balance_classes, draw_balanced

WIDTH = 12


@pytest.fixture
def data(toy, draw):
    some = toy(20, seed=1)
    return TrainingData(some.patients, [], some.slides, draw, 2)


def unequal(counts):
    """Patients of each class, the i-th with i % 4 + 1 bags."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    patients = [PatientInstances(f"{i}", label, ("s",), None) for i, label in enumerate(labels)]
    return [
        [BagOfSlide(p, "s", np.arange(3), 1.0) for _ in range(i % 4 + 1)]
        for i, p in enumerate(patients)
    ]


@pytest.mark.parametrize("weight_by", ["patient", "bag"])
@pytest.mark.parametrize("counts", [(7, 3), (5, 5), (1, 9, 4)])
def test_class_weights_are_those_of_scikit_learn(weight_by, counts):
    drawn = unequal(counts)
    plain = choose_bags(drawn, rng=np.random.default_rng(0), weight_by=weight_by)
    found = balance_classes(plain)
    of_bags = weight_by == "bag"
    labels = [b.patient.label for b in plain] if of_bags else [d[0].patient.label for d in drawn]
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    for before, after in zip(plain, found, strict=True):
        assert after.weight / before.weight == pytest.approx(expected[after.patient.label])
    sums = [sum(b.weight for b in found if b.patient.label == k) for k in range(len(counts))]
    assert sums == pytest.approx([len(found) / len(counts)] * len(counts))


@pytest.mark.parametrize("counts", [(7, 3), (5, 5), (1, 9, 4)])
def test_balanced_sampling_draws_the_classes_equally_often(counts):
    drawn = unequal(counts)
    chosen = draw_balanced(drawn, rng=np.random.default_rng(0))
    each = math.ceil(sum(counts) / len(counts))
    assert Counter(bags[0].patient.label for bags in chosen) == dict.fromkeys(
        range(len(counts)), each
    )
    # Nobody comes more than once more than another of the class.
    often = Counter(bags[0].patient.patient_id for bags in chosen)
    for label, count in enumerate(counts):
        ids = [d[0].patient.patient_id for d in drawn if d[0].patient.label == label]
        assert {often[i] for i in ids} <= {each // count, -(-each // count)}
    again = draw_balanced(drawn, rng=np.random.default_rng(0))
    other = draw_balanced(drawn, rng=np.random.default_rng(1))
    assert chosen == again
    assert chosen != other or set(counts) == {5}


def drawn_by(feed):
    """Of one epoch the bags of each portion of this process: slide, patches and weight."""
    return [
        (
            float(portion.batch.instances.sum()),
            portion.batch.lengths,
            portion.batch.weights.tolist(),
        )
        for portion in feed.epoch()
    ]


def feed_of(data, *, share=Share(), **training):  # noqa: B008 - frozen
    config = Training(**{"batch_size": 6, **training})
    return Feed(data, config=config, bags=Bags(size=5), seed=3, learns=False, share=share)


@pytest.mark.parametrize("processes", [2, 3, 6])
def test_processes_use_every_bag_once_and_take_the_same_number_of_batches(data, processes):
    whole = list(feed_of(data).epoch())
    parts = [list(feed_of(data, share=Share(r, processes)).epoch()) for r in range(processes)]
    assert {len(part) for part in parts} == {len(whole)}
    for together, *shares in zip(whole, *parts, strict=True):
        assert {portion.bags for portion in shares} == {together.bags}
        assert {portion.ends for portion in shares} == {together.ends}
        real = [
            (float(x.sum()), float(w))
            for portion in shares
            for x, w in zip(
                portion.batch.instances.split(portion.batch.lengths),
                portion.batch.weights, strict=True,
            )
            if w > 0
        ]  # fmt: skip
        expected = [
            (float(x.sum()), float(w))
            for x, w in zip(
                together.batch.instances.split(together.batch.lengths),
                together.batch.weights, strict=True,
            )
        ]  # fmt: skip
        assert sorted(real) == sorted(expected)


def test_a_step_counts_the_bags_of_its_batches(data):
    bags = sum(len(p.batch.lengths) for p in feed_of(data).epoch())
    portions = list(feed_of(data, batch_size=4, accumulate=3).epoch())
    steps = [0]
    for portion in portions:
        steps[-1] += len(portion.batch.lengths)
        if portion.ends:
            steps.append(0)
    assert steps.pop() == 0
    assert steps == [12] * (bags // 12) + ([bags % 12] if bags % 12 else [])
    sizes = [p.bags for p in portions if p.ends]
    assert sizes == steps


def test_the_batch_is_of_all_devices():
    config = Training(batch_size=6)
    assert batch_size(config, learns=True, processes=3) == 6
    with pytest.raises(ConfigError, match=r"is 6, which 4 devices cannot share\. Set a"):
        batch_size(config, learns=True, processes=4)
    assert batch_size(Training(), learns=True, processes=4) == 4
    assert batch_size(Training(), learns=False, processes=3) == 33


@pytest.mark.parametrize(
    "more",
    [{}, {"weight_by": "bag"}, {"class_weights": "balanced"}, {"sampling": "balanced"}],
)
def test_so_many_small_batches_make_the_step_of_a_large_one(data, monkeypatch, more):
    # Without dropout, whose random numbers would come in another order.
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)

    def trained(**batch):
        config = Training(epochs=3, lr=0.01, **batch, **more)
        model, history = train(
            lambda: DLCNB(
                encoder=None, features=WIDTH, clinical=0, classes=2,
                config=Aggregator(width=16, attention=8),
            ),
            data, config=config, bags=Bags(size=5), seed=3,
        )  # fmt: skip
        return nn.utils.parameters_to_vector(model.parameters()), history

    (large, one), (small, many) = trained(batch_size=12), trained(batch_size=3, accumulate=4)
    torch.testing.assert_close(small, large, rtol=1e-6, atol=1e-6)
    for a, b in zip(one.epochs, many.epochs, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-6)
