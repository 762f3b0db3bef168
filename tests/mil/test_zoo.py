"""Every aggregator, ours and torchmil's: padding, losses, storage, and whether it learns."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torchmil import models as library

from axilla.core.config import Aggregator, Bags, Clinical, Training
from axilla.core.errors import ConfigError
from axilla.core.methods import AGGREGATORS, ZOO
from axilla.core.store import read_model, write_model
from axilla.mil.bundle import Bundle, from_stored, to_stored
from axilla.mil.clinical import fit_preprocessor
from axilla.mil.model import DLCNB
from axilla.mil.prediction import predict_patients
from axilla.mil.training import TrainingData, train
from axilla.mil.zoo import check_zoo, zoo_pool

LENGTHS = [4, 1, 12, 4, 7]


def make_network(kind, *, clinical=0, classes=2, features=6, dropout=0.0):
    torch.manual_seed(4)
    config = Aggregator(kind=kind, width=16, attention=5, dropout=dropout)
    return DLCNB(encoder=None, features=features, clinical=clinical, classes=classes, config=config)


def loss_of(output, labels):
    losses = F.cross_entropy(output.logits, labels, reduction="none")
    if output.auxiliary is not None:
        losses = losses + output.auxiliary.gather(1, labels[:, None])[:, 0]
    return losses.sum() + (output.attention**2).sum()


def gradients(network, x, bags, labels, clinical):
    """Of parameters and instances, summed over calls with some of the bags each."""
    network.zero_grad()
    x = x.clone().requires_grad_()
    torch.manual_seed(8)
    outputs = []
    for places in bags:
        parts = [x.split(LENGTHS)[i] for i in places]
        given = None if clinical is None else clinical[places]
        output = network(torch.cat(parts), [LENGTHS[i] for i in places], given)
        loss_of(output, labels[places]).backward()
        outputs.append(output)
    return outputs, {n: p.grad for n, p in network.named_parameters()} | {"x": x.grad}


@pytest.mark.parametrize("kind", AGGREGATORS)
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("clinical", "classes"), [(0, 2), (3, 3)])
def test_a_bag_among_longer_ones_is_as_it_is_alone(kind, mode, clinical, classes):
    network = make_network(kind, clinical=clinical, classes=classes).train(mode == "train")
    x = 3 * torch.randn(sum(LENGTHS), 6)
    labels = torch.arange(5) % classes
    c = torch.randn(5, clinical) if clinical else None
    (together,), grads = gradients(network, x, [[0, 1, 2, 3, 4]], labels, c)
    apart, grads_apart = gradients(network, x, [[0], [1], [2], [3], [4]], labels, c)
    assert together.logits.shape == (5, classes)
    for b, (alone, length) in enumerate(zip(apart, LENGTHS, strict=True)):
        torch.testing.assert_close(together.logits[b], alone.logits[0], rtol=1e-4, atol=1e-5)
        attention = together.attention[b]
        torch.testing.assert_close(attention[:length], alone.attention[0], rtol=1e-4, atol=1e-6)
        assert (attention >= 0).all()
        assert (attention[length:] == 0).all()
        assert float(attention.detach().sum()) == pytest.approx(1, abs=1e-5)
        if together.auxiliary is not None:
            torch.testing.assert_close(together.auxiliary[b], alone.auxiliary[0])
    for name, grad in grads.items():
        torch.testing.assert_close(grad, grads_apart[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("kind", ZOO)
def test_every_weight_has_a_part_in_the_loss(kind):
    # What never gets a gradient stops several processes from training together.
    network = make_network(kind).train()
    output = network(torch.randn(20, 6), [12, 8])
    loss_of(output, torch.tensor([0, 1])).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
    assert (output.auxiliary is None) == (kind in {"transmil", "transformer"})
    assert network.eval()(torch.randn(20, 6), [12, 8]).auxiliary is None


@pytest.mark.parametrize("kind", ZOO)
def test_mixed_precision_trains_and_answers_in_single(kind):
    network = make_network(kind, clinical=3).train()
    x, c = torch.randn(20, 6), torch.randn(2, 3)
    full = network.eval()(x, [12, 8], c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(x, [12, 8], c)
        output = network.train()(x, [12, 8], c)
    loss_of(output, torch.tensor([0, 1])).backward()
    assert half.logits.dtype == half.attention.dtype == torch.float32
    torch.testing.assert_close(half.logits, full.logits, rtol=0.1, atol=0.05)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_why_bags_of_the_zoo_are_not_padded():
    torch.manual_seed(2)
    bags = torch.randn(2, 9, 16)
    transmil = library.TransMIL((16,), att_dim=16, n_landmarks=10).eval()
    for layer in transmil.layers:
        layer.att_module.qkv_nn.weight.data *= 5  # sharp attention, as after training
    with torch.inference_mode():
        leak = transmil(bags)[0] - transmil(bags[:1])[0]
    assert abs(float(leak)) > 1e-4  # the other bag of the batch is seen
    dsmil = library.DSMIL((16,)).eval()
    dsmil.inst_classifier.bias.data.fill_(100)  # an instance of zeros is the critical one
    dsmil.inst_classifier.weight.data.copy_(-bags[0].mean(0))
    padded = torch.cat([bags[:1] + bags[0].mean(0) * 5, torch.zeros(1, 3, 16)], dim=1)
    mask = torch.arange(12)[None] < 9
    with torch.inference_mode():
        assert abs(float(dsmil(padded, mask) - dsmil(padded[:, :9]))) > 1e-3


def test_transmil_is_the_library_s_where_a_bag_has_more_tokens_than_landmarks():
    torch.manual_seed(0)
    pool = zoo_pool(Aggregator(kind="transmil", width=16), classes=2).eval()
    reference = library.TransMIL((16,), att_dim=16, n_heads=8, n_landmarks=8).eval()
    missing = reference.load_state_dict(pool.model.state_dict(), strict=False).missing_keys
    assert {name.split(".")[-2] for name in missing} == {"norm2", "classifier"}
    reference.classifier = torch.nn.Identity()
    h = torch.randn(1, 30, 16)
    with torch.inference_mode():
        torch.testing.assert_close(pool([h[0]]).z, reference(h))


def test_transmil_with_few_instances_is_plain_self_attention():
    torch.manual_seed(0)
    pool = zoo_pool(Aggregator(kind="transmil", width=64), classes=2).eval()
    layer = pool.model.layers[0].att_module
    layer.n_landmarks, layer.pinv_iterations = 10, 40
    x = 4 * torch.randn(1, 10, 64)
    with torch.inference_mode():
        q, k, v = (t.view(10, 8, 8).transpose(0, 1) for t in layer.qkv_nn(x)[0].chunk(3, dim=-1))
        plain = ((q @ k.transpose(1, 2)) / math.sqrt(8)).softmax(-1) @ v  # [heads, 10, 8]
        torch.testing.assert_close(
            layer(x)[0], plain.transpose(0, 1).reshape(10, 64), rtol=1e-2, atol=1e-2
        )


def test_the_transformer_takes_a_bag_as_a_set():
    network = make_network("transformer").eval()
    x, order = torch.randn(9, 6), torch.randperm(9)
    with torch.inference_mode():
        once, shuffled = network(x, [9]), network(x[order], [9])
    torch.testing.assert_close(once.logits, shuffled.logits)
    torch.testing.assert_close(once.attention[0, order], shuffled.attention[0])


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_clam_s_instance_loss_equals_the_slow_oracle(n):
    network = make_network("clam", classes=3).train()
    x = torch.randn(n, 6)
    output = network(x, [n])
    h = network.project(x).detach().double().numpy()
    order = np.argsort(-output.attention[0].detach().numpy())
    k = min(8, n // 2)

    def svm(c, i, target):
        layer = network.pool.model.inst_classifiers[c]
        logits = layer.weight.detach().double().numpy() @ h[i] + layer.bias.detach().numpy()
        return math.log(1 + math.exp(1 + logits[1 - target] - logits[target]))

    for label in range(3):
        total = 0.0
        for c in range(3) if k else ():
            top = [svm(c, i, int(c == label)) for i in order[:k]]
            bottom = [svm(c, i, 0) for i in order[-k:]] if c == label else []
            total += sum(top + bottom) / len(top + bottom) / 3
        assert float(output.auxiliary[0, label].detach()) == pytest.approx(3 / 7 * total, abs=1e-5)


def test_dsmil_equals_the_slow_oracle():
    network = make_network("dsmil").eval()
    x = torch.randn(9, 6)
    with torch.inference_mode():
        output, h = network(x, [9]), network.project(x).double().numpy()
        second = network.train()(x, [9])
    weights = {n: p.detach().double().numpy() for n, p in network.named_parameters()}

    def linear(name, vector):
        return weights[f"{name}.weight"] @ vector + weights[f"{name}.bias"]

    scores = [float(linear("pool.model.inst_classifier", h[i])[0]) for i in range(9)]
    critical = linear("pool.model.q_nn", h[int(np.argmax(scores))])
    match = [linear("pool.model.q_nn", h[i]) @ critical / math.sqrt(5) for i in range(9)]
    odds = np.exp(np.array(match) - max(match))
    attention = odds / odds.sum()
    bag = linear("classifier", sum(attention[i] * h[i] for i in range(9)))
    np.testing.assert_allclose(output.attention[0].numpy(), attention, atol=1e-6)
    np.testing.assert_allclose(
        output.logits[0].numpy(), (bag + np.array([0, max(scores)])) / 2, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(second.logits[0].numpy(), bag, rtol=1e-4, atol=1e-5)
    losses = [math.log(1 + math.exp(max(scores))), math.log(1 + math.exp(-max(scores)))]
    np.testing.assert_allclose(second.auxiliary[0].numpy(), losses, rtol=1e-4)


def test_dtfd_s_tiers_equal_the_slow_oracle():
    network = make_network("dtfdmil").eval()
    x = torch.randn(12, 6)
    pool = network.pool

    def attend(tier, rows):
        scores = [float(tier.fc2(torch.tanh(tier.fc1(row)))[0]) for row in rows]
        odds = [math.exp(score) for score in scores]
        shares = [odd / sum(odds) for odd in odds]
        return sum(share * row for share, row in zip(shares, rows, strict=True)), shares

    with torch.inference_mode():
        output, h = network(x, [12]), network.project(x)
        tiers = [attend(pool.first, h[:6]), attend(pool.first, h[6:])]  # two of five or more
        z, shares = attend(pool.second, [vector for vector, _ in tiers])
        torch.testing.assert_close(output.logits[0], network.classifier(z))
        expected = [share * a for share, (_, part) in zip(shares, tiers, strict=True) for a in part]
        np.testing.assert_allclose(output.attention[0].numpy(), expected, atol=1e-6)
        # In training the pseudo-bags are drawn; their loss is the mean cross-entropy.
        torch.manual_seed(5)
        order = torch.randperm(12)
        torch.manual_seed(5)
        drawn = network.train()(x, [12])
        losses = [
            F.cross_entropy(
                pool.classifier(attend(pool.first, h[part])[0])[None], torch.tensor([1])
            )
            for part in order.split(6)
        ]
    assert float(drawn.auxiliary[0, 1]) == pytest.approx(float(sum(losses)) / 2, abs=1e-6)


@pytest.mark.parametrize("kind", ZOO)
def test_a_bundle_comes_back_and_predicts_the_same(kind, toy, draw, patient, tmp_path):
    some = toy(6, seed=1, clinical=3)
    network = make_network(kind, clinical=3, features=12, dropout=0.5).eval()
    config = Aggregator(kind=kind, width=16, attention=5)
    record = {
        "endpoint": "n0-vs-npos", "members": [{"key": "k", "seed": 1}],
        "threshold": {"rule": 0.5, "value": 0.5}, "versions": {"axilla": "0"},
        "aggregator": config.model_dump(mode="json"), "encoder": {"name": None},
    }  # fmt: skip
    people = [patient(f"p{i}", a=i, b=i, c=i) for i in range(3)]
    fitted = fit_preprocessor(people, config=Clinical(numeric=("a", "b", "c"), categorical=()))
    bundle = Bundle.single(
        f"dl-cnb+c-{kind}", ("N0", "N(+)"), record, network=network, preprocessor=fitted
    )
    write_model(tmp_path, to_stored(bundle), key="k")
    back = from_stored(read_model(tmp_path), make_encoder=pytest.fail)
    scores = [
        predict_patients(one, some.patients, slides=some.slides, draw=draw, seed=1)
        for one in (network, back.network)
    ]
    for one in some.patients:
        np.testing.assert_array_equal(*(found[one.patient_id] for found in scores))


@pytest.mark.parametrize("kind", AGGREGATORS)
def test_every_aggregator_learns_a_toy_problem(kind, toy, draw):
    fit, validate, fresh = (
        toy(n, seed=s, name=k) for n, s, k in ((40, 1, "t"), (16, 2, "v"), (60, 9, "x"))
    )
    data = TrainingData(
        train=fit.patients, val=validate.patients, slides={**fit.slides, **validate.slides},
        draw=draw, classes=2,
    )  # fmt: skip
    config = Aggregator(kind=kind, width=16, attention=8, dropout=0.25)
    model, _ = train(
        lambda: DLCNB(encoder=None, features=12, clinical=0, classes=2, config=config),
        data, config=Training(epochs=8, lr=0.01, batch_size=16), bags=Bags(size=5), seed=3,
    )  # fmt: skip
    scores = predict_patients(model, fresh.patients, slides=fresh.slides, draw=draw, seed=0)
    auc = roc_auc_score(
        [p.label for p in fresh.patients], [scores[p.patient_id][1] for p in fresh.patients]
    )
    assert 0.85 < auc <= 1


def test_without_the_library_the_sentence_names_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torchmil" else found(name)
    )
    with pytest.raises(ConfigError, match="DL-1 needs the library torchmil") as caught:
        check_zoo("DL-1")
    assert "pip install 'axilla[zoo]'" in str(caught.value)
    with pytest.raises(ConfigError, match="the aggregator clam needs the library torchmil"):
        make_network("clam")
