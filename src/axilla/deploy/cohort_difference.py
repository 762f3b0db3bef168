"""The training cohort, as far as a bundle tells of it, beside an external cohort."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from axilla.analysis.differences import NOTABLE, mean_difference, share_difference
from axilla.analysis.tables.printed import DASH, format_number
from axilla.core.config import Clinical
from axilla.core.config_clinical import CategoricalColumn, NumericColumn
from axilla.core.store.model_record import SMALLEST_GROUP, SMALLEST_RANGE
from axilla.core.table import parse_number
from axilla.core.types import Cohort, Patient
from axilla.report.contents import Table
from axilla.study.describing import DIGITS, TITLES
from axilla.study.training_cohort import cohort_summary

WITHHELD = "withheld"
ABSENT = "not in the table"
_FEW = "1 to 9"
Row = tuple[str, str, str, str]
Summary = Mapping[str, Any]


def summary_here(
    cohort: Cohort, patients: Sequence[Patient], training: Summary, *, clinical: Clinical
) -> dict[str, Any]:
    """The same summary of patients here, of the columns that the training cohort's has.

    Groups under 10 are withheld as in a bundle, so that what is printed may leave the site.

    Parameters
    ----------
    cohort
        With the table, for columns that the model itself does not read.
    patients
        Those to be described.
    training
        `training_cohort` of the bundle's record.
    clinical
        The clinical columns as they were read.
    """
    read = {column.name: column for column in clinical.columns}
    wanted = Clinical(
        numeric=tuple(
            column if isinstance(column := read.get(name), NumericColumn)
            else NumericColumn(name=name)
            for name in training["numbers"]
        ),
        categorical=tuple(CategoricalColumn(name=name) for name in training["categories"]),
    )  # fmt: skip
    here = {str(name) for name in cohort.frame.columns}
    described = [
        replace(patient, clinical=_values(patient, cohort.frame, wanted, here=here))
        for patient in patients
    ]
    return cohort_summary(described, classes=cohort.classes, config=wanted)


def _values(
    patient: Patient, frame: pd.DataFrame, wanted: Clinical, *, here: set[str]
) -> dict[str, float | str | None]:
    """As the model read them; where it did not, as the table has them."""
    found: dict[str, float | str | None] = {}
    for name in wanted.names:
        if name in patient.clinical:
            found[name] = patient.clinical[name]
        elif name in here:
            cell = frame[name].loc[patient.patient_id]
            text = "" if pd.isna(cell) else str(cell).strip()
            number = name in wanted.numeric_names
            found[name] = parse_number(text) if number else text.lower() or None
    return found


def difference_table(training: Summary, here: Summary, *, clinical: Clinical) -> Table:
    """Both cohorts by characteristic, with the standardised difference of each.

    Parameters
    ----------
    training, here
        Summaries as a bundle's record holds one (`CohortSummary`).
    clinical
        The clinical columns, for their units.
    """
    return Table(
        title="The training cohort beside this one",
        columns=("Characteristic", "Training", "This cohort", "SMD"),
        rows=tuple(_rows(training, here, clinical=clinical)),
        notes=(
            (
                "Mean ± SD, or n (%). Of the training cohort the model holds no patient's row, but "
                f"these aggregates; groups of under {SMALLEST_GROUP} patients, and those from "
                f"which one would follow, are {WITHHELD} in both cohorts alike."
            ),
            (
                "SMD, standardised mean difference: this cohort less training, in standard "
                f"deviations (doi:10.1002/sim.3697); beyond {NOTABLE} either way the cohorts are "
                "commonly called different."
            ),
            (
                "Medians and ranges are means of the ten patients or slides in the middle and at "
                f"either end; a range asks for {SMALLEST_RANGE}."
            ),
        ),
        csv_name="cohorts.csv",
        number_columns=(1, 2, 3),
    )


def _rows(training: Summary, here: Summary, *, clinical: Clinical) -> Iterator[Row]:
    yield ("Patients", f"{training['patients']:,}", f"{here['patients']:,}", "")
    yield ("Endpoint", "", "", "")
    for name, count in training["classes"].items():
        other = here["classes"].get(name, 0)
        shares = count / training["patients"], other / here["patients"]
        yield (
            f"  {name}", _counted(count, shares[0]), _counted(other, shares[1]),
            _smd(share_difference(*shares)),
        )  # fmt: skip
    units = {column.name: column.shown_unit for column in clinical.numeric}
    for name, entry in training["numbers"].items():
        unit = units.get(name)
        title = TITLES.get(name, f"{name}, {unit}" if unit else name)
        yield from _number_rows(title, name, entry, here["numbers"].get(name))
    for name, entry in training["categories"].items():
        yield from _category_rows(TITLES.get(name, name), entry, here["categories"].get(name))
    yield from _slide_rows(training, here)


def _number_rows(title: str, name: str, entry: Summary, other: Summary | None) -> Iterator[Row]:
    digits = DIGITS.get(name, (2, 3))
    both = [one for one in (entry, other) if one is not None and one["mean"] is not None]
    smd = DASH
    if len(both) == 2:
        smd = _smd(mean_difference(*((one["mean"], one["sd"]) for one in both)))
    yield (title, _mean(entry, digits), ABSENT if other is None else _mean(other, digits), smd)
    yield from _missing_row(entry, other)


def _category_rows(title: str, entry: Summary, other: Summary | None) -> Iterator[Row]:
    yield (title, "", "", "") if other is not None else (title, "", ABSENT, "")
    shares = entry["shares"]
    others = {} if other is None else other["shares"]
    for level in dict.fromkeys([*shares, *others]):
        first = shares.get(level, 0.0)
        second = None if other is None else others.get(level, 0.0)
        smd = DASH
        if first is not None and second is not None:
            smd = _smd(share_difference(first, second))
        yield (f"  {level}", _share(first), DASH if other is None else _share(second), smd)
    yield from _missing_row(entry, other)


def _missing_row(entry: Summary, other: Summary | None) -> Iterator[Row]:
    told = [entry["missing"], 0 if other is None else other["missing"]]
    if told == [0, 0]:
        return
    cells = [_FEW if count is None else f"{count:,}" for count in told]
    yield ("  Missing", cells[0], DASH if other is None else cells[1], "")


def _slide_rows(training: Summary, here: Summary) -> Iterator[Row]:
    if training.get("slides") and here.get("slides"):
        yield ("Slides", f"{training['slides']:,}", f"{here['slides']:,}", "")
    for key, title, decimals in (
        ("slide_mpp", "µm per pixel of the slides", 3),
        ("patches", "Patches a patient", 0),
    ):
        if training.get(key) is not None:
            yield (title, _median(training[key], decimals), _median(here.get(key), decimals), "")


def _mean(entry: Summary, digits: tuple[int, int]) -> str:
    if entry["mean"] is None or entry["sd"] is None:
        return WITHHELD
    return f"{format_number(entry['mean'], digits[0])} ± {format_number(entry['sd'], digits[1])}"


def _counted(count: int, share: float) -> str:
    return f"{count:,} ({100 * share:.1f}%)"


def _share(share: float | None) -> str:
    return WITHHELD if share is None else f"{100 * share:.1f}%"


def _median(entry: Summary | None, decimals: int) -> str:
    """`0.250 (0.248 to 0.252)`, as far as there are enough patients for it."""
    if entry is None:
        return DASH
    if entry["median"] is None:
        return WITHHELD if entry.get("known") != 0 else "not said"
    text = f"{entry['median']:,.{decimals}f}"
    if entry["low"] is None or entry["high"] is None:
        return text
    return f"{text} ({entry['low']:,.{decimals}f} to {entry['high']:,.{decimals}f})"


def _smd(value: float) -> str:
    return DASH if math.isnan(value) else format_number(value, 2, signed=True)
