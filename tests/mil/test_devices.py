from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from axilla.core.config import Training
from axilla.core.errors import ConfigError
from axilla.mil.devices import check_devices, repeatable
from axilla.mil.resuming import CHECKPOINT

TOGETHER = """
import sys
from pathlib import Path
import numpy as np, torch
from axilla.core.config import Aggregator, Bags, Training
from axilla.mil import feeding, resuming
from axilla.mil.batches import PatientInstances
from axilla.mil.devices import leave_together
from axilla.mil.feeding import TrainingData
from axilla.mil.model import DLCNB
from axilla.mil.training import train

folder, last = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
rng = np.random.default_rng(1)
patients = [PatientInstances(str(i), i % 2, (str(i),), None) for i in range(18)]
slides = {p.patient_id: rng.normal(p.label, 3, (15, 6)).astype(np.float32) for p in patients}
data = TrainingData(
    patients[:11], patients[11:], slides, lambda n, rng: list(rng.permutation(n).reshape(-1, 5)), 2
)

def train_to(name, dropout, on_epoch=lambda epoch: None):
    network = Aggregator(width=8, attention=4, dropout=dropout)
    model, history = train(
        lambda: DLCNB(encoder=None, features=6, clinical=0, classes=2, config=network),
        data, config=Training(epochs=5, lr=0.01, batch_size=4, accumulate=2),
        bags=Bags(size=5, redraw=True), seed=3, on_epoch=on_epoch,
        keeping=resuming.Keeping(folder / name, "k"),
    )
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    found = {n: t.numpy() for n, t in model.state_dict().items()}
    losses = [(e.train_loss, e.val_loss, e.val_auc) for e in history.epochs]
    np.savez(folder / f"{name}-{rank}.npz", history=losses, best=history.best, **found)

def stop(epoch):
    if epoch.epoch == last:
        raise KeyboardInterrupt

train_to("plain", 0.0)
if torch.distributed.is_initialized():
    resuming.TIME_SHARE = float("inf")
    train_to("whole", 0.5)
    try:
        train_to("killed", 0.5, stop)
    except KeyboardInterrupt:
        train_to("killed", 0.5)
    leave_together()
"""
"""Trainings with and without dropout, one of them stopped after an epoch and taken up again."""


@pytest.fixture
def start(start_together):
    """Train so often at once."""

    def started(folder: Path, processes: int) -> None:
        folder.mkdir()
        script = folder / "together.py"
        script.write_text(TOGETHER)
        start_together([str(script), str(folder), "2"], processes)

    return started


def test_two_processes_train_as_one(start, tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    monkeypatch.setattr(sys, "argv", ["together.py", str(one), "2"])
    exec(compile(TOGETHER, "together.py", "exec"), {})  # noqa: S102 - ours
    start(two, 2)
    alone = np.load(one / "plain-0.npz")
    first, second = (dict(np.load(two / f"plain-{rank}.npz")) for rank in (0, 1))
    assert set(alone.files) == set(first)
    for name in alone.files:
        np.testing.assert_array_equal(first[name], second[name])  # the best epoch too
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-4, atol=1e-6)
    # Taken up again, with a stream of dropout in each process; the state is written once.
    whole, killed = (np.load(two / f"{name}-1.npz") for name in ("whole", "killed"))
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], killed[name])
    assert (two / "killed" / CHECKPOINT).is_file()
    assert len((two / "killed" / "history.part.csv").read_text().splitlines()) == 6


def test_other_devices_than_were_started_are_refused():
    check_devices(Training(devices="auto"))
    check_devices(Training(devices=1))
    with pytest.raises(ConfigError) as refused:
        check_devices(Training(devices=2))
    assert str(refused.value) == (
        "training.devices is 2, but 1 process was started. Start `torchrun --nproc-per-node 2 -m "
        "axilla.cli run study.yaml`, or take the key out."
    )


def test_what_cannot_be_repeated_is_a_sentence():
    before = torch.are_deterministic_algorithms_enabled()
    with repeatable(Training(deterministic=True)):
        assert torch.are_deterministic_algorithms_enabled()
    cause = "adaptive_max_pool does not have a deterministic implementation\nmore"
    with pytest.raises(ConfigError, match=r"on this device \(adaptive_max_pool does not have a d"):  # noqa: SIM117
        with repeatable(Training(deterministic=True)):
            raise RuntimeError(cause)
    with pytest.raises(RuntimeError, match="another"), repeatable(Training(deterministic=True)):
        raise RuntimeError("another mistake")
    assert torch.are_deterministic_algorithms_enabled() == before
