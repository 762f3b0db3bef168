from __future__ import annotations

from axilla.core.config import Training
from axilla.study.training_words import balance_sentence, training_sentences


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
    assert weighed.startswith(
        "The classes were given the same weight in the loss. Each epoch drew patients so that the "
        "classes came equally often. The classes were balanced in training (class_weights: "
        "balanced, sampling: balanced): a probability is that of a cohort with equally many"
    )


def test_what_balance_does_to_a_probability():
    assert balance_sentence(class_weights="none", sampling="all", classes=("N0", "N(+)")) is None
    two = balance_sentence(class_weights="balanced", sampling="all", classes=("N0", "N(+)"))
    assert two == (
        "The classes were balanced in training (class_weights: balanced): a probability is that "
        "of a cohort with equally many patients of each class. Where fewer than half of the "
        "patients are N(+) it is too high, where more are it is too low; before it is read as a "
        "risk it must be recalibrated to the reader's own patients, and the threshold with it."
    )
    for classes in ((), ("a", "b", "c")):
        told = balance_sentence(class_weights="none", sampling="balanced", classes=classes)
        assert "For a class that is rarer it is too high, for one that is more frequent" in told
