"""Clinical cells against what the study declares: ranges, values, and units told by a name."""

from __future__ import annotations

import difflib
import statistics
from typing import TYPE_CHECKING, NamedTuple

from axilla.core.config_clinical import (
    KNOWN_CATEGORIES,
    CategoricalColumn,
    Clinical,
    NumericColumn,
)
from axilla.core.errors import Problem
from axilla.core.naming import first_few
from axilla.core.signs import plain_sign
from axilla.core.spellings import several_spellings
from axilla.core.table import MISSING, parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import pandas as pd

    from axilla.core.config import StudyConfig

_TWIN = {"_cm": ("_mm", 0.1), "_mm": ("_cm", 10.0)}
"""Ends of names that tell a unit: the other one, and what its values are multiplied by."""
MOST_LEVELS = 10
"""Numbers of more values than this are a measurement, no category; receptors have fewer."""
FEW = 5
"""The median of fewer values says nothing of their unit."""


class Cell(NamedTuple):
    """What is wrong with a cell."""

    cause: str
    remedy: str


def in_declared_units(
    table: pd.DataFrame, config: StudyConfig
) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """The table with `<name>_cm` made from `<name>_mm` where only the other one is there.

    Returns
    -------
    tuple
        The table, text as before, and a note a column that was converted.
    """
    notes = []
    for name in config.clinical.numeric_names:
        other, factor = _TWIN.get(name[-3:], ("", 1.0))
        twin = name[:-3] + other
        if name in table.columns or not other or twin not in table.columns:
            continue
        table = table.assign(**{name: [_times(cell, factor) for cell in table[twin]]})
        notes.append(
            Problem(
                cause=f"has no column `{name}`, but `{twin}`: its values were multiplied by "
                f"{factor:g}.",
                remedy=f"Name `{twin}` under clinical.numeric to use it as it is.",
                file=config.cohort,
                fatal=False,
                code="unit",
            )
        )
    return table, tuple(notes)


def signed_columns(config: StudyConfig) -> tuple[str, ...]:
    """Columns in which a lone dash may be a category: the categories, and an endpoint with one."""
    names = config.clinical.categorical_names
    if isinstance(config.endpoint, str):
        return names
    signed = any(plain_sign(name) == "-" for name in config.endpoint.names)
    return (*names, config.endpoint.column) if signed else names


def declared_words(config: StudyConfig) -> dict[str, frozenset[str]]:
    """By column, words that mean a missing cell elsewhere, and a value here: "none" of an invasion.

    In lower case.
    """
    declared = {column.name: column.values or () for column in config.clinical.categorical}
    if not isinstance(config.endpoint, str):
        own = declared.get(config.endpoint.column, ())
        declared[config.endpoint.column] = (*own, *config.endpoint.names)
    lower = {name: {value.lower() for value in values} for name, values in declared.items()}
    return {name: frozenset(values & MISSING) for name, values in lower.items() if values & MISSING}


def without_unclear_dashes(table: pd.DataFrame, config: StudyConfig) -> pd.DataFrame:
    """The table for a study that only describes its clinical columns: an unclear dash is missing.

    A study that learns from them refuses the column instead (`column_problems`).
    """
    unclear = {
        column.name: table[column.name].replace("-", "")
        for column in config.clinical.categorical
        if column.name in table.columns
        and not _dash_is_category(column, table[column.name])
        and (isinstance(config.endpoint, str) or column.name != config.endpoint.column)
    }
    return table.assign(**unclear)


def _times(cell: str, factor: float) -> str:
    number = parse_number(cell) if cell else None
    return cell if number is None else f"{number * factor:.12g}"


def column_problems(table: pd.DataFrame, config: StudyConfig) -> dict[str, Problem]:
    """Columns that are wrong as a whole, by name; their cells need not be told one by one."""
    found: dict[str, Problem] = {}
    for number in config.clinical.numeric:
        cause = _other_unit(number, table[number.name])
        if cause is not None:
            found[number.name] = _of_column(cause, file=config.cohort)
    for category in config.clinical.categorical:
        cells = table[category.name]
        cause = (
            _measured(category, cells)
            or _unclear_dash(category, cells)
            or _several_ways(category, cells)
        )
        if cause is not None:
            found[category.name] = _of_column(cause, file=config.cohort)
    return found


