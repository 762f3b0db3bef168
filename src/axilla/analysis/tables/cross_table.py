"""The cross table of STARD: what the score said against what the nodes were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from axilla.analysis.tables.printed import PrintedTable, format_percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOTAL = "Total"
_ABBREVIATED = {"sensitivity": "SENS", "specificity": "SPEC", "ppv": "PPV", "npv": "NPV"}


def cross_table(
    entry: Mapping[str, Any], *, classes: Sequence[str], reference: str = "reference standard"
) -> PrintedTable | None:
    """Format one cohort's counts: a row an index test result, a column a true class, with totals.

    Parameters
    ----------
    entry
        A method's figures of one cohort, as `metrics.json` holds them: at the locked threshold
        where there are two classes, else the likeliest class.
    classes
        Printed names of the classes in the order of the labels, negative first.
    reference
        What says which class is true, such as `sentinel biopsy or dissection`.

    Returns
    -------
    PrintedTable or None
        The last column holds each row's predictive value, the last row each column's share called
        correctly and, under the total, the accuracy, with 95% intervals. None where there is no
        threshold to call by.

    Notes
    -----
    Source: STARD 2015, item 23 (doi:10.1136/bmj.h5527).
    """
    if "confusion_matrix" in entry:
        return _of_many(entry, classes, reference)
    if entry["confusion"] is None:
        return None
    return _of_two(entry, classes, reference)


def _of_two(entry: Mapping[str, Any], classes: Sequence[str], reference: str) -> PrintedTable:
    counts, (negative, positive) = entry["confusion"], classes
    by_folds = entry.get("by_own_folds")
    at = "the threshold of its folds" if by_folds else f"{entry['threshold']:.3f}"
    said = {
        f"{positive}: at or above {at}": (counts["tp"], counts["fp"], "ppv"),
        f"{negative}: below {at}": (counts["fn"], counts["tn"], "npv"),
    }
    columns = [f"{positive} ({reference})", f"{negative} ({reference})"]
    rows = [
        _row(name, columns, (own, other), f"{_ABBREVIATED[figure]} {format_percent(entry[figure])}")
        for name, (own, other, figure) in said.items()
    ]
    totals = (counts["tp"] + counts["fn"], counts["tn"] + counts["fp"])
    shares = [
        f"{_ABBREVIATED[name]} {format_percent(entry[name])}"
        for name in ("sensitivity", "specificity")
    ]
    rows += [_row(_TOTAL, columns, totals, ""), _correct(columns, shares, entry)]
    reasons = [
        f"{name}: {entry[figure]['reason']}."
        for figure, name in _ABBREVIATED.items()
        if "reason" in entry[figure]
    ]
    return PrintedTable(_frame(rows, columns), tuple(reasons))


def _of_many(entry: Mapping[str, Any], classes: Sequence[str], reference: str) -> PrintedTable:
    # Rows of the metrics are the true class; here they are what the test said.
    matrix = np.asarray(entry["confusion_matrix"]).T
    columns = [f"{name} ({reference})" for name in classes]
    keys = entry["classes"]
    rows = [
        _row(f"{name}: likeliest", columns, counts.tolist(), format_percent(entry["precision"][k]))
        for name, k, counts in zip(classes, keys, matrix, strict=True)
    ]
    shares = [format_percent(entry["recall"][key]) for key in keys]
    rows += [
        _row(_TOTAL, columns, matrix.sum(axis=0).tolist(), ""),
        _correct(columns, shares, entry),
    ]
    reasons = [
        f"{name}, {said}: {entry[figure][key]['reason']}."
        for figure, said in (("precision", "predictive value"), ("recall", "called correctly"))
        for name, key in zip(classes, keys, strict=True)
        if "reason" in entry[figure][key]
    ]
    return PrintedTable(_frame(rows, columns), tuple(reasons))


def _row(name: str, columns: Sequence[str], counts: Sequence[int], figure: str) -> dict[str, str]:
    return (
        {"Score": name}
        | {column: str(count) for column, count in zip(columns, counts, strict=True)}
        | {_TOTAL: str(sum(counts)), "Predictive value (%)": figure}
    )


def _correct(
    columns: Sequence[str], shares: Sequence[str], entry: Mapping[str, Any]
) -> dict[str, str]:
    return (
        {"Score": "Called correctly (%)"}
        | dict(zip(columns, shares, strict=True))
        | {_TOTAL: f"ACC {format_percent(entry['accuracy'])}", "Predictive value (%)": ""}
    )


def _frame(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["Score", *columns, _TOTAL, "Predictive value (%)"])
