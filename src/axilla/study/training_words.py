"""How the training was done, in words, from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from axilla.core.config import Training


def training_sentences(config: Training, *, classes: Sequence[str] = ()) -> list[str]:
    """Sentences for the report's methods; `classes` as in `balance_sentence`."""
    kept = (
        "the epoch with the highest AUC in validation was kept, the last one where there is no "
        "validation cohort. The test cohort took no part in it."
    )
    most = "" if config.patience is None else "at most "
    settings = (
        f"Training: Adam, learning rate {config.lr:g}, weight decay {config.weight_decay:g}, "
        f"{most}{config.epochs} epochs, seed {config.seed}"
    )
    found = [f"{settings}; {kept}"]
    if config.patience is not None:
        found.append(
            f"Training was stopped early when validation had not improved for {config.patience} "
            f"epoch{'s' if config.patience > 1 else ''} (history.csv beside each model lists them)."
        )
    weighed = []
    if config.class_weights == "balanced":
        weighed.append("The classes were given the same weight in the loss.")
    if config.sampling == "balanced":
        weighed.append("Each epoch drew patients so that the classes came equally often.")
    balance = balance_sentence(
        class_weights=config.class_weights, sampling=config.sampling, classes=classes
    )
    if balance is not None:
        weighed.append(balance)
    return found + ([" ".join(weighed)] if weighed else [])


def balance_sentence(
    *, class_weights: str, sampling: str, classes: Sequence[str] = ()
) -> str | None:
    """What balanced classes mean for a reader of the probabilities; None where they were not.

    With q the probability of a class under balance and p its share among the reader's patients, the
    odds of two classes are q p / (1 - p) to 1 - q: less than the model says where p < 1/2 (Saerens
    2002, doi:10.1162/089976602753284446).

    Parameters
    ----------
    class_weights, sampling
        As in `training:` of study.yaml.
    classes
        Names, negative first; without them, or with more than two, it speaks of rare classes.
    """
    set_to = [
        f"{name}: balanced"
        for name, value in (("class_weights", class_weights), ("sampling", sampling))
        if value == "balanced"
    ]
    if not set_to:
        return None
    rarer = (
        f"Where fewer than half of the patients are {classes[1]} it is too high, where more are it "
        "is too low;"
        if len(classes) == 2
        else "For a class that is rarer it is too high, for one that is more frequent too low;"
    )
    return (
        f"The classes were balanced in training ({', '.join(set_to)}): a probability is that of a "
        f"cohort with equally many patients of each class. {rarer} before it is read as a risk it "
        "must be recalibrated to the reader's own patients, and the threshold with it."
    )
