"""The cohort's description by group: the paper's Table 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from axilla.analysis.group_tests import chi_square_p, group_names, rank_p
from axilla.analysis.tables.printed import DASH, format_number, format_p
from axilla.core.errors import StatisticsError

_EMPTY: Mapping[str, Any] = {}


def cohort_table(
    frame: pd.DataFrame,
    groups: pd.Series[Any],
    *,
    numeric: Sequence[str],
    categorical: Sequence[str] | Mapping[str, Sequence[str]],
    titles: Mapping[str, str] = _EMPTY,
    digits: Mapping[str, tuple[int, int]] = _EMPTY,
) -> pd.DataFrame:
    """Describe all patients and each group, with a p-value a characteristic.

    Parameters
    ----------
    frame
        One row a patient.
    groups
        The group's name of each row, on the index of `frame`; columns come in the order of its
        categories, or of its first appearances.
    numeric
        Columns shown as mean ± SD (sample SD), tested by Mann-Whitney U.
    categorical
        Columns shown as count (percent of the group's known values), tested by chi-square; as a
        mapping it also says which levels, in which order.
    titles
        Printed names by column; the column's own where there is none.
    digits
        Decimals of mean and SD by column, (2, 3) where there are none.

    Returns
    -------
    DataFrame
        Columns Characteristic, Level, All patients, one a group, p; all text. Missing values have
        a row `Missing` where there are any, and are left out of the other rows and of the test.
        `attrs["p"]` holds the unrounded p-values by column (NaN where there is none), and
        `attrs["notes"]` the reasons for those.

    Raises
    ------
    StatisticsError
        A column is not there, a patient has no group, or a value is none of the given levels.
    """
    levels = categorical if isinstance(categorical, Mapping) else dict.fromkeys(categorical)
    _check(frame, groups, columns=[*numeric, *levels])
    names = group_names(groups)
    members = {name: (groups == name).to_numpy() for name in names}
    everyone = {"All patients": np.ones(len(frame), dtype=bool), **members}
    rows = [
        {"Characteristic": "Number", "Level": ""}
        | {"All patients": str(len(frame))}
        | {name: _share(int(own.sum()), len(frame)) for name, own in members.items()}
        | {"p": ""}
    ]
    p_values: dict[str, float] = {}
    notes: list[str] = []
    for column in [*numeric, *levels]:
        title = titles.get(column, column)
        if column in levels:
            block = _level_rows(frame[column], everyone, levels=levels[column])
            p, reason = chi_square_p(frame[column], groups)
        else:
            block = [_mean_row(frame[column], everyone, digits=digits.get(column, (2, 3)))]
            p, reason = rank_p(frame[column], groups)
        missing = frame[column].isna().to_numpy()
        if missing.any():
            counts = {name: str(int((missing & own).sum())) for name, own in everyone.items()}
            block.append({"Level": "Missing"} | counts)
        block[0] = {"Characteristic": title} | block[0] | {"p": format_p(p)}
        rows += [{"Characteristic": "", "p": ""} | row for row in block]
        p_values[column] = p
        notes += [f"{title}: no p-value, {reason}."] if reason else []
    columns = ["Characteristic", "Level", "All patients", *names, "p"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs = {"p": p_values, "notes": notes}
    return table


def _check(frame: pd.DataFrame, groups: pd.Series[Any], *, columns: Sequence[str]) -> None:
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise StatisticsError(
            f"the cohort has no column `{absent[0]}`.", "Name a column of the cohort table."
        )
    if not frame.index.equals(groups.index):
        raise StatisticsError(
            "the groups are not those of the cohort's rows.",
            "Give a group a patient, on the same index.",
        )
    if groups.isna().any():
        raise StatisticsError(
            "a patient is in no group.",
            "Leave such patients out of the table before.",
            patient=str(groups.index[groups.isna()][0]),
        )


def _mean_row(
    values: pd.Series[Any], members: Mapping[str, Any], *, digits: tuple[int, int]
) -> dict[str, str]:
    row = {"Level": "mean ± SD"}
    for name, own in members.items():
        known = values[own].dropna().to_numpy(dtype=np.float64)
        mean = format_number(float(known.mean()), digits[0]) if len(known) else DASH
        sd = format_number(float(known.std(ddof=1)), digits[1]) if len(known) > 1 else DASH
        row[name] = f"{mean} ± {sd}" if len(known) else DASH
    return row


def _level_rows(
    values: pd.Series[Any], members: Mapping[str, Any], *, levels: Sequence[str] | None
) -> list[dict[str, str]]:
    known = values.dropna()
    if levels is None:
        ordered = isinstance(values.dtype, pd.CategoricalDtype)
        levels = list(values.cat.categories) if ordered else sorted(known.unique())
    else:
        strange = ~known.isin(list(levels))
        if strange.any():
            raise StatisticsError(
                f"`{values.name}` is `{known[strange].iloc[0]}`, none of {', '.join(levels)}.",
                "Correct the value or add the level.",
                patient=str(known.index[strange][0]),
            )
    rows = []
    for level in levels:
        row = {"Level": str(level)}
        for name, own in members.items():
            count, total = int((values[own] == level).sum()), int(values[own].notna().sum())
            # As the paper prints it: all patients as counts, groups with their percent.
            row[name] = str(count) if name == "All patients" else _share(count, total)
        rows.append(row)
    return rows or [{"Level": ""}]


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.1f}%)" if total else f"{count} ({DASH})"
