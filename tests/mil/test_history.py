from __future__ import annotations

import functools
import sys

import pytest

from axilla.core.config import Aggregator, Bags, Training
from axilla.core.errors import ConfigError
from axilla.mil import training as module
from axilla.mil.feeding import TrainingData
from axilla.mil.history import Epoch, TrainingLog, check_tensorboard, history_csv
from axilla.mil.model import DLCNB
from axilla.mil.training import train

EPOCHS = (Epoch(0, 1e-4, 0.1 + 0.2, None, None), Epoch(1, 5e-05, 0.25, 1 / 3, 0.75))
TABLE = """epoch,lr,train_loss,val_loss,val_auc
0,0.0001,0.30000000000000004,,
1,5e-05,0.25,0.3333333333333333,0.75
"""


def test_the_history_is_a_table_to_the_last_digit(tmp_path):
    assert history_csv(EPOCHS) == TABLE
    log = TrainingLog(tmp_path, epochs=EPOCHS[:1], scalars=None)
    assert (tmp_path / "history.part.csv").read_text() == "\n".join(TABLE.splitlines()[:2]) + "\n"
    log.add(EPOCHS[1])
    assert (tmp_path / "history.part.csv").read_text() == TABLE
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["history.part.csv"]


@pytest.fixture
def trained(toy, draw):
    return functools.partial(train_toy, toy, draw)


def train_toy(toy, draw, *, val=4, **settings):
    some = toy(12, seed=1)
    data = TrainingData(some.patients[val:], some.patients[:val], some.slides, draw, 2)
    return train(
        lambda: DLCNB(
            encoder=None, features=12, clinical=0, classes=2,
            config=Aggregator(width=8, attention=4),
        ),
        data, config=Training(**settings), bags=Bags(size=5), seed=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("aucs", "patience", "expected"),
    [
        ([0.5, 0.6, 0.6, 0.5, 0.9, 0.9], 2, (4, 1, True)),
        ([0.5, 0.6, 0.5, 0.7, 0.6, 0.5], 2, (6, 3, False)),  # just at its planned end
        ([0.5, 0.4, 0.6, 0.5, 0.7, 0.1], 2, (6, 4, False)),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 1, (2, 0, True)),  # equal is no improvement
        ([0.5, 0.4, 0.3, 0.2, 0.1, 0.0], None, (6, 0, False)),
    ],
)
def test_patience_counts_epochs_without_improvement(trained, monkeypatch, aucs, patience, expected):
    monkeypatch.setattr(module, "_validate", lambda *_, number, **__: (0.5, aucs[number]))
    _, history = trained(epochs=6, patience=patience)
    assert (len(history.epochs), history.best, history.stopped) == expected


def test_a_lower_loss_at_the_same_auc_is_an_improvement(trained, monkeypatch):
    monkeypatch.setattr(module, "_validate", lambda *_, number, **__: (0.5 - number / 10, 0.5))
    _, history = trained(epochs=4, patience=1)
    assert len(history.epochs) == 4


def test_patience_without_validation_is_refused(trained):
    with pytest.raises(ConfigError, match="nobody is in the validation cohort"):
        trained(val=0, epochs=2, patience=1)


def test_tensorboard_shows_the_same_figures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TrainingLog(tmp_path, epochs=(), scalars=tmp_path / "tensorboard")
    for epoch in EPOCHS:
        log.add(epoch)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()

    def shown(name):
        return [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]

    assert shown("loss/training") == [(0, 0.1 + 0.2), (1, 0.25)]
    assert shown("loss/validation") == [(1, 1 / 3)]
    assert shown("AUC/validation") == [(1, 0.75)]
    assert shown("learning rate") == [(0, 1e-4), (1, 5e-5)]


def test_tensorboard_that_is_not_installed_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed\. Install it: `pip install 'axilla\[t"):
        check_tensorboard()