def unit_notes(
    table: pd.DataFrame, config: StudyConfig, *, told: Collection[str]
) -> tuple[Problem, ...]:
    """Patients whose number is possible, and lies where the other unit would be likelier.

    Parameters
    ----------
    table
        As it was read: a column that was converted is in its unit.
    told
        Columns that are wrong as a whole, of which nothing more is said.
    """
    notes = []
    for column in config.clinical.numeric:
        if column.typical is None or column.name in told or column.name not in table.columns:
            continue
        cells = table.drop_duplicates("patient_id").set_index("patient_id")[column.name]
        numbers = {str(p): n for p, cell in cells.items() if (n := parse_number(cell)) is not None}
        note = _other_unit_of_some(column, numbers)
        if note is not None:
            notes.append(
                Problem(note.cause, note.remedy, file=config.cohort, fatal=False, code="unit")
            )
    return tuple(notes)


def _other_unit_of_some(column: NumericColumn, numbers: dict[str, float]) -> Cell | None:
    """What to say of values outside the typical range, and in the range that is accepted.

    Millimetres in a column of cm are too large, centimetres in one of mm too small.
    """
    low, high = column.typical or (float("-inf"), float("inf"))
    other = _TWIN[column.name[-3:]][0][1:]
    above = other == "mm"
    found = {
        patient: number
        for patient, number in numbers.items()
        if (number > high if above else number < low) and number_problem(column, number) is None
    }
    if not found:
        return None
    listed = [f"{patient}: {number:g}" for patient, number in found.items()]
    return Cell(
        f"`{column.name}` of {len(found)} patient{'s' if len(found) != 1 else ''} lies "
        + (f"above {high:g}" if above else f"below {low:g}")
        + f" {column.shown_unit} ({first_few(listed)}): is it in {other}?",
        f"Correct the values; if they are right, declare the range: {{name: {column.name}, "
        "min: ..., max: ...}.",
    )


def _of_column(cell: Cell, *, file: Path) -> Problem:
    return Problem(cause=cell.cause, remedy=cell.remedy, file=file, code="unit")


def _other_unit(column: NumericColumn, cells: pd.Series[str]) -> Cell | None:
    """A column whose median tells that it is in mm where its name says cm, or the reverse."""
    numbers = [n for cell in cells if cell and (n := parse_number(cell)) is not None]
    if column.typical is None or len(numbers) < FEW:
        return None
    low, high = column.typical
    middle = statistics.median(numbers)
    if low <= middle <= high:
        return None
    other = _TWIN[column.name[-3:]][0]
    return Cell(
        f"half of the patients have `{column.name}` "
        + (f"above {high:g}" if middle > high else f"below {low:g}")
        + f" {column.shown_unit}: the values are probably in {other[1:]}.",
        f"Name the column `{column.name[:-3]}{other}` in the table; if the values are right, "
        f"declare their range: {{name: {column.name}, min: ..., max: ...}}.",
    )


def _measured(column: CategoricalColumn, cells: pd.Series[str]) -> Cell | None:
    """A column of categories that holds a measurement, such as percentages of stained cells."""
    levels = set(cells) - {""}
    if column.values is not None or len(levels) <= MOST_LEVELS:
        return None
    numbers = all(parse_number(level) is not None for level in levels)
    if not numbers and column.name not in KNOWN_CATEGORIES:
        return None
    what = "numbers" if numbers else "values"
    return Cell(
        f"`{column.name}` has {len(levels)} different {what}, and is named as a category.",
        f"Name it under clinical.numeric, write categories such as positive and negative, or "
        f"declare its values: {{name: {column.name}, values: [...]}}.",
    )


