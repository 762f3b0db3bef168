"""Describe the cohort: the paper's Table 1, by cohort and by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from axilla.analysis.staging import t_groups
from axilla.analysis.subgroup_columns import paper_groups
from axilla.analysis.tables.cohort_table import cohort_table
from axilla.core.config import Clinical, StudyConfig
from axilla.core.table import parse_number
from axilla.core.types import Cohort, Partition

TITLES = {
    "age": "Age, years",
    "tumor_size_cm": "Tumor size, cm",
    "tumor_size_mm": "Tumor size, mm",
    "t_stage": "T stage",
    "nodes": "Number of LNM",
    "er": "ER",
    "pr": "PR",
    "her2": "HER2",
    "endpoint": "Endpoint",
}
DIGITS = {"age": (2, 3), "tumor_size_cm": (3, 4), "nodes": (2, 3)}
"""Decimals of mean and SD, as the paper's Table 1 prints them."""


def describe_cohort(
    cohort: Cohort, partitions: tuple[Partition, ...], *, config: StudyConfig
) -> dict[str, pd.DataFrame]:
    """The paper's Table 1, each way in which the study's patients fall into groups.

    Characteristics are those of the study's clinical columns that the table has, the T stage made
    from the size, and the endpoint.

    Returns
    -------
    dict
        By the table's file name: `table1`, training with validation against test, and
        `table1_by_class`. With folds everybody is in every cohort, and `table1` is by class.
    """
    labels = cohort.labels()
    frame = _cells(cohort.frame.loc[list(labels)], config.clinical)
    names = [cohort.classes[label] for label in labels.values()]
    classes = pd.Series(pd.Categorical(names, categories=cohort.classes), index=frame.index)
    # The nodes make the classes: to test them between the classes would say nothing.
    by_class = _described(frame.drop(columns="nodes", errors="ignore"), classes, config=config)
    if len(partitions) > 1:
        return {"table1": by_class}
    where = partitions[0].cohort_of
    sides = ["Test" if where[patient] == "test" else "Training" for patient in labels]
    groups = pd.Series(pd.Categorical(sides, categories=["Training", "Test"]), index=frame.index)
    by_cohort = _described(frame, groups, config=config, outcome=classes)
    return {"table1": by_cohort, "table1_by_class": by_class}


def subgroups_of(cohort: Cohort, *, config: StudyConfig) -> dict[str, pd.Series[Any]]:
    """The paper's subgroups of everybody in the cohort, as `paper_groups` divides them."""
    frame = _cells(cohort.frame.loc[list(cohort.labels())], config.clinical)
    columns = [n for n in config.clinical.categorical_names if n in frame.columns]
    return paper_groups(frame, categorical=columns, titles=TITLES)


def _described(
    frame: pd.DataFrame,
    groups: pd.Series[Any],
    *,
    config: StudyConfig,
    outcome: pd.Series[Any] | None = None,
) -> pd.DataFrame:
    """Describe the groups; `outcome`, each patient's class, is the last characteristic."""
    frame = frame.copy()
    numeric = [n for n in (*config.clinical.numeric_names, "nodes") if _is_numeric(frame, n)]
    categorical = [n for n in config.clinical.categorical_names if n in frame.columns]
    stage = t_groups(frame)
    if stage is not None:
        frame["t_stage"] = stage
        categorical.insert(0, "t_stage")
    levels = _levels(frame, categorical)
    if outcome is not None:
        frame["endpoint"] = outcome.astype(object)
        levels["endpoint"] = list(outcome.cat.categories)
    title = "ALN status" if isinstance(config.endpoint, str) else config.endpoint.column
    return cohort_table(
        frame,
        groups,
        numeric=numeric,
        categorical=levels,
        titles={**_unit_titles(config.clinical), **TITLES, "endpoint": title},
        digits=DIGITS,
    )


def _cells(frame: pd.DataFrame, clinical: Clinical) -> pd.DataFrame:
    """The patients' columns as the clinical methods read them.

    A column of numbers is text where a patient who left the study had a word in it, and
    `Positive` is the same level as `positive`.
    """
    frame = frame.copy()
    for name in (*clinical.numeric_names, "nodes"):
        if name in frame.columns and not _is_numeric(frame, name):
            cells = frame[name].dropna()
            numbers = cells.map(lambda cell: parse_number(str(cell)))
            if numbers.notna().all():
                frame[name] = numbers.astype(float).reindex(frame.index)
    for name in clinical.categorical_names:
        if name in frame.columns and not _is_numeric(frame, name):
            spelling: dict[str, str] = {}
            for cell in frame[name].dropna():
                spelling.setdefault(str(cell).lower(), str(cell))
            frame[name] = frame[name].map(
                lambda cell, spelling=spelling: (
                    cell if pd.isna(cell) else spelling[str(cell).lower()]
                )
            )
    return frame


def _unit_titles(clinical: Clinical) -> dict[str, str]:
    """How tables print columns whose unit the study declares."""
    return {c.name: f"{c.name}, {c.shown_unit}" for c in clinical.numeric if c.shown_unit}


def _is_numeric(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and pd.api.types.is_numeric_dtype(frame[column])


def _levels(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, list[str]]:
    """Printed order: positive before negative, as the paper. Makes the columns text."""
    levels: dict[str, list[str]] = {}
    for column in columns:
        frame[column] = frame[column].map(lambda cell: cell if pd.isna(cell) else str(cell))
        found = sorted(frame[column].dropna().unique())
        levels[column] = sorted(found, key=lambda name: (name.lower() != "positive", name))
    return levels
