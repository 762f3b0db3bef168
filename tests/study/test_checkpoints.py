"""The authors' checkpoints, imported, give what the authors' network gives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from torch import Tensor, nn

import axilla
from axilla.cohorts.bcnb import TASKS
from axilla.cohorts.bcnb_standard import STANDARDS
from axilla.core import store
from axilla.core.endpoint import class_names
from axilla.core.errors import AxillaError, ConfigError, StoreError, WeightsError
from axilla.core.types import Patient, Slide
from axilla.features.spec import IMAGENET_MEAN, IMAGENET_STD
from axilla.mil.bundle import Bundle, from_stored, to_stored
from axilla.mil.prediction import predict_patients
from axilla.study.bundles import encoder_of, read_bundle
from axilla.study.checkpoints import (
    ImportedCheckpoint,
    import_checkpoint,
)
from axilla.study.instances import instances_of
from axilla.study.model_card import model_card

SIDES = {"vgg16_bn": 64, "alexnet": 64, "resnet50": 64, "densenet121": 224, "inception_v3": 144}
"""Small where the net allows it: the authors' densenet121 has no pooling, so it needs 224 px, and
inception_v3 more than one pixel a map, of which a variance is worth little."""
WIDTHS = {
    "vgg16_bn": 512 * 7 * 7, "alexnet": 256 * 6 * 6, "resnet50": 2048, "densenet121": 1024 * 7 * 7,
    "inception_v3": 2048,
}  # fmt: skip


def vgg16_bn() -> nn.Sequential:
    """Thirteen convolutions of 3 x 3 with BatchNorm and ReLU, halved five times (VGG, D)."""
    layers: list[nn.Module] = []
    before = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(7))


def alexnet() -> nn.Sequential:
    """Five convolutions (Krizhevsky 2014, one column)."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(6))


def children_but_the_last(name: str) -> nn.Sequential:
    """What the authors keep of a torchvision network: its children without the classifier."""
    return nn.Sequential(*list(torchvision.models.get_model(name, weights=None).children())[:-1])


def inception_v3() -> nn.Module:
    """The authors' copy: no auxiliary head, the last layer there but unused, its dropout off."""
    net = torchvision.models.inception_v3(weights=None, transform_input=True, init_weights=False)
    net.AuxLogits, net.aux_logits, net.dropout = None, False, nn.Identity()
    unused, net.fc = net.fc, nn.Identity()
    net.fc.weight, net.fc.bias = unused.weight, unused.bias
    return net


EXTRACTORS: dict[str, Callable[[], nn.Module]] = {
    "vgg16_bn": vgg16_bn,
    "alexnet": alexnet,
    "resnet50": lambda: children_but_the_last("resnet50"),
    "densenet121": lambda: children_but_the_last("densenet121"),
    "inception_v3": inception_v3,
}


