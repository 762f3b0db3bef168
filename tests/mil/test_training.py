from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from axilla.core.config import Aggregator, Bags, Encoder, Training
from axilla.core.errors import ConfigError
from axilla.features.encoders import build_encoder
from axilla.mil import feeding
from axilla.mil import training as module
from axilla.mil.model import DLCNB
from axilla.mil.prediction import predict_patients
from axilla.mil.training import TrainingData, train

WIDTH = 12
SETTINGS = Training(epochs=12, lr=0.01, batch_size=8)


def make_model(*, clinical=0, classes=2, kind="attention", encoder=None, features=WIDTH):
    return lambda: DLCNB(
        encoder=None if encoder is None else encoder(), features=features, clinical=clinical,
        classes=classes, config=Aggregator(kind=kind, width=16, attention=8, dropout=0.25),
    )  # fmt: skip


@pytest.fixture
def data(toy, draw):
    fit, validate = toy(40, seed=1, name="t"), toy(20, seed=2, name="v")
    return TrainingData(
        train=fit.patients, val=validate.patients, slides={**fit.slides, **validate.slides},
        draw=draw, classes=2,
    )  # fmt: skip


def run(data, *, config=SETTINGS, bags=Bags(size=5), seed=3, model=None, **more):  # noqa: B008 - frozen
    return train(model or make_model(), data, config=config, bags=bags, seed=seed, **more)


def without_val(data):
    return TrainingData(
        train=data.train, val=[], slides=data.slides, draw=data.draw, classes=data.classes
    )


def test_training_learns_a_toy_problem(data, toy, draw):
    model, history = run(data)
    fresh = toy(60, seed=9, name="x")
    scores = predict_patients(model, fresh.patients, slides=fresh.slides, draw=draw, seed=0)
    auc = roc_auc_score(
        [p.label for p in fresh.patients], [scores[p.patient_id][1] for p in fresh.patients]
    )
    assert auc > 0.9
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_the_rate_starts_full_and_anneals_with_warm_restarts(data):
    config = Training(epochs=10, lr=0.004, restarts={"t0": 3, "mult": 2}, batch_size=64)
    _, history = run(data, config=config)
    since, length, expected = 0, 3, []
    for _ in range(10):
        expected.append(0.004 * (1 + math.cos(math.pi * since / length)) / 2)
        since += 1
        if since == length:
            since, length = 0, 2 * length
    assert expected[0] == expected[3] == expected[9] == 0.004
    np.testing.assert_allclose([e.lr for e in history.epochs], expected, rtol=1e-12)


def test_without_restarts_the_rate_stays(data):
    _, history = run(data, config=Training(epochs=3, lr=0.004, restarts=None))
    assert {e.lr for e in history.epochs} == {0.004}


def test_adam_has_the_rate_and_the_decay_of_the_study(data, monkeypatch):
    seen = {}
    adam = torch.optim.Adam

    def spy(parameters, **options):
        seen.update(options)
        return adam(parameters, **options)

    monkeypatch.setattr(torch.optim, "Adam", spy)
    run(data, config=Training(epochs=1))
    assert (seen["lr"], seen["weight_decay"]) == (1e-4, 1e-3)


def scripted(monkeypatch, outcomes):
    """Validation comes out as scripted; the weights of every epoch are kept."""
    states, left = [], list(outcomes)

    def validate(model, *_, **__):
        states.append({n: t.clone() for n, t in model.state_dict().items()})
        return left.pop(0)

    monkeypatch.setattr(module, "_validate", validate)
    return states


@pytest.mark.parametrize(
    ("outcomes", "best"),
    [
        ([(0.5, 0.6), (0.9, 0.8), (0.1, 0.7)], 1),  # highest AUC, whatever the loss
        ([(0.5, 0.8), (0.4, 0.8), (0.6, 0.8)], 1),  # the lower loss where equal
        ([(0.5, 0.8), (0.5, 0.8), (0.5, 0.8)], 0),  # the first of equals
        ([(0.9, None), (0.4, None), (0.6, None)], 1),  # one class in validation: by loss
        ([(None, None)] * 3, 2),  # no validation: the last
    ],
)
def test_the_best_epoch_is_by_validation_auc(data, monkeypatch, outcomes, best):
    states = scripted(monkeypatch, outcomes)
    model, history = run(data, config=SETTINGS.model_copy(update={"epochs": 3}))
    assert history.best == best
    assert [(e.val_loss, e.val_auc) for e in history.epochs] == outcomes
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, states[best][name])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in model.state_dict())


