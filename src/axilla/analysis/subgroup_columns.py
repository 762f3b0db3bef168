"""The paper's subgroups, made from the columns of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from axilla.analysis.staging import T_GROUPS, t_groups

TITLES: Mapping[str, str] = {"er": "ER", "pr": "PR", "her2": "HER2"}
AGE_LIMIT = 50
"""Years; the paper's younger group is of this age or below."""


def paper_groups(
    frame: pd.DataFrame,
    *,
    categorical: Sequence[str] | Mapping[str, Sequence[str]] = ("er", "pr", "her2"),
    titles: Mapping[str, str] = TITLES,
) -> dict[str, pd.Series[Any]]:
    """Divide patients as the paper's supplementary Table 5: by age, T stage and receptors.

    Parameters
    ----------
    frame
        One row a patient; age in years, the tumour's size in cm or mm by the column's name.
    categorical
        Columns of categories; as a mapping it also says which levels, in which order. Otherwise
        positive comes first, as in the paper, and spellings that differ in case are one level.
    titles
        Printed names by column; the column's own where there is none.

    Returns
    -------
    dict
        Ordered categories on the index of `frame` by the characteristic's title, missing where the
        value is. A column that is not there, or an age or size that is no number, makes none.
    """
    groups: dict[str, pd.Series[Any]] = {}
    if _is_numeric(frame, "age"):
        young, old = f"≤ {AGE_LIMIT}", f"> {AGE_LIMIT}"
        name = (frame["age"] <= AGE_LIMIT).map({True: young, False: old})
        groups["Age, years"] = _ordered(name.where(frame["age"].notna()), [young, old])
    stage = t_groups(frame)
    if stage is not None:
        groups["T stage"] = _ordered(stage, T_GROUPS)
    for column in categorical:
        if column in frame.columns:
            given = categorical[column] if isinstance(categorical, Mapping) else None
            groups[titles.get(column, column)] = _categories(frame[column], given)
    return groups


def _categories(cells: pd.Series[Any], given: Sequence[str] | None) -> pd.Series[Any]:
    names = cells.map(lambda cell: None if pd.isna(cell) else _name(cell))
    spelling: dict[str, str] = {name.lower(): name for name in given or ()}
    for name in names.dropna():
        spelling.setdefault(name.lower(), name)
    names = names.map(lambda name: None if pd.isna(name) else spelling[name.lower()])
    found = set(names.dropna())
    order = list(given or ())
    order += sorted(found - set(order), key=lambda name: (name.lower() != "positive", name))
    return _ordered(names, order)


def _name(cell: Any) -> str:
    # A grade of 2 comes as 2.0 from a column of numbers.
    return f"{cell:g}" if isinstance(cell, float) else str(cell).strip()


def _ordered(names: pd.Series[Any], levels: Sequence[str]) -> pd.Series[Any]:
    return pd.Series(pd.Categorical(names, categories=list(levels)), index=names.index)


def _is_numeric(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and pd.api.types.is_numeric_dtype(frame[column])
