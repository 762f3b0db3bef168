"""How the training was done, in words, from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axilla.core.config import Training


def training_sentences(config: Training) -> list[str]:
    """Sentences for the report's methods."""
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
    return found + ([" ".join(weighed)] if weighed else [])
