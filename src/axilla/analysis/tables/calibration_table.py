"""The methods' calibration by cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import PrintedTable, format_figure, format_number, told_reasons
from axilla.core.errors import StatisticsError
from axilla.core.methods import method_title
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_COLUMNS = {
    "observed_expected": ("O/E", 2),
    "intercept": ("Intercept", 2),
    "slope": ("Slope", 2),
    "brier": ("Brier score", 3),
    "scaled_brier": ("Scaled Brier score", 3),
}
"""Heading and decimals."""
_IDEAL = (
    "Of perfectly calibrated predictions O/E (positives observed by expected) and the slope are 1 "
    "and the intercept is 0; a slope below 1 means predictions that are too extreme. A useful "
    "model's scaled Brier score is above 0. In brackets 95% confidence intervals."
)
_INDEX = "ICI (by chance; 95%)"
_INDEX_TOLD = (
    "ICI: the integrated calibration index, the mean distance between predicted and observed risk "
    "over the patients; 0 is ideal. It has no interval. In round brackets what is expected by "
    "chance alone for perfectly calibrated scores of this many patients: the mean, and what 95% of "
    "such cohorts stay below."
)


_BY_CLASS = (
    "Each class is set against all others together. The Brier score of all classes is the squared "
    "distances summed over the classes (0 is perfect, 2 the worst), with the BCa interval of "
    "redrawn patients."
)


def calibration_table(
    metrics: Mapping[str, Any],
    *,
    cohorts: Sequence[str] | None = None,
    cohort_titles: Mapping[str, str] = COHORT_TITLES,
) -> PrintedTable:
    """Format the calibration of every method on every cohort, with 95% intervals in brackets.

    Parameters
    ----------
    metrics
        What `evaluate` returned, or `metrics.json`: of two classes with `calibration` in each
        cohort's entry (see `calibration_entry`), of more with `calibration_by_class`, which gives
        a row a class after one of all.
    cohorts
        Which, in which order; None takes all as they come.
    cohort_titles
        Printed names; the short name where there is none.

    Raises
    ------
    StatisticsError
        An entry has no calibration: the metrics are older.
    """
    missing: list[tuple[str, str, str, str]] = []
    clipped: list[str] = []
    rows = []
    by_class = False
    for method, by_cohort in metrics["methods"].items():
        for cohort in cohorts or by_cohort:
            if cohort not in by_cohort:
                continue
            title, shown = method_title(method), cohort_titles.get(cohort, cohort)
            for name, entry in _entries(by_cohort[cohort], method, cohort):
                cells = {"Method": title, "Cohort": shown}
                where = shown.lower()
                if name is not None:
                    by_class = True
                    cells |= {"Class": name}
                    where += f", class {name}"
                rows.append(cells | {"n": str(entry["n"])} | _figures(entry))
                missing += [
                    (title, where, heading, entry[key]["reason"])
                    for key, (heading, _) in _COLUMNS.items()
                    if key in entry and (entry[key]["value"] is None or entry[key]["low"] is None)
                ]
                if "ici" in entry and entry["ici"]["value"] is None:
                    missing.append((title, where, "ICI", entry["ici"]["reason"]))
                if entry.get("clipped"):
                    clipped.append(_clipped(f"{title}, {where}", entry))
    headings = [heading for heading, _ in _COLUMNS.values()]
    of_class = ["Class"] if by_class else []
    frame = pd.DataFrame(rows, columns=["Method", "Cohort", *of_class, "n", *headings, _INDEX])
    notes = (_IDEAL, _INDEX_TOLD, *([_BY_CLASS] if by_class else []))
    return PrintedTable(frame, (*notes, *told_reasons(_places(missing)), *clipped))


def _entries(
    entry: Mapping[str, Any], method: str, cohort: str
) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Each row's class, None of two, and its figures."""
    if "calibration" in entry:
        yield None, entry["calibration"]
        return
    if "calibration_by_class" not in entry:
        raise StatisticsError(
            f"the metrics of {method} on {cohort} hold no calibration.",
            "They are of an older version; evaluate the predictions again.",
        )
    yield "all", {"n": entry["n"], "brier": entry["brier"]}
    yield from entry["calibration_by_class"].items()


def _figures(entry: Mapping[str, Any]) -> dict[str, str]:
    told = {
        heading: format_figure(entry[key], decimals=decimals) if key in entry else ""
        for key, (heading, decimals) in _COLUMNS.items()
    }
    return told | {_INDEX: _index(entry["ici"]) if "ici" in entry else ""}


def _index(entry: Mapping[str, Any]) -> str:
    """`0.031 (0.025; 0.048)`."""
    value = format_figure(entry, decimals=3)
    chance = entry.get("by_chance")
    if chance is None:
        return value
    return f"{value} ({format_number(chance['mean'], 3)}; {format_number(chance['upper'], 3)})"


def _clipped(where: str, entry: Mapping[str, Any]) -> str:
    return (
        f"{where}: {entry['clipped']} of {entry['n']} predictions are nearer to 0 or 1 than one in "
        "a million; intercept and slope take them at that distance."
    )


def _places(missing: Sequence[tuple[str, str, str, str]]) -> list[tuple[str, str]]:
    """Where figures are missing, and why; methods and figures that lack them alike told at once."""
    figures: dict[tuple[str, str, str], list[str]] = {}
    for method, cohort, heading, reason in missing:
        figures.setdefault((reason, cohort, method), []).append(heading)
    methods: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (reason, cohort, method), headings in figures.items():
        methods.setdefault((reason, cohort, tuple(headings)), []).append(method)
    return [
        (f"{' and '.join(names)}, {cohort}, {' and '.join(headings)}", reason)
        for (reason, cohort, headings), names in methods.items()
    ]
