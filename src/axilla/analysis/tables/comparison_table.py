"""All methods in one table: each with its area, and DeLong's test against the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import DASH, PrintedTable, format_auc, format_number, format_p
from axilla.core.methods import method_title
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def comparison_table(
    metrics: Mapping[str, Any], *, cohort_titles: Mapping[str, str] = COHORT_TITLES
) -> PrintedTable | None:
    """Format the comparisons with the first method, cohort by cohort.

    Parameters
    ----------
    metrics
        What `evaluate` returned, or `metrics.json`; of any number of classes.

    Returns
    -------
    PrintedTable or None
        Columns Method, Cohort, Class (where there are more than two), n, AUC, Difference, z, p,
        p (Holm). Difference is the method's area less the first one's, with DeLong's 95% interval.
        None where there is a single method.
    """
    first, *others = metrics["methods"]
    if not others:
        return None
    cohorts = dict.fromkeys(c for by_cohort in metrics["methods"].values() for c in by_cohort)
    rows: list[dict[str, str]] = []
    missing: list[str] = []
    for cohort in cohorts:
        where = cohort_titles.get(cohort, cohort)
        for name, area_of in _areas(metrics, cohort):
            of = {} if name is None else {"Class": name}
            for method in metrics["methods"]:
                if method not in area_of:
                    continue
                test = _test(metrics, cohort, first, method, name)
                n = metrics["methods"][method][cohort]["n"] if test is None else test["n"]
                start = {"Method": method_title(method), "Cohort": where, **of, "n": str(n)}
                rows.append({**start, "AUC": format_auc(area_of[method])} | _cells(test))
                if method == first:
                    rows[-1]["Difference"] = "reference"
                said = ", ".join([start["Method"], where.lower(), *of.values()])
                reason = None if test is None else test.get("reason", test.get("note"))
                missing += [f"{said}: {reason}."] if reason else []
    against = method_title(first)
    notes = (
        f"Difference: AUC less that of {against} in the same patients, DeLong's 95% interval.",
        "z and p: paired DeLong test; p (Holm): adjusted for the cohort's rows.",
    )
    return PrintedTable(pd.DataFrame(rows), (*notes, *missing))


def _areas(
    metrics: Mapping[str, Any], cohort: str
) -> Iterator[tuple[str | None, dict[str, Mapping[str, Any]]]]:
    """Each class with the areas by method; one nameless class where there are two."""
    entries = {m: by[cohort] for m, by in metrics["methods"].items() if cohort in by}
    classes = next(iter(entries.values())).get("classes")
    if classes is None:
        yield None, {m: entry["auc"] for m, entry in entries.items()}
        return
    for name in classes:
        yield name, {m: entry["auc_by_class"][name] for m, entry in entries.items()}


def _test(
    metrics: Mapping[str, Any], cohort: str, first: str, method: str, name: str | None
) -> Mapping[str, Any] | None:
    wanted = {"cohort": cohort, "a": first, "b": method} | ({} if name is None else {"class": name})
    found = (t for t in metrics["comparisons"] if wanted.items() <= t.items())
    return next(found, None)


def _cells(test: Mapping[str, Any] | None) -> dict[str, str]:
    if test is None or test["p"] is None:
        return dict.fromkeys(("Difference", "z", "p", "p (Holm)"), DASH)
    # metrics.json holds the first area less the second, as the pair is named.
    value, low, high = (
        format_number(-test[name], 3, signed=True) for name in ("difference", "high", "low")
    )
    return {
        "Difference": f"{value} [{low}, {high}]",
        "z": format_number(-test["z"], 2),
        "p": format_p(test["p"]),
        "p (Holm)": format_p(test["p_holm"]),
    }
