"""The decision curve in numbers, at a few thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import PrintedTable, format_figure, told_cohorts, told_reasons
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIGURES = {
    "net_benefit": ("Net benefit", 3),
    "treat_all": ("Biopsy for all", 3),
    "avoided_per_100": ("Biopsies avoided per 100", 1),
    "missed_per_100": ("Positives missed per 100", 1),
    "missed_per_100_spared": ("Missed per 100 spared", 1),
    "net_reduction_per_100": ("Net reduction per 100", 1),
}
_NOTES = (
    (
        "Threshold: the risk of positive nodes from which on a patient would rather have the "
        "biopsy; one whose predicted risk is below it would be spared."
    ),
    (
        "Net benefit: true positives a patient, less the unneeded biopsies weighed by the odds of "
        "the threshold; biopsy for none has 0."
    ),
    (
        "Net reduction: unneeded biopsies fewer than with biopsy for all, less the positives "
        "missed weighed by the inverse odds."
    ),
)


def decision_table(
    metrics: Mapping[str, Any],
    *,
    thresholds: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    cohorts: Sequence[str] | None = None,
    cohort_titles: Mapping[str, str] = COHORT_TITLES,
) -> PrintedTable | None:
    """Format `decision_curve` of the metrics, a row a threshold.

    Parameters
    ----------
    metrics
        `metrics.json`; of two classes, or of node stages.
    thresholds
        Of those that the curves have; others are left out.
    cohorts
        Which, in which order; None takes all as they come.
    cohort_titles
        Printed names; the short name where there is none.

    Returns
    -------
    PrintedTable or None
        Figures with their 95% intervals; None where no cohort has a decision curve.
    """
    rows: list[dict[str, str]] = []
    missing: list[tuple[str, str]] = []
    notes: list[str] = []
    told = told_cohorts(metrics, cohorts=cohorts, cohort_titles=cohort_titles)
    for cells, named, entry in told:
        curve = entry.get("decision_curve", {})
        notes += [curve["note"]] if "note" in curve else []
        for point in curve.get("points", ()):
            if not any(abs(point["threshold"] - at) < 1e-9 for at in thresholds):
                continue
            shown = f"{100 * point['threshold']:g}%"
            rows.append(
                cells
                | {"Threshold": shown}
                | {
                    column: format_figure(point[name], decimals=decimals)
                    for name, (column, decimals) in _FIGURES.items()
                }
            )
            missing += [
                (f"{named}, {shown}, {column}", point[name]["reason"])
                for name, (column, _) in _FIGURES.items()
                if "reason" in point[name]
            ]
    if not rows:
        return None
    told_notes = (*dict.fromkeys(notes), *_NOTES, *told_reasons(missing))
    return PrintedTable(pd.DataFrame(rows), told_notes)
