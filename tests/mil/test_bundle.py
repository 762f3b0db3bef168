from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from axilla.core.config import Aggregator, Bags, Clinical, Training
from axilla.core.errors import StoreError
from axilla.core.store import StoredModel, read_model, write_model
from axilla.core.types import Patient
from axilla.mil.bundle import Bundle, Member, from_stored, to_stored
from axilla.mil.clinical import fit_logistic, fit_preprocessor
from axilla.mil.model import DLCNB
from axilla.mil.prediction import predict_patients
from axilla.mil.training import TrainingData, train

CONFIG = Clinical(numeric=("age", "size"), categorical=("er",))
AGGREGATOR = Aggregator(kind="gated", width=16, attention=8)
TOLD = {
    "endpoint": "n0-vs-npos", "members": [{"key": "k", "seed": 1}],
    "threshold": {"rule": 0.5, "value": 0.5}, "versions": {"axilla": "0.1.0"},
}  # fmt: skip
HEAD = TOLD | {"aggregator": AGGREGATOR.model_dump(mode="json")}


@pytest.fixture
def patients(patient) -> list[Patient]:
    rng = np.random.default_rng(0)
    return [
        patient(f"secret-{i}", label=i % 2, age=rng.normal(), size=rng.normal()) for i in range(20)
    ]


def round_trip(bundle: Bundle, folder: Path, *, make_encoder=None) -> Bundle:
    write_model(folder, to_stored(bundle), key="k")
    return from_stored(read_model(folder), make_encoder=make_encoder or pytest.fail)


def test_a_regression_comes_back_and_predicts_the_same(patients, tmp_path: Path):
    model = fit_logistic(patients, classes=2, config=CONFIG)
    bundle = Bundle.single("clinical", ("N0", "N(+)"), TOLD, clinical_model=model)
    back = round_trip(bundle, tmp_path)
    np.testing.assert_array_equal(back.clinical_model.predict(patients), model.predict(patients))
    assert back.clinical_model.preprocessor == model.preprocessor
    assert (back.method, back.classes) == ("clinical", ("N0", "N(+)"))
    assert back.record["endpoint"] == "n0-vs-npos"
    assert back.network is None


@pytest.fixture
def trained(patients, toy, draw):
    """A trained DL-CNB+C and the patients as it sees them."""
    some = toy(20, seed=1)
    preprocessor = fit_preprocessor(patients, config=CONFIG)
    people = [
        replace(one, patient_id=known.patient_id, clinical=preprocessor.transform([known])[0])
        for one, known in zip(some.patients, patients, strict=True)
    ]
    data = TrainingData(people[:14], people[14:], some.slides, draw, 2)
    network, _ = train(
        lambda: DLCNB(
            encoder=None, features=12, clinical=preprocessor.width, classes=2, config=AGGREGATOR
        ),
        data, config=Training(epochs=2), bags=Bags(size=5), seed=1,
    )  # fmt: skip
    record = HEAD | {"encoder": {"name": "vgg16_bn"}}
    bundle = Bundle.single(
        "dl-cnb+c", ("N0", "N(+)"), record, network=network, preprocessor=preprocessor
    )
    return bundle, people, some.slides


def test_a_network_comes_back_and_predicts_the_same(trained, draw, tmp_path: Path):
    bundle, people, slides = trained
    back = round_trip(bundle, tmp_path)
    assert back.preprocessor == bundle.preprocessor
    assert not back.network.training
    scores = [
        predict_patients(network, people, slides=slides, draw=draw, seed=1)
        for network in (bundle.network, back.network)
    ]
    for patient in people:
        np.testing.assert_array_equal(*(found[patient.patient_id] for found in scores))


def test_no_patient_is_in_the_bundle(trained, tmp_path: Path):
    bundle, people, _ = trained
    round_trip(bundle, tmp_path)
    text = (tmp_path / "model.json").read_text() + str(
        (tmp_path / "model.safetensors").read_bytes()
    )
    assert "secret" not in text
    assert not any(patient.patient_id in text for patient in people)