def _several_ways(column: CategoricalColumn, cells: pd.Series[str]) -> Cell | None:
    """A column that writes positive or negative in more than one way, each a category."""
    several = () if column.values is not None else several_spellings(column.name, cells)
    if not several:
        return None
    ways = "; ".join(", ".join(repr(way) for way in ways) for ways in several)
    return Cell(
        f"`{column.name}` writes one value in several ways ({ways}).",
        "Write positive and negative, or declare the values: "
        f"categorical: [{{name: {column.name}, values: [...]}}].",
    )


def _unclear_dash(column: CategoricalColumn, cells: pd.Series[str]) -> Cell | None:
    """A dash that may stand for negative as well as for nothing, by all that the column holds."""
    if not (cells == "-").any() or _dash_is_category(column, cells):
        return None
    count = int((cells == "-").sum())
    return Cell(
        f"`{column.name}` is a dash in {count} row{'s' if count != 1 else ''} and `+` in none, so "
        "that the dash may say negative or missing.",
        f"Write negative, or leave the cells empty where the value is missing; if `-` is a "
        f'category, declare it: {{name: {column.name}, values: ["+", "-"]}}.',
    )


def _dash_is_category(column: CategoricalColumn, cells: pd.Series[str]) -> bool:
    """Whether the study declares a dash as a value of the column, or `+` stands beside it."""
    return "-" in column.known_values or bool((cells == "+").any())


def number_problem(column: NumericColumn, value: float) -> Cell | None:
    """What is wrong with a number; None where it is in its range."""
    below = column.low is not None and value < column.low
    above = column.high is not None and value > column.high
    if not (below or above):
        return None
    unit = "" if column.shown_unit is None else f" {column.shown_unit}"
    limit = f"at least {column.low:g}" if below else f"at most {column.high:g}"
    bound = "min" if below else "max"
    cause = f"`{column.name}` is {value:g}{unit}, but should be {limit}"
    remedy = "Correct the value"
    other = _TWIN.get(column.name[-3:], ("",))[0][1:]
    if (above and other == "mm") or (below and other == "cm" and value > 0):
        cause += f"; it is probably in {other}"
        remedy = f"Write it in{unit}"
    elif above and column.name == "age" and value >= 1900:
        cause += "; it is probably the year of birth"
        remedy = "Write the age at biopsy in years"
    return Cell(
        f"{cause}.",
        f"{remedy}; if it is right, declare the range: {{name: {column.name}, {bound}: ...}}.",
    )


def category_problem(column: CategoricalColumn, value: str) -> Cell | None:
    """What is wrong with a category, in lower case; None where it is one of the declared."""
    known = column.known_values
    if not known or value in known:
        return None
    near = difflib.get_close_matches(value, known, 1, 0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return Cell(
        f"`{column.name}` is {value!r}, but may be {', '.join(known)}{hint}.",
        "Correct the value, or add it to the column's `values`.",
    )


def clinical_values(
    clinical: Clinical, cell: Callable[[str], str], *, told: Collection[str] = ()
) -> tuple[dict[str, float | str | None], list[Cell]]:
    """A patient's clinical columns from the text of each cell, and what is wrong with them.

    Parameters
    ----------
    cell
        Gives a column's text, empty where it is missing.
    told
        Columns that are wrong as a whole, of whose cells nothing more is said.
    """
    values: dict[str, float | str | None] = {}
    wrong: list[Cell] = []
    for name in clinical.numeric_names:
        text = cell(name)
        number = parse_number(text) if text else None
        if text and number is None:
            wrong.append(Cell(f"`{name}` is {text!r}, which is no number.", "Write a number."))
        values[name] = number
    for name in clinical.categorical_names:
        values[name] = cell(name).lower() or None
    problems = (cell_problem(c, values[c.name], told=told) for c in clinical.columns)
    wrong.extend(problem for problem in problems if problem is not None)
    return values, wrong


def cell_problem(
    column: NumericColumn | CategoricalColumn,
    value: float | str | None,
    *,
    told: Collection[str] = (),
) -> Cell | None:
    """What is wrong with a value of a column; nothing of columns that are `told` as a whole."""
    if value is None or column.name in told:
        return None
    if isinstance(column, NumericColumn):
        return number_problem(column, float(value))
    return category_problem(column, str(value))
