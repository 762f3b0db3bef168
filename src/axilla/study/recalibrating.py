"""Recalibrate: predictions corrected on a labelled sample of the site where they will be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from axilla.analysis.recalibration import (
    Recalibration,
    RecalibrationMethod,
    apply_recalibration,
    fit_recalibration,
)
from axilla.analysis.score_table import ScoreTable, parse_predictions
from axilla.analysis.tables.markup import to_csv
from axilla.core import store
from axilla.core.errors import StatisticsError

EXAMPLES = (0.1, 0.3, 0.5)
"""Risks for which the user is told what becomes of them."""
HAD_A_PART = {
    "train": "The patients of `train` trained the models, which fit them better than anybody else",
    "val": "The patients of `val` chose epoch and threshold where a model has them",
}
"""Cohorts of a study that are no new site's sample."""


@dataclass(frozen=True, slots=True, eq=False)
class Recalibrated:
    """Corrected predictions, without the patients of the sample."""

    frame: pd.DataFrame
    """As `predictions.csv`."""
    corrections: dict[str, Recalibration]
    """By the predictions' method."""


def recalibrate_predictions(
    predictions: pd.DataFrame, *, sample: str, method: RecalibrationMethod
) -> Recalibrated:
    """Fit a correction a method on the cohort `sample` and apply it to all others.

    Parameters
    ----------
    predictions
        As `predictions.csv`, of two classes and without folds.
    sample
        A cohort of the site's own patients with known outcome. They are left out of what comes
        back: on them the correction is right by construction.
    method
        `intercept`, `platt` or `isotonic`; see `fit_recalibration`.

    Raises
    ------
    StatisticsError
        There is no such cohort, it is the test cohort, one of its patients is in another cohort
        too, or the sample does not suffice.
    """
    table = parse_predictions(predictions)
    _check(table, sample)
    frame = predictions[predictions["cohort"].astype(str) != sample].copy()
    corrections = {}
    for name in table.methods:
        try:
            part = table.select(name, sample)
            corrections[name] = fit_recalibration(part.labels, part.positive, method=method)
        except StatisticsError as error:
            raise StatisticsError(
                f"method {name}, cohort {sample}: {error.problem.cause}", error.problem.remedy
            ) from error
        own = frame["method"].astype(str) == name
        scores = frame.loc[own, "score"].to_numpy(dtype=float)
        frame.loc[own, "score"] = apply_recalibration(corrections[name], scores)
    # The members' spread is one of probabilities that are no longer told.
    return Recalibrated(frame.drop(columns="spread", errors="ignore"), corrections)


def correction_sentence(method: str, one: Recalibration) -> str:
    """What a correction is fitted on, and what becomes of some risks."""
    before = ", ".join(f"{risk:.0%}" for risk in EXAMPLES)
    after = ", ".join(f"{risk:.1%}" for risk in apply_recalibration(one, EXAMPLES))
    return (
        f"{method}: {one.method}, fitted on {one.n:,} patients, {one.positives:,} positive; risks "
        f"of {before} become {after}"
    )


def sample_note(sample: str) -> str | None:
    """What is to be said of patients who had a part in the models; None of a site's own sample."""
    if sample not in HAD_A_PART:
        return None
    return f"{HAD_A_PART[sample]}: no correction for a new site, which asks for patients of its own"


def write_recalibrated(found: Recalibrated, *, sample: str, out: Path) -> tuple[Path, Path]:
    """Write `predictions.csv` and `recalibration.json` and return their paths."""
    predictions, record = out / "predictions.csv", out / "recalibration.json"
    methods = {name: one.to_json() for name, one in found.corrections.items()}
    value: dict[str, Any] = {"schema": 1, "sample": sample, "methods": methods}
    if (note := sample_note(sample)) is not None:
        value["note"] = note
    store.write_text(predictions, to_csv(found.frame))
    store.write_json(record, value)
    return predictions, record


def _check(table: ScoreTable, sample: str) -> None:
    if table.folded or len(table.classes) != 2:
        raise StatisticsError(
            "predictions of folds, or of more than two classes, are not recalibrated.",
            "Give one model's predictions of two classes.",
        )
    cohorts = [str(name) for name in pd.unique(table.frame["cohort"])]
    if sample not in cohorts:
        raise StatisticsError(
            f"there is no cohort `{sample}`.", f"Name one of {', '.join(cohorts)}."
        )
    if sample == "test":
        raise StatisticsError(
            "the test cohort is no sample to recalibrate on: nobody would be left to test it.",
            "Put some of the site's patients into a cohort of their own, such as `sample`.",
        )
    inside = table.frame["cohort"].astype(str) == sample
    twice = set(table.frame.loc[inside, "patient_id"]) & set(table.frame.loc[~inside, "patient_id"])
    if twice:
        raise StatisticsError(
            f"{len(twice)} patients of the cohort `{sample}` are in another cohort too.",
            "The sample's patients belong to no other cohort.",
            patient=str(min(twice)),
        )
    missing = [name for name in table.methods if sample not in table.cohorts(name)]
    if missing:
        raise StatisticsError(
            f"method {missing[0]} has no predictions of the cohort `{sample}`.",
            "Predict the sample's patients by every method, or leave the method out.",
        )