class Theirs(nn.Module):
    """DL-CNB as published, layer by layer, for one bag at a time; nothing of ours in it."""

    def __init__(self, encoder: str, *, clinical: bool, classes: int) -> None:
        super().__init__()
        self.width = WIDTHS[encoder]
        self.image_feature_extractor = nn.Module()
        self.image_feature_extractor.extractor = EXTRACTORS[encoder]()
        self.attention_aggregator = nn.Module()
        self.attention_aggregator.fc1 = nn.Sequential(
            nn.Linear(self.width, 256), nn.Dropout(), nn.ReLU()
        )
        self.attention_aggregator.attention = nn.Sequential(
            nn.Linear(256, 1), nn.Dropout(), nn.Tanh(), nn.Linear(1, 1), nn.Dropout()
        )
        self.classifier = nn.Sequential(
            nn.Linear(256 + 50 * clinical, 64), nn.ReLU(), nn.Linear(64, classes)
        )

    def forward(self, patches: Tensor, clinical: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [1, K] and attention [1, N] of patches [N, 3, h, w], normalised."""
        x = self.image_feature_extractor.extractor(patches).reshape(-1, self.width)
        h = self.attention_aggregator.fc1(x)
        attention = torch.softmax(self.attention_aggregator.attention(h).T, dim=1)
        z = attention @ h
        if clinical is not None:
            z = torch.cat([z, *[clinical] * 10], dim=1)
        return self.classifier(z), attention

    def at_test_time(self) -> Theirs:
        """As the authors' code scored: in training mode, but for dropout."""
        net = copy.deepcopy(self).train()
        for layer in net.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()
        return net


def pixels(n: int, side: int, *, seed: int) -> np.ndarray:
    """Patches [n, side, side, 3] that differ in brightness as well, so that statistics matter."""
    rng = np.random.default_rng(seed)
    level = rng.integers(40, 200, (n, 1, 1, 3))
    return (level + rng.integers(-40, 40, (n, side, side, 3))).astype(np.uint8)


def normalised(patches: np.ndarray) -> Tensor:
    x = torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255
    mean, sd = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (x - mean) / sd


def theirs(encoder: str, *, clinical: bool = False, classes: int = 2) -> Theirs:
    """With drawn weights, and running statistics gathered from two bags as in training."""
    torch.manual_seed(len(encoder))
    net = Theirs(encoder, clinical=clinical, classes=classes)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all bags
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.constant_(net.attention_aggregator.attention[3].weight, 3.0)  # it looks at something
    extract = net.image_feature_extractor.extractor
    with torch.no_grad():
        if encoder != "alexnet":  # which has no BatchNorm
            for seed in (1, 2):
                extract.train()(normalised(pixels(3, SIDES[encoder], seed=seed)))
        features = extract.eval()(normalised(pixels(3, SIDES[encoder], seed=3)))
        # Logits of the size that trained models have.
        net.attention_aggregator.fc1[0].weight /= features.std()
    return net.eval()


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
    encoder: str, clinical: bool, classes: int, tmp_path: Path
) -> None:
    net, side = theirs(encoder, clinical=clinical, classes=classes), SIDES[encoder]
    torch.save(net.state_dict(), tmp_path / "best.pth")
    lengths = [5, 4] if encoder == "inception_v3" else [3, 2]
    bags = [pixels(n, side, seed=10 + n) for n in lengths]
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
                logits, attention = original(normalised(bag), own)
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


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A checkpoint of DL-CNB with AlexNet, the smallest."""
    return theirs("alexnet").state_dict()


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(value: Any, name: str = "best.pth") -> Path:
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return write


def into(path: Path, **options: Any) -> ImportedCheckpoint:
    return import_checkpoint(path, **{"encoder": "alexnet", "out": path.parent / "m", **options})


def test_full_size_through_the_whole_of_prediction(tmp_path: Path) -> None:
    net = theirs("vgg16_bn", clinical=True)
    torch.save(net.state_dict(), tmp_path / "best.pth")
    done = axilla.import_checkpoint(
        tmp_path / "best.pth", encoder="vgg16_bn", clinical=True, batch_norm="batch",
        out=tmp_path / "m",
    )  # fmt: skip
    bundle = axilla.read_bundle(done.folder)
    slides = {"s": pixels(4, 224, seed=3)}
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
            net.at_test_time()(normalised(slides["s"][bag]), vector)[0].softmax(1) for bag in bags
        ]
    np.testing.assert_allclose(scores["1"], torch.cat(expected).mean(0), rtol=0, atol=1e-5)


def test_the_record_says_where_it_comes_from(save, state) -> None:
    path = save(state)
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


def test_the_card_of_an_import_says_what_is_not_known(save, state, tmp_path: Path) -> None:
    net = theirs("resnet50", clinical=True)
    path = save(net.state_dict(), "r.pth")
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
    assert "normalisation" not in model_card(into(save(state)).folder)


def test_a_bundle_comes_back_as_it_was(save, tmp_path: Path) -> None:
    net = theirs("alexnet", clinical=True, classes=3)
    done = into(save(net.state_dict()), clinical=True, batch_norm="batch")
    bundle = read_bundle(done.folder)
    store.write_model(tmp_path / "copy", to_stored(bundle), key="k")
    back = read_bundle(tmp_path / "copy")
    assert back.preprocessor == bundle.preprocessor
    assert (back.classes, back.method) == (class_names(TASKS[2]), "dl-cnb+c")
    assert back.network.batch_norm == "batch"
    for name, tensor in back.network.state_dict().items():
        assert torch.equal(tensor, bundle.network.state_dict()[name])


@pytest.mark.parametrize("task", [None, *range(5)])
def test_the_task_names_the_classes_and_the_standard(save, task: int | None) -> None:
    classes = 3 if task in {None, 2} else 2
    net = theirs("alexnet", clinical=True, classes=classes)
    done = into(save(net.state_dict()), clinical=True, task=task)
    endpoint = TASKS[2 if task is None else task]
    bundle = read_bundle(done.folder)
    assert done.classes == class_names(endpoint)
    assert bundle.preprocessor.means == STANDARDS[endpoint][::2]
    assert bundle.preprocessor.sds == STANDARDS[endpoint][1::2]


@pytest.mark.real_data
@pytest.mark.parametrize("task", range(5))
def test_the_five_inputs_are_the_authors_own(save, data_dir: Path, task: int) -> None:
    table = pd.read_csv(data_dir / "bcnb" / "clinical.csv").set_index("patient_id")
    training = table[table["split" if task == 0 else f"split_task{task}"] == "train"]
    expected = [
        figure
        for column in ("age", "tumor_size_cm")
        for figure in (training[column].mean(), training[column].std(ddof=0))
    ]
    np.testing.assert_allclose(STANDARDS[TASKS[task]], expected, rtol=1e-13)
    net = theirs("alexnet", clinical=True, classes=3 if task == 2 else 2)
    done = into(save(net.state_dict()), clinical=True, task=task)
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
def test_ways_in_which_it_may_have_been_saved(save, state, wrapper: str | None) -> None:
    value: Any = state
    if wrapper == "module.":
        value = {f"module.{name}": tensor for name, tensor in state.items()}
    elif wrapper is not None:
        value = {wrapper: state, "epoch": 12, "best_auc": 0.8}
    network = read_bundle(into(save(value)).folder).network
    assert torch.equal(network.project[0].weight, state["attention_aggregator.fc1.0.weight"])
    first = "image_feature_extractor.extractor.0.0.weight"
    assert torch.equal(network.encoder.body[0][0].weight, state[first])


def test_a_checkpoint_of_an_old_pytorch_counts_no_batches(save) -> None:
    state = theirs("resnet50").state_dict()
    old = {n: t.half() for n, t in state.items() if not n.endswith("num_batches_tracked")}
    network = read_bundle(into(save(old), encoder="resnet50").folder).network
    assert int(network.encoder.body.bn1.num_batches_tracked) == 0
    assert network.encoder.body.conv1.weight.dtype == torch.float32


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def refusal(path: Path, **options: Any) -> AxillaError:
    with pytest.raises(AxillaError) as caught:
        into(path, **options)
    assert not (path.parent / "m").exists(), "nothing is written"
    return caught.value


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"<!DOCTYPE html>\n<html>Sign in</html>", "this is a web page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "only a pointer to the file"),
        (b"", "cut off, damaged, or no checkpoint"),
        (b"garbage", "cut off, damaged, or no checkpoint"),
        (b"\x80\x02.", "cut off, damaged, or no checkpoint"),
        (b"PK\x03\x04broken", "cut off, damaged, or no checkpoint"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "best.pth"
    path.write_bytes(content)
    error = refusal(path)
    assert isinstance(error, WeightsError)
    assert cause in error.problem.cause
    assert error.problem.file == path


def test_a_truncated_checkpoint(save, state) -> None:
    path = save(state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    error = refusal(path)
    assert "cut off" in error.problem.cause
    assert error.problem.remedy == (
        "Copy or download it again, and compare its size with the source's."
    )


def test_no_such_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "gone.pth")
    assert error.problem.cause == "there is no such file."
    assert error.problem.file == tmp_path / "gone.pth"


def test_code_in_a_checkpoint_is_never_run(save, state, tmp_path: Path) -> None:
    bomb = {**state, "x": Bomb(tmp_path / "pwned")}
    old = tmp_path / "old.pth"
    old.write_bytes(pickle.dumps(Bomb(tmp_path / "pwned"), protocol=2))
    for path in (save(bomb), save(nn.Linear(2, 2), "whole.pth"), old):
        error = refusal(path)
        assert "Python objects besides weights" in error.problem.cause
        assert "torch.save(model.state_dict(), 'best.pth')" in error.problem.remedy
    assert not (tmp_path / "pwned").exists()


FC1 = "attention_aggregator.fc1.0.weight"
FIRST = "image_feature_extractor.extractor.0.0.weight"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({FC1: None}, f"the matrix `{FC1}` is missing"),
        ({FIRST: None}, f"does not fit alexnet: it lacks `{FIRST}` (1 such)"),
        (
            {FIRST: torch.zeros(64, 3, 7, 7)},
            f"`{FIRST}` is 64 x 3 x 7 x 7 instead of 64 x 3 x 11 x 11",
        ),
        (
            {"attention_aggregator.attention.0.weight": torch.zeros(128, 256)},
            "does not fit the paper's head: `attention_aggregator.attention.0.weight` is 128 x 256",
        ),
        ({"classifier.0.weight": torch.zeros(64, 300)}, "300 inputs, neither 256"),
        ({"classifier.2.weight": torch.zeros(5, 64)}, "last layer gives 5"),
        ({"status.0.weight": torch.zeros(2)}, "nothing takes its `status.0.weight` (1 such)"),
        ({"classifier.2.bias": torch.tensor([0, torch.nan])}, "`classifier.2.bias` hold values"),
    ],
)
def test_checkpoints_that_do_not_fit(save, state, change: dict[str, Any], cause: str) -> None:
    changed = {n: t for n, t in {**state, **change}.items() if t is not None}
    path = save(changed)
    error = refusal(path)
    assert isinstance(error, WeightsError)
    assert cause in error.problem.cause
    assert error.problem.file == path
    assert error.problem.remedy


def test_another_encoder_is_named(save, state) -> None:
    error = refusal(save(state), encoder="vgg16_bn")
    assert error.problem.cause == (
        "the model's encoder gives 9,216 numbers a patch, and vgg16_bn 25,088."
    )
    assert error.problem.remedy == "Give --encoder alexnet."
    # Both give 2,048 numbers: the names of the layers tell.
    path = save(theirs("resnet50").state_dict(), "r.pth")
    error = refusal(path, encoder="inception_v3")
    assert "does not fit inception_v3: it lacks" in error.problem.cause
    error = refusal(path, encoder="small_cnn")
    assert isinstance(error, ConfigError)
    assert "vgg16_bn" in error.problem.remedy


def test_a_file_of_other_tensors(save) -> None:
    assert "this is no model of the paper" in refusal(save({"a": torch.zeros(2)})).problem.cause
    assert "holds no state dict" in refusal(save([torch.zeros(2)])).problem.cause
    assert "holds no state dict" in refusal(save({"a": 3})).problem.cause


def test_options_that_contradict_the_checkpoint(save, state) -> None:
    path = save(state)
    assert refusal(path, clinical=True).problem.remedy == "Leave out --clinical."
    assert "has 2 classes, and task 2 3" in refusal(path, task=2).problem.cause
    fused = save(theirs("alexnet", clinical=True).state_dict(), "c.pth")
    assert refusal(fused).problem.remedy == "Add --clinical."


def test_a_folder_with_another_model_is_kept(save, state) -> None:
    path = save(state)
    done = into(path)
    again = into(path)
    assert again == done
    with pytest.raises(StoreError, match="holds another model") as caught:
        into(path, batch_norm="batch")
    assert caught.value.problem.file == done.folder / "model.json"
    assert store.read_model(done.folder).record["batch_norm"] == "running"


def test_a_record_with_a_third_way_is_refused(save, state) -> None:
    stored = store.read_model(into(save(state)).folder)
    changed = store.StoredModel(stored.tensors, {**stored.record, "batch_norm": "both"})
    with pytest.raises(StoreError, match="neither running nor batch"):
        from_stored(changed, make_encoder=lambda record: alexnet())
