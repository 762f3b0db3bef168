from __future__ import annotations

import numpy as np
import pytest
import torch

from axilla.core.config import Aggregator
from axilla.core.errors import CohortError
from axilla.mil.batches import PatientInstances
from axilla.mil.model import DLCNB
from axilla.mil.prediction import fixed_bags, patch_attention, predict_patients, score_bags


@pytest.fixture(scope="module")
def model() -> DLCNB:
    torch.manual_seed(0)
    return DLCNB(
        encoder=None, features=12, clinical=0, classes=2,
        config=Aggregator(width=16, attention=8, dropout=0.5),
    )  # fmt: skip


def test_a_score_is_the_mean_over_all_bags_of_all_slides(model, toy, draw):
    some = toy(6, seed=0)
    scores = predict_patients(model, some.patients, slides=some.slides, draw=draw, seed=7)
    bags = fixed_bags(some.patients, slides=some.slides, draw=draw, seed=7)
    assert {bag.slide_id for bag in bags} == set(some.slides)
    for patient in some.patients:
        own = []
        for bag in bags:
            if bag.patient is patient:
                x = torch.from_numpy(some.slides[bag.slide_id][bag.indices])
                with torch.inference_mode():
                    logits = model.eval()(x, [len(x)]).logits
                own.append(logits.double().softmax(1)[0].numpy())
        np.testing.assert_allclose(scores[patient.patient_id], np.mean(own, axis=0), atol=1e-7)
        assert scores[patient.patient_id].sum() == pytest.approx(1)
    assert list(scores) == [p.patient_id for p in some.patients]


def test_a_patients_score_does_not_depend_on_who_else_is_predicted(model, toy, draw):
    some = toy(9, seed=1)
    everybody = predict_patients(model, some.patients, slides=some.slides, draw=draw, seed=7)
    for patient in some.patients:
        alone = predict_patients(model, [patient], slides=some.slides, draw=draw, seed=7)
        np.testing.assert_allclose(
            alone[patient.patient_id], everybody[patient.patient_id], atol=1e-7
        )
    turned = predict_patients(model, some.patients[::-1], slides=some.slides, draw=draw, seed=7)
    for patient, score in turned.items():
        np.testing.assert_allclose(score, everybody[patient], atol=1e-7)


def test_prediction_is_in_evaluation_mode_and_repeats(model, toy, draw):
    some = toy(4, seed=2)
    model.train()
    first = predict_patients(model, some.patients, slides=some.slides, draw=draw, seed=7)
    assert not model.training
    model.train()
    again = predict_patients(model, some.patients, slides=some.slides, draw=draw, seed=7)
    for patient, score in first.items():
        np.testing.assert_array_equal(score, again[patient])


def test_the_seed_draws_the_bags(toy, draw):
    some = toy(4, seed=2)

    def drawn(seed):
        bags = fixed_bags(some.patients, slides=some.slides, draw=draw, seed=seed)
        return [bag.indices.tolist() for bag in bags]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_patient_without_patches_is_no_nan(model, draw):
    gone = PatientInstances("gone", 0, ("s",), None)
    with pytest.raises(CohortError, match="patient gone"):
        predict_patients(
            model, [gone], slides={"s": np.zeros((0, 12), np.float32)}, draw=draw, seed=0
        )


def test_attention_of_each_bag_is_without_its_padding(model, toy, draw):
    some = toy(5, seed=3)
    bags = fixed_bags(some.patients, slides=some.slides, draw=draw, seed=0)
    for bag, (score, attention) in zip(
        bags, score_bags(model, bags, slides=some.slides), strict=True
    ):
        assert attention.shape == (len(bag.indices),)
        assert attention.sum() == pytest.approx(1, abs=1e-6)
        assert score.dtype == np.float64


def test_attention_of_every_patch_of_a_slide(model, toy):
    some = toy(1, seed=4)
    (slide,) = some.patients[0].slides
    total = len(some.slides[slide])

    def halves(n, rng):
        return np.array_split(rng.permutation(n), 2)

    def whole(n, rng):
        return [rng.permutation(n)]

    found = patch_attention(
        model, some.patients[0], slide, slides=some.slides, cover=halves, seed=0, draws=3
    )
    assert found.shape == (total,)
    assert found.mean() == pytest.approx(1, abs=0.1)
    again = patch_attention(
        model, some.patients[0], slide, slides=some.slides, cover=halves, seed=0, draws=3
    )
    np.testing.assert_array_equal(found, again)
    # In one bag of the whole slide it is the bag's attention times its size.
    x = torch.from_numpy(some.slides[slide])
    with torch.inference_mode():
        attention = model.eval()(x, [total]).attention[0].numpy()
    one = patch_attention(
        model, some.patients[0], slide, slides=some.slides, cover=whole, seed=0, draws=1
    )
    np.testing.assert_allclose(one, attention * total, rtol=1e-5)
