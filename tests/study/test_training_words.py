from __future__ import annotations

from axilla.core.config import Training
from axilla.study.training_words import training_sentences


def test_the_report_says_how_the_training_was_done():
    (plain,) = training_sentences(Training())
    assert plain.startswith(
        "Training: Adam, learning rate 0.0001, weight decay 0.001, 200 epochs, seed 8888; the epoch"
    )
    first, *more = training_sentences(
        Training(patience=1, class_weights="balanced", sampling="balanced")
    )
    assert ", at most 200 epochs, seed" in first
    stopped, weighed = more
    assert stopped == (
        "Training was stopped early when validation had not improved for 1 epoch (history.csv "
        "beside each model lists them)."
    )
    assert weighed == (
        "The classes were given the same weight in the loss. Each epoch drew patients so that the "
        "classes came equally often."
    )
