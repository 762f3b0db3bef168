"""Predictive values at prevalences that the user gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import PrintedTable, format_percent, told_cohorts, told_reasons
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOTE = (
    "PPV and NPV where the given share of patients has positive nodes, from sensitivity and "
    "specificity in this cohort at the locked threshold; 95% logit intervals (Mercaldo 2007)."
)
_FIGURES = {"ppv": "PPV (%)", "npv": "NPV (%)"}


def prevalence_table(
    metrics: Mapping[str, Any],
    *,
    cohorts: Sequence[str] | None = None,
    cohort_titles: Mapping[str, str] = COHORT_TITLES,
) -> PrintedTable | None:
    """Format `predictive_values` of the metrics, a row a prevalence.

    Parameters
    ----------
    metrics
        `metrics.json`; two classes.
    cohorts
        Which, in which order; None takes all as they come.
    cohort_titles
        Printed names; the short name where there is none.

    Returns
    -------
    PrintedTable or None
        Columns Method, Cohort, Prevalence (%), PPV (%), NPV (%); None where no prevalence was
        given.
    """
    rows: list[dict[str, str]] = []
    missing: list[tuple[str, str]] = []
    told = told_cohorts(metrics, cohorts=cohorts, cohort_titles=cohort_titles)
    for cells, named, entry in told:
        for at in entry.get("predictive_values", ()):
            share = f"{100 * at['prevalence']:g}"
            rows.append(
                cells
                | {"Prevalence (%)": share}
                | {column: format_percent(at[name]) for name, column in _FIGURES.items()}
            )
            missing += [
                (f"{named}, {share}%, {column}", at[name]["reason"])
                for name, column in _FIGURES.items()
                if "reason" in at[name]
            ]
    return PrintedTable(pd.DataFrame(rows), (_NOTE, *told_reasons(missing))) if rows else None