def test_validation_is_measured_over_patients(data):
    model, history = run(data)
    scores = predict_patients(model, data.val, slides=data.slides, draw=data.draw, seed=3)
    p = np.array([scores[patient.patient_id][1] for patient in data.val])
    y = np.array([patient.label for patient in data.val])
    best = history.epochs[history.best]
    assert best.val_auc == pytest.approx(roc_auc_score(y, p))
    assert best.val_loss == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), rel=1e-6)


def same(first, second):
    return all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("redraw", [False, True])
def test_the_same_seed_gives_the_same_weights(data, redraw):
    bags = Bags(size=5, redraw=redraw)
    torch.manual_seed(100)
    first, history = run(data, bags=bags)
    torch.manual_seed(200)  # the caller's generator neither matters nor is touched
    before = torch.random.get_rng_state()
    again, history_again = run(data, bags=bags)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(first, again)
    assert history == history_again
    assert not same(first, run(data, bags=bags, seed=4)[0])


def test_validation_does_not_steer_the_training(data):
    fixed = SETTINGS.model_copy(update={"epochs": 4})
    _, with_val = run(data, config=fixed)
    _, without = run(without_val(data), config=fixed)
    assert [e.train_loss for e in with_val.epochs] == [e.train_loss for e in without.epochs]


def test_the_model_comes_back_in_evaluation_mode_on_the_cpu(data):
    model, _ = run(data, config=Training(epochs=1))
    assert not any(part.training for part in model.modules())
    assert {p.device.type for p in model.parameters()} == {"cpu"}


class Spy(Mapping):
    def __init__(self, slides):
        self.slides = slides
        self.read = set()

    def __getitem__(self, slide_id):
        self.read.add(slide_id)
        return self.slides[slide_id]

    def __iter__(self):
        return iter(self.slides)

    def __len__(self):
        return len(self.slides)


@pytest.mark.parametrize("redraw", [False, True])
def test_only_slides_of_training_and_validation_are_read(data, toy, redraw):
    test = toy(10, seed=5, name="test")
    spy = Spy({**data.slides, **test.slides})
    watched = TrainingData(train=data.train, val=data.val, slides=spy, draw=data.draw, classes=2)
    run(watched, bags=Bags(size=5, redraw=redraw), config=Training(epochs=2))
    assert spy.read == {s for p in (*data.train, *data.val) for s in p.slides}
    assert not spy.read & set(test.slides)


def drawn_in_training(data, monkeypatch, bags, epochs=4):
    """The bags of each epoch."""
    found = []
    make = feeding.batches

    def spy(chosen, **options):
        found.append([(b.slide_id, tuple(sorted(b.indices))) for b in chosen])
        return make(chosen, **options)

    monkeypatch.setattr(feeding, "batches", spy)
    run(without_val(data), bags=bags, config=Training(epochs=epochs))
    return found


def test_bags_are_drawn_once_or_anew_each_epoch(data, monkeypatch):
    once = drawn_in_training(data, monkeypatch, Bags(size=5))
    assert all(sorted(epoch) == sorted(once[0]) for epoch in once)
    assert once[0] != once[1]  # in another order
    anew = drawn_in_training(data, monkeypatch, Bags(size=5, redraw=True))
    assert sorted(anew[0]) != sorted(anew[1])


def test_a_limit_of_bags_is_chosen_anew_each_epoch(data, monkeypatch):
    all_bags = set(drawn_in_training(data, monkeypatch, Bags(size=5), epochs=1)[0])
    few = drawn_in_training(data, monkeypatch, Bags(size=5, per_epoch=1), epochs=12)
    assert all(len(epoch) == len(data.train) for epoch in few)
    assert len({bag for epoch in few for bag in epoch}) > 0.8 * len(all_bags)


def test_the_loss_weighs_patients_or_bags(data, monkeypatch):
    # Untrained and at a rate of next to nothing, the loss is that of the first weights.
    def loss(weight_by):
        still = Training(epochs=1, lr=1e-12, weight_by=weight_by, batch_size=10_000)
        monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)
        return run(without_val(data), config=still)

    def by_hand(weight_by):
        model, history = loss(weight_by)
        rng = np.random.default_rng(3)
        losses = []
        for patient in data.train:
            own = []
            for slide in patient.slides:
                for indices in data.draw(len(data.slides[slide]), rng):
                    x = torch.from_numpy(data.slides[slide][indices])
                    with torch.inference_mode():
                        logits = model(x, [len(indices)]).logits
                    own.append(float(-logits.log_softmax(1)[0, patient.label]))
            losses.append(own)
        flat = np.concatenate(losses).mean()
        expected = np.mean([np.mean(own) for own in losses]) if weight_by == "patient" else flat
        return history.epochs[0].train_loss, expected

    for weight_by in ("patient", "bag"):
        found, expected = by_hand(weight_by)
        assert found == pytest.approx(expected, rel=1e-5)


