"""What the report says of an ensemble's members and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from axilla.core.config import StudyConfig
from axilla.core.methods import method_title


def ensemble_sentences(config: StudyConfig) -> tuple[str, ...]:
    """How an ensemble was made, from the settings."""
    seeds = config.training.seeds
    if seeds == 1 or not config.uses_slides:
        return ()
    sentence = (
        f"Each model of slides is an ensemble of {seeds}, trained alike from {seeds} seeds: a "
        "score is the mean of their probabilities, its spread their standard deviation; the "
        "threshold was chosen on the ensemble's scores, and heat maps show the mean attention."
    )
    return (sentence,)


def spread_sentences(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """How far the members are apart on the test patients."""
    found = []
    for method, by_cohort in metrics["methods"].items():
        spread = by_cohort.get("test", {}).get("spread")
        if spread is not None:
            found.append(
                f"{method_title(method)}: the members of the ensemble are {spread['mean']:.3f} "
                f"apart in the mean over {spread['n']} test patients (standard deviation of their "
                f"probabilities), {spread['max']:.3f} at most."
            )
    return tuple(found)


def spread_text(row: Mapping[str, Any]) -> str:
    """` ± 0.041 over the ensemble's members`, of a row of the predictions; empty without one."""
    spread = row.get("spread")
    if spread is None or not math.isfinite(float(spread)):
        return ""
    return f" ± {float(spread):.3f} over the ensemble's members"
