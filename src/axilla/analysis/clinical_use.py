"""What a clinic asks of a model beyond the paper: calibration, decisions, predictive values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.analysis.calibration import calibration_entry
from axilla.analysis.decision import decision_curve
from axilla.analysis.intervals import as_json, clopper_pearson
from axilla.analysis.operating_points import lock_rules, operating_points, operating_points_json
from axilla.analysis.precision_recall import precision_recall
from axilla.analysis.predictive_values import predictive_values_at, predictive_values_json
from axilla.analysis.subgroups import subgroup_analysis
from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion, Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from axilla.analysis.operating_points import LockedRule
    from axilla.analysis.score_table import Scores, ScoreTable


def locked_rules(table: ScoreTable, method: str) -> tuple[LockedRule, ...]:
    """Every rule's threshold, chosen on the method's validation cohort.

    With cross-validation there are none: a fold's validation patients are tested in other folds.
    """
    if table.folded:
        return ()
    if "val" not in table.cohorts(method):
        return lock_rules(np.zeros(0), np.zeros(0))
    part = table.select(method, "val")
    return lock_rules(part.labels, part.positive)


def clinical_use_entry(
    part: Scores,
    *,
    locked: Sequence[LockedRule],
    confusion: Mapping[str, int] | None,
    prevalences: Sequence[float] = (),
) -> dict[str, Any]:
    """Return the figures of one method on one cohort of two classes that go into `metrics.json`.

    Parameters
    ----------
    part
        The cohort's labels and probabilities.
    locked
        Of `locked_rules`.
    confusion
        Counts at the study's threshold; None where there is none.
    prevalences
        Shares of positive patients at which PPV and NPV are wanted.

    Returns
    -------
    dict
        `calibration`, `decision_curve`, `precision_recall`; `operating_points` where rules are
        given; `predictive_values` where prevalences are.
    """
    labels, scores = part.labels, part.positive
    entry: dict[str, Any] = {
        "calibration": calibration_entry(labels, scores),
        "decision_curve": decision_curve(labels, scores).as_json(),
        "precision_recall": _ranked(part),
    }
    if locked:
        points = operating_points(locked, labels, scores)
        entry["operating_points"] = operating_points_json(points)
    if prevalences and confusion is not None:
        values = predictive_values_at(Confusion(**confusion), prevalences)
        entry["predictive_values"] = predictive_values_json(values)
    return entry


def _ranked(part: Scores) -> dict[str, Any]:
    try:
        return precision_recall(part.labels, part.positive).as_json()
    except StatisticsError as error:
        undefined = Estimate(math.nan, reason=error.problem.cause.rstrip("."))
        share = clopper_pearson(int(part.labels.sum()), len(part.labels))
        return {"average_precision": as_json(undefined), "prevalence": as_json(share)}


def subgroup_entries(
    table: ScoreTable,
    methods: Mapping[str, Any],
    groups: Mapping[str, pd.Series[Any]],
    *,
    called_at: Mapping[tuple[str, str], NDArray[np.float64]],
    cohort: str = "test",
) -> Iterator[dict[str, Any]]:
    """Yield `subgroups` of `metrics.json`: each method's figures by subgroup in one cohort.

    Parameters
    ----------
    table
        The scores, of two classes.
    methods
        `methods` of the metrics, for the thresholds.
    groups
        Categories by patient, by the characteristic's title.
    called_at
        Each patient's own threshold, by method and cohort, where not all have the same.
    """
    for method in table.methods:
        if cohort not in table.cohorts(method):
            continue
        part = table.select(method, cohort)
        threshold = methods[method][cohort]["threshold"]
        analysis = subgroup_analysis(
            part.labels,
            part.positive,
            {title: names.reindex(list(part.patients)) for title, names in groups.items()},
            threshold="there is no threshold" if threshold is None else threshold,
            own_thresholds=called_at.get((method, cohort)),
        )
        yield analysis.as_json(method=method, cohort=cohort)
