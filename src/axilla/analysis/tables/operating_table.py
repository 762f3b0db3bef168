"""Thresholds side by side: what each rule, locked on validation, does on every cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import (
    DASH,
    PrintedTable,
    format_figure,
    format_percent,
    told_cohorts,
    told_reasons,
)
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PERCENTS = {
    "sensitivity": "SENS (%)",
    "specificity": "SPEC (%)",
    "ppv": "PPV (%)",
    "npv": "NPV (%)",
}
_PER_100 = {
    "avoided_per_100": "Biopsies avoided per 100",
    "missed_per_100": "Positives missed per 100",
    "missed_per_100_spared": "Missed per 100 spared",
}
_COUNTS = ("n at or above", "n below", "Positives missed")
CHOSEN_ON_VALIDATION = (
    "Thresholds are chosen on the validation cohort and applied unchanged to the others."
)
_NOTES = (
    (
        "A patient whose score is below the threshold would be spared sentinel lymph node biopsy; "
        "one of them with positive nodes is missed."
    ),
)


def operating_table(
    metrics: Mapping[str, Any],
    *,
    cohorts: Sequence[str] | None = None,
    cohort_titles: Mapping[str, str] = COHORT_TITLES,
    chosen: str = CHOSEN_ON_VALIDATION,
) -> PrintedTable | None:
    """Format `operating_points` of the metrics, a row a rule.

    Parameters
    ----------
    metrics
        `metrics.json`; two classes.
    cohorts
        Which, in which order; None takes all as they come.
    cohort_titles
        Printed names; the short name where there is none.
    chosen
        Where the thresholds come from: the first note.

    Returns
    -------
    PrintedTable or None
        Columns Method, Cohort, Rule, Threshold, counts, percentages and figures per 100 patients,
        with 95% intervals; dashes where a rule could not be met, and a note says why. None where
        no cohort has operating points.
    """
    rows: list[dict[str, str]] = []
    missing: list[tuple[str, str]] = []
    told = told_cohorts(metrics, cohorts=cohorts, cohort_titles=cohort_titles)
    for cells, named, entry in told:
        for point in entry.get("operating_points", ()):
            rule = rule_title(point["rule"])
            rows.append(cells | {"Rule": rule} | _cells(point))
            missing += [(f"{named}, {rule}{of}", reason) for of, reason in _reasons(point)]
    if not rows:
        return None
    return PrintedTable(pd.DataFrame(rows), (chosen, *_NOTES, *told_reasons(missing)))


def rule_title(rule: Any) -> str:
    """Print a rule as a reader knows it; `rule` as `metrics.json` holds it."""
    if isinstance(rule, dict):
        return (
            f"NPV of at least {100 * rule['npv']:g}%"
            if "npv" in rule
            else f"Sensitivity of at least {100 * rule['sensitivity']:g}%"
        )
    if isinstance(rule, str):
        return "Youden"
    return f"Fixed at {rule:g}"


def _cells(point: Mapping[str, Any]) -> dict[str, str]:
    if point["threshold"] is None:
        return dict.fromkeys(("Threshold", *_COUNTS, *_PERCENTS.values(), *_PER_100.values()), DASH)
    missed, positives = (
        point["confusion"]["fn"],
        point["confusion"]["fn"] + point["confusion"]["tp"],
    )
    counts = (str(point["n_at_or_above"]), str(point["n_below"]), f"{missed} of {positives}")
    return (
        {"Threshold": f"{point['threshold']:.3f}"}
        | dict(zip(_COUNTS, counts, strict=True))
        | {column: format_percent(point[name]) for name, column in _PERCENTS.items()}
        | {column: format_figure(point[name], decimals=1) for name, column in _PER_100.items()}
    )


def _reasons(point: Mapping[str, Any]) -> list[tuple[str, str]]:
    if point["threshold"] is None:
        return [("", point["reason"])]
    return [
        (f", {column}", point[name]["reason"])
        for name, column in (_PERCENTS | _PER_100).items()
        if "reason" in point[name]
    ]
