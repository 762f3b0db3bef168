from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from axilla.core.config import Aggregator, Bags, Training
from axilla.core.errors import StoreError
from axilla.core.store import TrainingState, read_training_state, write_training_state
from axilla.mil import resuming
from axilla.mil.feeding import TrainingData
from axilla.mil.history import history_csv
from axilla.mil.model import DLCNB
from axilla.mil.resuming import CHECKPOINT, Keeping
from axilla.mil.training import train

WIDTH = 12
SETTINGS = {"epochs": 9, "lr": 0.01, "batch_size": 8, "restarts": {"t0": 3, "mult": 2}}


class Killed(Exception):  # noqa: N818 - not an error of anybody
    pass


class Net(nn.Module):
    """An encoder with everything that has a state of its own: BatchNorm, dropout, channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 2).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(self.norm(self.conv(x.float() / 255)).mean((2, 3)))


def make_model(*, encoder=None):
    return lambda: DLCNB(
        encoder=None if encoder is None else encoder(), features=WIDTH, clinical=0, classes=2,
        config=Aggregator(width=16, attention=8, dropout=0.25),
    )  # fmt: skip


@pytest.fixture
def features(toy, draw):
    fit, validate = toy(24, seed=1, name="t"), toy(14, seed=2, name="v")
    return TrainingData(fit.patients, validate.patients, {**fit.slides, **validate.slides}, draw, 2)


@pytest.fixture
def pictures(toy, draw):
    some = toy(12, seed=8)
    rng = np.random.default_rng(0)
    slides = {
        slide: rng.integers(0, 200, (len(x), 4, 4, 3), np.uint8) for slide, x in some.slides.items()
    }
    return TrainingData(some.patients[:8], some.patients[8:], slides, draw, 2)


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    """Checkpoints after every epoch, however short it was."""
    monkeypatch.setattr(resuming, "TIME_SHARE", float("inf"))


def assert_same(first, second):
    a, b = first.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def run(data, folder, *, die_after=None, key="k", said=None, **more):
    def on_epoch(epoch):
        if epoch.epoch == die_after:
            raise Killed

    options = {"config": Training(**SETTINGS), "bags": Bags(size=5), "model": make_model()} | more
    keeping = Keeping(folder, key, (said if said is not None else []).append)
    return train(
        options["model"], data, config=options["config"], bags=options["bags"], seed=3,
        on_epoch=on_epoch, keeping=keeping,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "training", "bags"),
    [
        ("features", {}, {}),
        ("features", {"sampling": "balanced", "class_weights": "balanced"}, {"redraw": True}),
        ("features", {"accumulate": 3, "restarts": None, "patience": 3}, {"per_epoch": 1}),
        ("pictures", {"augment": True, "epochs": 5}, {"redraw": True}),
    ],
)
def test_killed_twice_it_ends_with_the_same_weights(kind, training, bags, request, tmp_path):
    data = request.getfixturevalue(kind)
    options = {
        "config": Training(**{**SETTINGS, **training}), "bags": Bags(size=5, **bags),
        "model": make_model(encoder=Net if kind == "pictures" else None),
    }  # fmt: skip
    whole, history = run(data, tmp_path / "whole", **options)
    for last in (0, 3):
        with pytest.raises(Killed):
            run(data, tmp_path / "killed", die_after=last, **options)
    said: list[str] = []
    again, history_again = run(data, tmp_path / "killed", said=said, **options)
    assert said == ["The training goes on after epoch 4."]
    assert_same(whole, again)
    assert history == history_again


def test_the_best_epoch_is_remembered_over_a_kill(features, tmp_path, monkeypatch):
    from axilla.mil import training as module

    outcomes = [(0.5, 0.6), (0.4, 0.9), (0.5, 0.7), (0.5, 0.8)]
    monkeypatch.setattr(module, "_validate", lambda *_, number, **__: outcomes[number])
    config = Training(**{**SETTINGS, "epochs": 4})
    whole, history = run(features, tmp_path / "a", config=config)
    with pytest.raises(Killed):
        run(features, tmp_path / "b", config=config, die_after=2)
    again, _ = run(features, tmp_path / "b", config=config)
    assert history.best == 1
    assert_same(whole, again)


def die_at_checkpoint(count: int) -> None:
    """Be killed when the count-th checkpoint is about to get its name."""
    rename, left = Path.replace, [count]

    def replace(self, to):
        left[0] -= to.name == CHECKPOINT
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, to)

    Path.replace = replace


# A process that is forked need not import everything again; there is one thread of torch's here.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_killed_by_the_system_it_ends_with_the_same_weights(features, tmp_path):
    whole, history = run(features, tmp_path / "whole", bags=Bags(size=5, redraw=True))
    child = os.fork()
    if child == 0:
        try:
            die_at_checkpoint(4)
            run(features, tmp_path / "killed", bags=Bags(size=5, redraw=True))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    said: list[str] = []
    again, history_again = run(
        features, tmp_path / "killed", bags=Bags(size=5, redraw=True), said=said
    )
    assert said == ["The training goes on after epoch 3."]
    assert_same(whole, again)
    assert history == history_again


def test_what_write_and_read_of_a_state_hold(tmp_path):
    path = tmp_path / CHECKPOINT
    assert read_training_state(path, key="k") is None
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.float32(7).reshape(()),
        "none": np.empty((0, 3), np.float32), "bytes": np.arange(4, dtype=np.uint8),
        "turned": np.arange(6.0).reshape(2, 3).T,
    }  # fmt: skip
    record = {"big": 2**127 + 1, "lr": 0.1 + 0.2, "none": None}
    write_training_state(path, TrainingState(tensors, record), key="k")
    state = read_training_state(path, key="k")
    assert state is not None
    assert state.record == record
    assert state.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(state.tensors[name], tensor, strict=True)
    with pytest.raises(StoreError, match="is of other patients or settings"):
        read_training_state(path, key="other")


@pytest.mark.parametrize("where", [3, 40, 0.5, -1])
def test_a_damaged_state_is_refused_and_the_training_begins_anew(features, tmp_path, where):
    whole, _ = run(features, tmp_path / "whole")
    with pytest.raises(Killed):
        run(features, tmp_path / "killed", die_after=2)
    path = tmp_path / "killed" / CHECKPOINT
    content = bytearray(path.read_bytes())
    content[int(where * len(content)) if where == 0.5 else where] ^= 0x15
    path.write_bytes(content)
    said: list[str] = []
    again, history = run(features, tmp_path / "killed", said=said)
    assert said == [f"{path}: the interrupted training's state is damaged. It begins anew."]
    assert len(history.epochs) == SETTINGS["epochs"]
    assert_same(whole, again)


def test_a_state_cut_short_of_another_key_or_network_is_not_taken_up(features, tmp_path):
    with pytest.raises(Killed):
        run(features, tmp_path, die_after=2)
    said: list[str] = []
    with pytest.raises(Killed):
        run(features, tmp_path, die_after=2, key="other patients", said=said)
    assert "is of other patients or settings. It begins anew." in said.pop()

    def wider():
        return DLCNB(
            encoder=None, features=WIDTH, clinical=0, classes=2,
            config=Aggregator(width=20, attention=8),
        )  # fmt: skip

    with pytest.raises(Killed):
        run(features, tmp_path, die_after=2, key="other patients", said=said, model=wider)
    assert said == ["the interrupted training's state is of another network. It begins anew."]
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    run(features, tmp_path, key="other patients", said=said, model=wider)
    assert "is damaged" in said[-1]


def test_a_killed_run_leaves_its_epochs_in_the_history(features, tmp_path):
    with pytest.raises(Killed):
        run(features, tmp_path, die_after=3)
    lines = (tmp_path / "history.part.csv").read_text().splitlines()
    assert lines[0] == "epoch,lr,train_loss,val_loss,val_auc"
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2", "3"]
    _, history = run(features, tmp_path)
    assert (tmp_path / "history.part.csv").read_text() == history_csv(history.epochs)


def test_checkpoints_take_at_most_their_share_of_the_time(features, tmp_path, monkeypatch):
    now, written = [0.0], []

    def write(path, state, *, key):
        written.append(len(state.record["epochs"]))
        now[0] += 1.0  # a checkpoint takes a second

    validate = _spending(now, 4.0)  # an epoch four
    monkeypatch.setattr(resuming, "TIME_SHARE", 0.05)
    monkeypatch.setattr(resuming, "write_training_state", write)
    monkeypatch.setattr(resuming.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("axilla.mil.training._validate", validate)
    run(features, tmp_path, config=Training(**{**SETTINGS, "epochs": 16}))
    assert written == [1, 6, 11, 16]  # each 20 seconds after the one before


def _spending(now, seconds):
    def validate(*_, **__):
        now[0] += seconds
        return 0.5, 0.5

    return validate


def test_the_state_holds_no_pickle_and_its_record_is_json(features, tmp_path):
    from safetensors import safe_open

    with pytest.raises(Killed):
        run(features, tmp_path, die_after=2)
    with safe_open(tmp_path / CHECKPOINT, framework="np") as file:
        header = file.metadata()
    record = json.loads(header["record"])
    assert record["bags"]["bit_generator"] == "PCG64"
    assert [epoch["epoch"] for epoch in record["epochs"]] == [0, 1, 2]
