"""Confusion matrices with totals and percentages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from axilla.analysis.tables.printed import DASH, PrintedTable, format_number
from axilla.core.methods import method_title
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_NOTE = "n (%), in percent of the true class; totals in percent of all patients."


def confusion_table(
    metrics: Mapping[str, Any],
    *,
    classes: Sequence[str] | None = None,
    cohort_titles: Mapping[str, str] = COHORT_TITLES,
) -> PrintedTable:
    """Format the confusion matrices of all methods and cohorts, of any number of classes.

    Parameters
    ----------
    metrics
        What `evaluate` returned, or `metrics.json`.
    classes
        Names of two classes, negative first; metrics of more hold their own.
    cohort_titles
        Printed names; the short name where there is none.

    Returns
    -------
    PrintedTable
        Columns Method, Cohort, True class, one a called class, Total; after a row a class one of
        totals. Where no threshold could be chosen there are no rows, and a note says why.
    """
    rows: list[dict[str, str]] = []
    missing: list[str] = []
    columns: list[str] = []
    for method, by_cohort in metrics["methods"].items():
        for cohort, entry in by_cohort.items():
            title = method_title(method), cohort_titles.get(cohort, cohort)
            matrix = confusion_counts(entry)
            if matrix is None:
                missing.append(f"{title[0]}, {title[1].lower()}: {entry['reason']}.")
                continue
            names = list(entry.get("classes") or classes or ("negative", "positive"))
            columns = [f"Called {name}" for name in names]
            for index, (name, counts) in enumerate(zip(names, matrix, strict=True)):
                start = title if index == 0 else ("", "")
                rows.append(_row(start, name, counts, columns, n=int(matrix.sum())))
            totals = {
                column: _share(int(count), int(matrix.sum()))
                for column, count in zip(columns, matrix.sum(axis=0), strict=True)
            }
            rows.append(
                {"Method": "", "Cohort": "", "True class": "Total"}
                | totals
                | {"Total": str(int(matrix.sum()))}
            )
    frame = pd.DataFrame(rows, columns=["Method", "Cohort", "True class", *columns, "Total"])
    return PrintedTable(frame, (_NOTE, *missing))


def confusion_counts(entry: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """Counts of a cohort's entry, [true, called], classes in order; None where nobody was called.

    Parameters
    ----------
    entry
        A method's figures of one cohort, as `metrics.json` holds them.
    """
    if "confusion_matrix" in entry:
        return np.array(entry["confusion_matrix"], dtype=np.int64)
    c = entry["confusion"]
    if c is None:
        return None
    return np.array([[c["tn"], c["fp"]], [c["fn"], c["tp"]]], dtype=np.int64)


def _row(
    start: tuple[str, str], name: str, counts: NDArray[np.int64], columns: Sequence[str], *, n: int
) -> dict[str, str]:
    own = int(counts.sum())
    return (
        {"Method": start[0], "Cohort": start[1], "True class": name}
        | {column: _share(int(k), own) for column, k in zip(columns, counts, strict=True)}
        | {"Total": _share(own, n)}
    )


def _share(count: int, of: int) -> str:
    return f"{count} ({format_number(100 * count / of, 1)}%)" if of else f"{count} ({DASH})"