class Encoder(nn.Module):
    """A convolution and batch normalisation, channels last, as encoders are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 2), nn.BatchNorm2d(12)).to(
            memory_format=torch.channels_last
        )

    def forward(self, x):
        return self.body(x.float()).mean((2, 3))


def test_a_trained_encoder_is_part_of_the_bundle(tmp_path: Path):
    torch.manual_seed(0)
    network = DLCNB(encoder=Encoder(), features=12, clinical=0, classes=3, config=AGGREGATOR)
    x = torch.rand(4, 3, 5, 5)
    network.train()(x, [4])  # moves the running statistics
    network.eval()
    asked = []

    def make_encoder(record):
        asked.append(record)
        return Encoder()

    record = HEAD | {"encoder": {"name": "small_cnn"}}
    bundle = Bundle.single("dl-cnb", ("a", "b", "c"), record, network=network)
    back = round_trip(bundle, tmp_path, make_encoder=make_encoder)
    assert asked == [{"name": "small_cnn"}]
    with torch.inference_mode():
        assert torch.equal(back.network(x, [4]).logits, network(x, [4]).logits)
    assert int(back.network.encoder.body[1].num_batches_tracked) == 1


@pytest.mark.parametrize("change", ["classes", "architecture", "aggregator", "weights"])
def test_a_record_that_does_not_describe_its_weights(trained, change):
    stored = to_stored(trained[0])
    record, tensors = dict(stored.record), dict(stored.tensors)
    if change == "classes":
        record["classes"] = ["a", "b", "c"]
    elif change == "weights":
        del tensors["project.0.bias"]
    else:
        del record[change]
    with pytest.raises(StoreError, match="does not describe its weights"):
        from_stored(StoredModel(tensors=tensors, record=record), make_encoder=pytest.fail)


def test_an_empty_bundle_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="a clinical model or a network"):
        to_stored(Bundle.single("clinical", ("a", "b"), {}))


def test_a_single_model_keeps_the_layout_of_its_file(trained):
    stored = to_stored(trained[0])
    assert set(stored.tensors) == set(trained[0].network.state_dict())
    assert stored.record["architecture"] == {
        "kind": "dl-cnb", "features": 12, "clinical": 3, "end_to_end": False,
    }  # fmt: skip


@pytest.fixture
def ensemble(trained, patients) -> Bundle:
    """Three members, the last of a fold that saw other patients: its preprocessor is its own."""
    one = trained[0]
    other = fit_preprocessor(patients[:11], config=CONFIG)
    members = [one.members[0]]
    for seed, preprocessor in ((1, one.preprocessor), (2, other)):
        torch.manual_seed(seed)
        network = DLCNB(
            encoder=None, features=12, clinical=preprocessor.width, classes=2, config=AGGREGATOR
        ).eval()
        members.append(Member(network=network, preprocessor=preprocessor))
    told = [{"key": f"k{i}", "seed": i} for i in range(3)]
    return Bundle(one.method, one.classes, {**one.record, "members": told}, tuple(members))


def test_members_come_back_with_their_own_weights_and_preprocessors(ensemble, tmp_path: Path):
    back = round_trip(ensemble, tmp_path)
    stored = read_model(tmp_path)
    assert {name.partition(".")[0] for name in stored.tensors} == {"member0", "member1", "member2"}
    assert [m["clinical"] is None for m in stored.record["members"]] == [True, True, False]
    for was, now in zip(ensemble.members, back.members, strict=True):
        assert now.preprocessor == was.preprocessor
        state = was.network.state_dict()
        assert {n: torch.equal(t, state[n]) for n, t in now.network.state_dict().items()} == (
            dict.fromkeys(state, True)
        )


@pytest.mark.parametrize("change", ["stray", "lacking", "fewer"])
def test_tensors_that_are_not_those_of_the_members(ensemble, change):
    stored = to_stored(ensemble)
    record, tensors = dict(stored.record), dict(stored.tensors)
    if change == "stray":
        tensors["member7.project.0.bias"] = np.zeros(3, np.float32)
    elif change == "lacking":
        del tensors["member2.project.0.bias"]
    else:
        record["members"] = record["members"][:1]
    with pytest.raises(StoreError, match="does not describe its weights"):
        from_stored(StoredModel(tensors=tensors, record=record), make_encoder=pytest.fail)


def test_a_clinical_model_of_an_unknown_kind(patients):
    model = fit_logistic(patients, classes=2, config=CONFIG)
    stored = to_stored(Bundle.single("clinical", ("N0", "N(+)"), TOLD, clinical_model=model))
    record = {**stored.record, "architecture": {"kind": "oracle"}}
    with pytest.raises(StoreError, match="oracle is no kind of model that this axilla knows"):
        from_stored(StoredModel(tensors=stored.tensors, record=record), make_encoder=pytest.fail)
