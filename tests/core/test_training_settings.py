from __future__ import annotations

from axilla.core.config import Training

FIRST = {
    "epochs", "optimizer", "lr", "weight_decay", "restarts", "seed", "batch_size", "weight_by",
    "augment", "precision",
}  # fmt: skip
"""The settings that the first trained models have in their keys."""


def test_models_trained_before_a_setting_was_there_keep_their_key():
    assert set(Training().decisive()) == FIRST
    assert Training().decisive()["restarts"] == {"t0": 20, "mult": 2}


def test_what_changes_the_weights_changes_the_key_and_nothing_else_does():
    plain = Training().decisive()
    for changes in (
        {"accumulate": 2}, {"class_weights": "balanced"}, {"sampling": "balanced"},
        {"patience": 5}, {"deterministic": True}, {"weight_by": "bag"}, {"lr": 1.0},
    ):  # fmt: skip
        assert Training(**changes).decisive() != plain
    assert Training(devices=2, tensorboard=True, seeds=5).decisive() == plain