def test_a_training_that_diverges_says_so(data):
    data.slides[data.train[0].slides[0]][:] = np.inf
    with pytest.raises(ConfigError, match=r"diverged in epoch 1: its loss is no number\. Set a"):
        run(data)


def test_three_classes_are_validated_one_against_the_rest(toy, draw):
    some = toy(30, seed=6)
    people = [
        type(p)(p.patient_id, i % 3, p.slides, p.clinical) for i, p in enumerate(some.patients)
    ]
    data = TrainingData(people[:18], people[18:], some.slides, draw, 3)
    model, history = run(data, model=make_model(classes=3), config=Training(epochs=2))
    scores = predict_patients(model, data.val, slides=data.slides, draw=draw, seed=3)
    p = np.stack([scores[one.patient_id] for one in data.val])
    y = np.array([one.label for one in data.val])
    rest = [roc_auc_score(y == k, p[:, k]) for k in range(3)]
    assert history.epochs[history.best].val_auc == pytest.approx(np.mean(rest))


class TestEndToEnd:
    """With an encoder: small pictures, of which positive ones hold a bright patch."""

    @pytest.fixture
    def pictures(self, toy, draw):
        some = toy(12, seed=8)
        rng = np.random.default_rng(0)
        slides = {
            slide: rng.integers(0, 200, (len(x), 4, 4, 3), np.uint8)
            for slide, x in some.slides.items()
        }
        return TrainingData(some.patients[:8], some.patients[8:], slides, draw, 2)

    @staticmethod
    def encoder():
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, WIDTH, 2)
                self.norm = nn.BatchNorm2d(WIDTH)

            def forward(self, x):
                return self.norm(self.conv(x.float() / 255)).mean((2, 3))

        return Net()

    def test_the_encoder_learns_and_its_statistics_come_from_training_alone(self, pictures):
        make = make_model(encoder=self.encoder)
        model, history = run(pictures, config=Training(epochs=3, lr=0.01), model=make)
        # One step a bag of a training patient, up to the epoch that was kept, and no other.
        bags = sum(
            len(pictures.draw(len(pictures.slides[s]), np.random.default_rng(0)))
            for p in pictures.train
            for s in p.slides
        )
        epochs = history.best + 1
        norm = model.encoder.norm
        assert int(norm.num_batches_tracked) == epochs * bags
        alone, _ = run(without_val(pictures), config=Training(epochs=epochs, lr=0.01), model=make)
        assert torch.equal(norm.running_mean, alone.encoder.norm.running_mean)
        torch.manual_seed(3)
        assert not torch.equal(model.encoder.conv.weight, make().encoder.conv.weight)

    def test_augmentation_is_seeded_and_changes_the_training(self, pictures):
        config = Training(epochs=2, lr=0.01, augment=True)
        model = make_model(encoder=self.encoder)
        first, _ = run(pictures, config=config, model=model)
        again, _ = run(pictures, config=config, model=model)
        plain, _ = run(pictures, config=config.model_copy(update={"augment": False}), model=model)
        assert same(first, again)
        assert not same(first, plain)

    def test_augmented_patches_are_resized_in_bfloat16_too(self, pictures):
        def encoder():
            return build_encoder(Encoder(name="small_cnn", weights="none", input_px=28))

        found = {}
        for precision in ("float32", "bfloat16"):
            config = Training(epochs=1, lr=1e-4, augment=True, precision=precision)
            model = make_model(encoder=encoder, features=encoder().features)
            _, history = run(pictures, config=config, model=model)
            found[precision] = history.epochs[0].train_loss
        assert found["bfloat16"] == pytest.approx(found["float32"], abs=0.02)


def test_training_treats_denormal_numbers_as_zero_and_nothing_else_does(data):
    def tiny():
        return float(torch.tensor([1e-30]) * torch.tensor([1e-10]))

    seen = []
    config = SETTINGS.model_copy(update={"epochs": 1})
    run(data, config=config, on_epoch=lambda epoch: seen.append(tiny()))
    assert seen == [0.0]
    assert tiny() == pytest.approx(1e-40, rel=1e-4)
