"""Probabilities before and after: the model's own, its own recalibration, and one fitted here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from axilla.analysis.metrics import evaluate
from axilla.analysis.recalibration import (
    Recalibration,
    apply_recalibration,
    recalibration_from_json,
)
from axilla.analysis.tables.calibration_table import calibration_table
from axilla.analysis.tables.printed import PrintedTable
from axilla.deploy.samples import Recalibrate
from axilla.study.clinical_use import decision_drawn, reliability_drawn
from axilla.study.evaluation_figures import Drawn
from axilla.study.recalibrating import Recalibrated, recalibrate_predictions
from axilla.study.wording import Wording

SAMPLE = "sample"
"""The cohort of predictions that a recalibration is fitted on."""
AS_IT_COMES = "Model's own probability"
BY_ITS_STUDY = "Recalibrated by the model's study"
HERE = "Recalibrated here"


@dataclass(frozen=True, slots=True, eq=False)
class Versions:
    """The patients' probabilities by version, all of the same patients: none of the sample."""

    frames: Mapping[str, pd.DataFrame]
    """As `predictions.csv`, `method` the version's name; the model's own first."""
    bundled: Recalibration | None
    """That of the model's record, fitted on its own validation patients."""
    here: Recalibrated | None
    """That of the sample here, by `predictions.csv`."""
    asked: Recalibrate | None

    @property
    def correction(self) -> Recalibration | None:
        """What was fitted on the sample."""
        return None if self.here is None else next(iter(self.here.corrections.values()))


def versions_of(
    predictions: pd.DataFrame, record: Mapping[str, Any], *, asked: Recalibrate | None
) -> Versions:
    """Every version of these predictions, of two classes.

    Parameters
    ----------
    predictions
        As `predictions.csv`; cohorts `test`, and `sample` where a recalibration is asked for.
    record
        Of the bundle.

    Raises
    ------
    StatisticsError
        The sample does not suffice for the method.
    """
    measured = predictions[predictions["cohort"].astype(str) == "test"]
    frames = {AS_IT_COMES: measured}
    bundled = None
    given = record.get("calibration")
    if given is not None:
        fitted = {name: value for name, value in given.items() if name != "on"}
        bundled = recalibration_from_json(fitted)
        scores = apply_recalibration(bundled, measured["score"].to_numpy(dtype=float))
        frames[BY_ITS_STUDY] = measured.assign(score=scores)
    here = None
    if asked is not None:
        here = recalibrate_predictions(predictions, sample=SAMPLE, method=asked.method)
        frames[HERE] = here.frame
    named = {name: frame.assign(method=name) for name, frame in frames.items()}
    return Versions(named, bundled, here, asked)


def calibration_of(versions: Versions, *, endpoint: str, wording: Wording) -> PrintedTable:
    """The calibration of every version, one a row."""
    frame = pd.concat(list(versions.frames.values()), ignore_index=True)
    metrics = evaluate(frame, endpoint=endpoint, threshold_rule=0.5)
    return calibration_table(metrics, cohort_titles=wording.titles)


def draw_versions(
    versions: Versions, *, classes: tuple[str, ...], wording: Wording
) -> tuple[Drawn, ...]:
    """Reliability of each version but the first, and the decision curves of all."""
    drawn = []
    for number, (name, frame) in enumerate(versions.frames.items()):
        if number and frame["label"].nunique() == 2:
            one = reliability_drawn(name, frame, classes, title=name)
            drawn.append(replace(one, name=f"recalibrated_{number}"))
    if drawn:
        title = f"{wording.titles['test']} cohort"
        curves = decision_drawn(versions.frames, title=title)
        drawn.append(replace(curves, name="recalibrated_decision"))
    return tuple(drawn)


def told_correction(correction: Recalibration) -> str:
    """What a correction does to a probability, in a sentence's words."""
    if correction.method == "isotonic":
        knots = len(correction.predicted)
        return f"a rising curve through {knots} points (recalibration.json holds them)"
    shift = f"{'+' if correction.intercept >= 0 else '−'} {abs(correction.intercept):.3f}"
    slope = "" if correction.method == "intercept" else f"{correction.slope:.3f} × "
    return f"log-odds = {slope}the model's log-odds {shift}"


def moved(correction: Recalibration, *, share: float = 0.3) -> str:
    """An example: what the correction makes of one probability."""
    after = float(apply_recalibration(correction, [share])[0])
    return "" if math.isnan(after) else f"{share:.0%} becomes {after:.0%}"
