from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from axilla.core.config import Aggregator
from axilla.core.errors import CohortError
from axilla.mil.model import DLCNB
from axilla.mil.original import (
    BagBatchNorm2d,
    OriginalDLCNB,
    OriginalPreprocessor,
    network_of,
    use_bag_statistics,
)


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, eps=1e-3),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(6)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias)
    return net


def test_bag_statistics_are_those_of_training_mode_and_leave_no_trace():
    ordinary = convolutions()
    bagwise = copy.deepcopy(ordinary).eval()
    use_bag_statistics(bagwise)
    before = {name: tensor.clone() for name, tensor in bagwise.state_dict().items()}
    assert list(before) == list(ordinary.state_dict())
    x = torch.randn(4, 3, 8, 8)
    with torch.inference_mode():
        expected = ordinary.train()(x)
        assert torch.equal(bagwise(x), expected)
        assert not torch.allclose(convolutions().eval()(x), expected, atol=1e-2)
    assert all(torch.equal(t, before[n]) for n, t in bagwise.state_dict().items())


def test_in_training_it_is_the_ordinary_layer():
    ordinary, bagwise = convolutions(), convolutions()
    weight = bagwise[1].weight
    use_bag_statistics(bagwise)
    assert isinstance(bagwise[1], BagBatchNorm2d)
    assert bagwise[1].weight is weight, "whoever holds the weights, an optimizer, holds these"
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(bagwise.train()(x), ordinary.train()(x))
    for name, tensor in ordinary.state_dict().items():
        assert torch.equal(bagwise.state_dict()[name], tensor), name
    assert int(bagwise[1].num_batches_tracked) == 1


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_a_bags_output_does_not_depend_on_the_other_bags(batch_norm):
    torch.manual_seed(1)
    network = OriginalDLCNB(
        encoder=convolutions(), features=6, clinical=2, classes=3,
        config=Aggregator(original=True, width=8), batch_norm=batch_norm,
    ).eval()  # fmt: skip
    lengths = [3, 5, 2]
    x, c = torch.randn(10, 3, 8, 8), torch.randn(3, 2)
    with torch.inference_mode():
        together = network(x, lengths, c)
        assert together.logits.shape == (3, 3)
        assert together.attention.shape == (3, 5)
        for index, bag in enumerate(x.split(lengths)):
            alone = network(bag, [len(bag)], c[index : index + 1])
            torch.testing.assert_close(together.logits[index], alone.logits[0])
            attention = together.attention[index]
            torch.testing.assert_close(attention[: len(bag)], alone.attention[0])
            assert (attention[len(bag) :] == 0).all()


def test_the_record_says_which_network():
    assert network_of({}) is DLCNB
    assert network_of({"original": False}) is DLCNB
    kinds = {"encoder": None, "features": 4, "clinical": 0, "classes": 2, "config": Aggregator()}
    network = network_of({"original": True, "batch_norm": "batch"})(**kinds)
    assert isinstance(network, OriginalDLCNB)
    assert network.batch_norm == "batch"
    with pytest.raises(ValueError, match="neither running nor batch"):
        network_of({"original": True, "batch_norm": "x"})(**kinds)


PREPROCESSOR = OriginalPreprocessor(("age", "size"), (50.0, 2.0), (10.0, 0.5), ("er",))


def test_the_authors_inputs(patient):
    people = [patient(age=61.0, size=1.5, er="Negative"), patient(age=50.0, size=3.0)]
    np.testing.assert_allclose(PREPROCESSOR.transform(people), [[1.1, -1, 1], [0, 2, 0]])
    assert PREPROCESSOR.width == 3
    assert PREPROCESSOR.names == ("age", "size", "er=negative")
    assert PREPROCESSOR.transform([]).shape == (0, 3)
    assert OriginalPreprocessor.from_json(PREPROCESSOR.to_json()) == PREPROCESSOR


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"age": None}, "`age` is missing, and the imported model has no rule for that."),
        ({"er": None}, "`er` is missing, and the imported model has no rule for that."),
        ({"er": "unknown"}, "`er` is 'unknown', which the imported model does not know."),
    ],
)
def test_what_the_authors_inputs_need(patient, values, cause):
    with pytest.raises(CohortError) as caught:
        PREPROCESSOR.transform([patient("7", **values)])
    assert caught.value.problem.cause == cause
    assert caught.value.problem.patient == "7"
