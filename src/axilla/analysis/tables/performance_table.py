"""The methods' performance by cohort: the paper's Table 2."""

from __future__ import annotations

from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import (
    PrintedTable,
    format_auc,
    format_p,
    format_percent,
    told_reasons,
)
from axilla.core.errors import StatisticsError
from axilla.core.methods import method_title
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PERCENTS = {
    "accuracy": "ACC (%)",
    "sensitivity": "SENS (%)",
    "specificity": "SPEC (%)",
    "ppv": "PPV (%)",
    "npv": "NPV (%)",
}

OPTIMISTIC = (
    "The threshold was chosen on each cohort itself: ACC, SENS, SPEC, PPV and NPV are optimistic."
)


def performance_table(
    metrics: Mapping[str, Any],
    *,
    cohorts: Sequence[str] | None = None,
    compare_in: str = "test",
    cohort_titles: Mapping[str, str] = COHORT_TITLES,
) -> PrintedTable:
    """Format the metrics as the paper's Table 2: figures with their 95% intervals in brackets.

    Parameters
    ----------
    metrics
        What `evaluate` returned, or `metrics.json`; two classes.
    cohorts
        Which, in which order; None takes all as they come.
    compare_in
        The cohort whose paired DeLong tests become footnotes, marked `^a` behind the AUC of the
        first of the two methods, as in the paper; see `told_comparisons`.
    cohort_titles
        Printed names; the short name where there is none.

    Notes
    -----
    Fed the counts of the paper's Table 2 and supplementary Tables 1, 3 and 4, every percentage and
    its interval come out to the digit. The paper's DeLong p-values cannot be had again by anybody:
    they need the patients' scores, which were never published.

    Raises
    ------
    StatisticsError
        The metrics are of more than two classes.
    """
    marks, notes = _comparison_notes(metrics, compare_in, cohort_titles)
    missing: list[tuple[str, str]] = []
    rows = []
    for method, by_cohort in metrics["methods"].items():
        for cohort in cohorts or by_cohort:
            if cohort not in by_cohort:
                continue
            entry = by_cohort[cohort]
            if "auc_by_class" in entry:
                raise StatisticsError(
                    "the performance table is for two classes.",
                    "Use multiclass_table for endpoints with more.",
                )
            mark = ",".join(marks.get(method, ())) if cohort == compare_in else ""
            title = method_title(method), cohort_titles.get(cohort, cohort)
            rows.append(
                {"Method": title[0], "Cohort": title[1], "n": str(entry["n"])}
                | {"AUC": format_auc(entry["auc"], mark=mark)}
                | {column: format_percent(entry[name]) for name, column in _PERCENTS.items()}
            )
            columns = {"auc": "AUC", **_PERCENTS}
            missing += _reasons(title, {column: entry[name] for name, column in columns.items()})
    notes += [OPTIMISTIC] if metrics.get("threshold_rule") == "youden-per-cohort" else []
    printed = ["Method", "Cohort", "n", "AUC", *_PERCENTS.values()]
    return PrintedTable(pd.DataFrame(rows, columns=printed), (*notes, *told_reasons(missing)))


def multiclass_table(
    metrics: Mapping[str, Any],
    *,
    cohort_titles: Mapping[str, str] = COHORT_TITLES,
) -> PrintedTable:
    """Format the metrics of three classes or more: a row a class, after a row for all of them."""
    rows: list[dict[str, str]] = []
    missing: list[tuple[str, str]] = []
    for method, by_cohort in metrics["methods"].items():
        for cohort, entry in by_cohort.items():
            title = method_title(method), cohort_titles.get(cohort, cohort)
            rows.append(
                {
                    "Method": title[0],
                    "Cohort": title[1],
                    "Class": "all",
                    "n": str(entry["n"]),
                    "AUC": format_auc(_with_delong(entry["auc"])),
                    "ACC (%)": format_percent(entry["accuracy"]),
                    "Precision (%)": "",
                    "Recall (%)": "",
                    "F1 (%)": format_percent(entry["macro_f1"]),
                }
            )
            of_all = {"all, F1 (%)": entry["macro_f1"]}
            missing += _reasons(title, of_all)
            for name in entry["classes"]:
                figures = {
                    "AUC": entry["auc_by_class"][name],
                    "Precision (%)": entry["precision"][name],
                    "Recall (%)": entry["recall"][name],
                    "F1 (%)": entry["f1"][name],
                }
                rows.append(
                    {
                        "Method": "",
                        "Cohort": "",
                        "Class": name,
                        "n": str(entry["counts"][name]),
                        "AUC": format_auc(figures["AUC"]),
                        "ACC (%)": "",
                    }
                    | {c: format_percent(f) for c, f in figures.items() if c != "AUC"}
                )
                missing += _reasons(title, {f"{name}, {c}": f for c, f in figures.items()})
    return PrintedTable(pd.DataFrame(rows), (_MACRO, *told_reasons(missing)))


_MACRO = (
    "AUC of all classes: the mean of the one-versus-rest areas, with DeLong's interval; of one "
    "class: against all others, with the binomial exact interval. F1 of all classes: the mean of "
    "the classes', with the BCa interval of redrawn patients; of one class with the exact interval"
)


def _reasons(
    title: tuple[str, str], figures: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Where and why, of each figure that has no value or no interval."""
    return [
        (f"{title[0]}, {title[1].lower()}, {name}", figure["reason"])
        for name, figure in figures.items()
        if figure["value"] is None or figure["low"] is None
    ]


def _with_delong(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A mean of areas has no exact interval."""
    return {"value": entry["value"], "low": entry["delong_low"], "high": entry["delong_high"]}


def told_comparisons(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tests that are told in words: all of up to three methods, else those with the first.

    Ten footnotes of five methods say less than the table of comparisons.
    """
    methods = list(metrics["methods"])
    tests: list[Mapping[str, Any]] = metrics["comparisons"]
    return tests if len(methods) <= 3 else [test for test in tests if test["a"] == methods[0]]


def _comparison_notes(
    metrics: Mapping[str, Any],
    cohort: str,
    cohort_titles: Mapping[str, str],
) -> tuple[dict[str, list[str]], list[str]]:
    marks: dict[str, list[str]] = {}
    notes: list[str] = []
    tests = [test for test in told_comparisons(metrics) if test["cohort"] == cohort]
    for index, test in enumerate(tests):
        mark = ascii_lowercase[index % 26] * (1 + index // 26)
        marks.setdefault(test["a"], []).append(mark)
        other = method_title(test["b"])
        where = cohort_titles.get(cohort, cohort).lower()
        if test["p"] is None:
            said = f"not computed, {test['reason']}"
        else:
            shown = format_p(test["p"], decimals=4)
            said = f"p {'< ' + shown[1:] if shown.startswith('<') else '= ' + shown}"
        notes.append(f"{mark}: {said}, DeLong, in comparison with {other} in the {where} cohort")
    return marks, notes
