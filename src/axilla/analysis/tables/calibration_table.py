"""The methods' calibration by cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import PrintedTable, format_figure, told_reasons
from axilla.core.errors import StatisticsError
from axilla.core.methods import method_title
from axilla.core.types import COHORT_TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        What `evaluate` returned, or `metrics.json`; two classes, with `calibration` in each
        cohort's entry (see `calibration_entry`).
    cohorts
        Which, in which order; None takes all as they come.
    cohort_titles
        Printed names; the short name where there is none.

    Raises
    ------
    StatisticsError
        An entry has no calibration: the metrics are of more than two classes, or older.
    """
    missing: list[tuple[str, str, str, str]] = []
    clipped: list[str] = []
    rows = []
    for method, by_cohort in metrics["methods"].items():
        for cohort in cohorts or by_cohort:
            if cohort not in by_cohort:
                continue
            if "calibration" not in by_cohort[cohort]:
                raise StatisticsError(
                    f"the metrics of {method} on {cohort} hold no calibration.",
                    "It is for two classes; evaluate the predictions again if they have two.",
                )
            entry = by_cohort[cohort]["calibration"]
            titles = method_title(method), cohort_titles.get(cohort, cohort)
            rows.append(
                {"Method": titles[0], "Cohort": titles[1], "n": str(entry["n"])}
                | {
                    heading: format_figure(entry[name], decimals=decimals)
                    for name, (heading, decimals) in _COLUMNS.items()
                }
            )
            missing += [
                (*titles, heading, entry[name]["reason"])
                for name, (heading, _) in _COLUMNS.items()
                if entry[name]["value"] is None or entry[name]["low"] is None
            ]
            if entry["clipped"]:
                clipped.append(
                    f"{titles[0]}, {titles[1].lower()}: {entry['clipped']} of {entry['n']} "
                    "predictions are nearer to 0 or 1 than one in a million; intercept and slope "
                    "take them at that distance."
                )
    headings = [heading for heading, _ in _COLUMNS.values()]
    frame = pd.DataFrame(rows, columns=["Method", "Cohort", "n", *headings])
    return PrintedTable(frame, (_IDEAL, *told_reasons(_places(missing)), *clipped))


def _places(missing: Sequence[tuple[str, str, str, str]]) -> list[tuple[str, str]]:
    """Where figures are missing, and why; methods and figures that lack them alike told at once."""
    figures: dict[tuple[str, str, str], list[str]] = {}
    for method, cohort, heading, reason in missing:
        figures.setdefault((reason, cohort, method), []).append(heading)
    methods: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (reason, cohort, method), headings in figures.items():
        methods.setdefault((reason, cohort, tuple(headings)), []).append(method)
    return [
        (f"{' and '.join(names)}, {cohort.lower()}, {' and '.join(headings)}", reason)
        for (reason, cohort, headings), names in methods.items()
    ]
