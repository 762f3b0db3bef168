"""Predictive values at prevalences that the user gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import PrintedTable, format_percent
from axilla.core.methods import method_title
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
    missing: list[str] = []
    for method, by_cohort in metrics["methods"].items():
        for cohort in cohorts or by_cohort:
            title = method_title(method), cohort_titles.get(cohort, cohort)
            for at in by_cohort.get(cohort, {}).get("predictive_values", ()):
                share = f"{100 * at['prevalence']:g}"
                rows.append(
                    {"Method": title[0], "Cohort": title[1], "Prevalence (%)": share}
                    | {column: format_percent(at[name]) for name, column in _FIGURES.items()}
                )
                missing += [
                    f"{title[0]}, {title[1].lower()}, {share}%, {column}: {at[name]['reason']}."
                    for name, column in _FIGURES.items()
                    if "reason" in at[name]
                ]
    return PrintedTable(pd.DataFrame(rows), (_NOTE, *missing)) if rows else None
