"""The authors' checkpoints, imported, give what the authors' network gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import axilla
from axilla.cohorts.bcnb import TASKS
from axilla.cohorts.bcnb_standard import STANDARDS
from axilla.core import store
from axilla.core.endpoint import class_names
from axilla.core.errors import StoreError
from axilla.core.types import Patient, Slide
from axilla.mil.bundle import Bundle, from_stored, to_stored
from axilla.mil.prediction import predict_patients
from axilla.study.bundles import encoder_of, read_bundle
from axilla.study.checkpoints import ImportedCheckpoint, import_checkpoint
from axilla.study.instances import instances_of
from axilla.study.model_card import model_card


def small(stored: store.StoredModel, side: int, *, batch_norm: str) -> Bundle:
    """The bundle with its encoder fed patches of this side, through the record."""
    encoder = {**stored.record["encoder"], "input_px": side}
    record = {**stored.record, "encoder": encoder, "batch_norm": batch_norm}
    return from_stored(store.StoredModel(stored.tensors, record), make_encoder=encoder_of)


CASES = [
    ("vgg16_bn", True, 2), ("vgg16_bn", False, 3), ("alexnet", False, 2), ("alexnet", True, 3),
    ("resnet50", True, 2), ("densenet121", False, 2), ("inception_v3", True, 2),
]  # fmt: skip


@pytest.mark.parametrize(("encoder", "clinical", "classes"), CASES)
def test_logits_and_attention_are_the_originals(
    encoder: str, clinical: bool, classes: int, tmp_path: Path, dl_cnb: Any
) -> None:
    net, side = dl_cnb.theirs(encoder, clinical=clinical, classes=classes), dl_cnb.SIDES[encoder]
    torch.save(net.state_dict(), tmp_path / "best.pth")
    lengths = [5, 4] if encoder == "inception_v3" else [3, 2]
    bags = [dl_cnb.pixels(n, side, seed=10 + n) for n in lengths]
    vectors = torch.randn(2, 5) if clinical else None
    done = into(tmp_path / "best.pth", encoder=encoder, clinical=clinical)
    assert len(done.classes) == classes
    stored = store.read_model(done.folder)
    said = {}
    for batch_norm in ("running", "batch"):
        network = small(stored, side, batch_norm=batch_norm).network
        assert network is not None
        assert not network.training
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        original = net if batch_norm == "running" else net.at_test_time()
        together = torch.from_numpy(np.concatenate(bags)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            ours = network(together, lengths, vectors)
            for index, (bag, n) in enumerate(zip(bags, lengths, strict=True)):
                own = None if vectors is None else vectors[index : index + 1]
                logits, attention = original(dl_cnb.normalised(bag), own)
                close = {"rtol": 0, "atol": 1e-5}
                torch.testing.assert_close(ours.logits[index : index + 1], logits, **close)
                torch.testing.assert_close(ours.attention[index, :n], attention[0], **close)
                assert (ours.attention[index, n:] == 0).all()
                assert attention.max() > 1.01 * attention.min(), "attention that says something"
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, before[name]), f"{name}: prediction changes nothing"
        said[batch_norm] = ours.logits
    difference = float((said["running"] - said["batch"]).abs().max())
    assert (difference < 1e-5) if encoder == "alexnet" else (difference > 1e-3)


def into(path: Path, **options: Any) -> ImportedCheckpoint:
    return import_checkpoint(path, **{"encoder": "alexnet", "out": path.parent / "m", **options})


def test_full_size_through_the_whole_of_prediction(tmp_path: Path, dl_cnb: Any) -> None:
    net = dl_cnb.theirs("vgg16_bn", clinical=True)
    torch.save(net.state_dict(), tmp_path / "best.pth")
    done = axilla.import_checkpoint(
        tmp_path / "best.pth", encoder="vgg16_bn", clinical=True, batch_norm="batch",
        out=tmp_path / "m",
    )  # fmt: skip
    bundle = axilla.read_bundle(done.folder)
    slides = {"s": dl_cnb.pixels(4, 224, seed=3)}
    clinical = {"age": 61.0, "tumor_size_cm": 1.5, "er": "positive", "pr": "Negative",
                "her2": "negative"}  # fmt: skip
    patient = Patient("1", 0, (Slide("s", "1", (Path("s.jpg"),)),), clinical)
    bags = [np.array([0, 1]), np.array([2, 3])]
    scores = predict_patients(
        bundle.network,
        instances_of((patient,), preprocessor=bundle.preprocessor),
        slides=slides, draw=lambda n, rng: bags, seed=1,
    )  # fmt: skip
    mean, sd, size_mean, size_sd = STANDARDS["n0-vs-npos"]
    vector = torch.tensor([[(61 - mean) / sd, (1.5 - size_mean) / size_sd, 0, 1, 1]])
    with torch.inference_mode():
        expected = [
            net.at_test_time()(dl_cnb.normalised(slides["s"][bag]), vector)[0].softmax(1)
            for bag in bags
        ]
    np.testing.assert_allclose(scores["1"], torch.cat(expected).mean(0), rtol=0, atol=1e-5)


def test_the_record_says_where_it_comes_from(save_checkpoint, alexnet_state) -> None:
    path = save_checkpoint(alexnet_state)
    done = into(path)
    assert done.method == "dl-cnb"
    assert done.classes == ("N0", "N(+)")
    record = store.read_model(done.folder).record
    assert record["original"] is True
    assert record["batch_norm"] == "running"
    assert record["source"] == {
        "file": "best.pth", "sha256": store.file_identity(path, content=True), "task": 0,
    }  # fmt: skip
    assert record["encoder"]["original"] is True
    assert record["aggregator"]["original"] is True
    assert record["threshold"]["value"] == 0.5
    assert record["clinical"] is None
    assert str(path.parent) not in (done.folder / "model.json").read_text()
    assert any("--task says another" in note for note in done.notes)
    assert into(path, task=0, out=path.parent / "again").notes == ()


def test_the_card_of_an_import_says_what_is_not_known(
    save_checkpoint, alexnet_state, tmp_path: Path, dl_cnb: Any
) -> None:
    net = dl_cnb.theirs("resnet50", clinical=True)
    path = save_checkpoint(net.state_dict(), "r.pth")
    cards = {
        how: model_card(
            into(path, encoder="resnet50", clinical=True, batch_norm=how, out=tmp_path / how).folder
        )
        for how in ("running", "batch")
    }
    for card in cards.values():
        for said in (
            "Licence of these weights: not known", "weights it began with are not known",
            "No cohort chose this threshold, and on none was it tested",
            "it is not known which patients trained the model, chose its epoch, or were kept apart",
            "the versions that trained it are not known", "Key of the import:",
            "age mean 57.84, SD 12.45",
        ):  # fmt: skip
            assert said in card
        for false in ("drawn at random", "first weights", "no patients were kept", "fixed"):
            assert false not in card
    assert "mostly those of the last test bags" in cards["running"]
    assert "uses the bag's own patches (batch)" in cards["batch"]
    # AlexNet has no batch normalisation to speak of.
    assert "normalisation" not in model_card(into(save_checkpoint(alexnet_state)).folder)


def test_a_bundle_comes_back_as_it_was(save_checkpoint, tmp_path: Path, dl_cnb: Any) -> None:
    net = dl_cnb.theirs("alexnet", clinical=True, classes=3)
    done = into(save_checkpoint(net.state_dict()), clinical=True, batch_norm="batch")
    bundle = read_bundle(done.folder)
    store.write_model(tmp_path / "copy", to_stored(bundle), key="k")
    back = read_bundle(tmp_path / "copy")
    assert back.preprocessor == bundle.preprocessor
    assert (back.classes, back.method) == (class_names(TASKS[2]), "dl-cnb+c")
    assert back.network.batch_norm == "batch"
    for name, tensor in back.network.state_dict().items():
        assert torch.equal(tensor, bundle.network.state_dict()[name])


@pytest.mark.parametrize("task", [None, *range(5)])
def test_the_task_names_the_classes_and_the_standard(
    save_checkpoint, task: int | None, dl_cnb: Any
) -> None:
    classes = 3 if task in {None, 2} else 2
    net = dl_cnb.theirs("alexnet", clinical=True, classes=classes)
    done = into(save_checkpoint(net.state_dict()), clinical=True, task=task)
    endpoint = TASKS[2 if task is None else task]
    bundle = read_bundle(done.folder)
    assert done.classes == class_names(endpoint)
    assert bundle.preprocessor.means == STANDARDS[endpoint][::2]
    assert bundle.preprocessor.sds == STANDARDS[endpoint][1::2]


@pytest.mark.real_data
@pytest.mark.parametrize("task", range(5))
def test_the_five_inputs_are_the_authors_own(
    save_checkpoint, data_dir: Path, task: int, dl_cnb: Any
) -> None:
    table = pd.read_csv(data_dir / "bcnb" / "clinical.csv").set_index("patient_id")
    training = table[table["split" if task == 0 else f"split_task{task}"] == "train"]
    expected = [
        figure
        for column in ("age", "tumor_size_cm")
        for figure in (training[column].mean(), training[column].std(ddof=0))
    ]
    np.testing.assert_allclose(STANDARDS[TASKS[task]], expected, rtol=1e-13)
    net = dl_cnb.theirs("alexnet", clinical=True, classes=3 if task == 2 else 2)
    done = into(save_checkpoint(net.state_dict()), clinical=True, task=task)
    authors = pd.read_excel(
        data_dir / "bcnb" / "clinical_preprocessed" / f"preprocessed-type-{task}.xlsx",
        index_col="p_id",
    )
    rows = table.loc[authors.index].to_dict("records")
    patients = [Patient(str(i), 0, (), row) for i, row in zip(authors.index, rows, strict=True)]
    found = read_bundle(done.folder).preprocessor.transform(patients)
    assert found.shape == (len(authors), 5)
    np.testing.assert_allclose(found, authors.to_numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "net", "module."])
def test_ways_in_which_it_may_have_been_saved(
    save_checkpoint, alexnet_state, wrapper: str | None
) -> None:
    value: Any = alexnet_state
    if wrapper == "module.":
        value = {f"module.{name}": tensor for name, tensor in alexnet_state.items()}
    elif wrapper is not None:
        value = {wrapper: alexnet_state, "epoch": 12, "best_auc": 0.8}
    network = read_bundle(into(save_checkpoint(value)).folder).network
    assert torch.equal(
        network.project[0].weight, alexnet_state["attention_aggregator.fc1.0.weight"]
    )
    first = "image_feature_extractor.extractor.0.0.weight"
    assert torch.equal(network.encoder.body[0][0].weight, alexnet_state[first])


def test_a_checkpoint_of_an_old_pytorch_counts_no_batches(save_checkpoint, dl_cnb: Any) -> None:
    state = dl_cnb.theirs("resnet50").state_dict()
    old = {n: t.half() for n, t in state.items() if not n.endswith("num_batches_tracked")}
    network = read_bundle(into(save_checkpoint(old), encoder="resnet50").folder).network
    assert int(network.encoder.body.bn1.num_batches_tracked) == 0
    assert network.encoder.body.conv1.weight.dtype == torch.float32


def test_a_folder_with_another_model_is_kept(save_checkpoint, alexnet_state) -> None:
    path = save_checkpoint(alexnet_state)
    done = into(path)
    again = into(path)
    assert again == done
    with pytest.raises(StoreError, match="holds another model") as caught:
        into(path, batch_norm="batch")
    assert caught.value.problem.file == done.folder / "model.json"
    assert store.read_model(done.folder).record["batch_norm"] == "running"


def test_a_record_with_a_third_way_is_refused(save_checkpoint, alexnet_state, dl_cnb: Any) -> None:
    stored = store.read_model(into(save_checkpoint(alexnet_state)).folder)
    changed = store.StoredModel(stored.tensors, {**stored.record, "batch_norm": "both"})
    with pytest.raises(StoreError, match="neither running nor batch"):
        from_stored(changed, make_encoder=lambda record: dl_cnb.alexnet())
