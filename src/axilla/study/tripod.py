"""The TRIPOD+AI checklist of a study: what the study knows, and what is left to its authors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from axilla.report.contents import Part, Table
from axilla.report.tabular import table_csv
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout, write_if_new
from axilla.study.tripod_answers import COMPLETE, TO_WRITE, StudyFacts, answer_to
from axilla.study.tripod_items import TRIPOD_ITEMS


def tripod(fitting: Fitting, metrics: Mapping[str, Any]) -> Part:
    """The checklist as a section of the report."""
    table = tripod_table(fitting, metrics)
    whole = sum(row[-1] == TO_WRITE for row in table.rows)
    some = sum(row[-1] not in {"", TO_WRITE, COMPLETE} for row in table.rows)
    total = len(TRIPOD_ITEMS)
    return Part(
        anchor="tripod",
        title="TRIPOD+AI checklist",
        after="methods",
        paragraphs=(
            (
                f"Of {total} items the study fills {total - whole - some} and begins {some}; "
                f"{whole} are left whole to the authors. What is filled comes from the study's "
                "settings, cohort and figures, and has to be read by the authors before it is "
                "handed in: an item filled is no item done well."
            ),
        ),
        tables=(table,),
        folded=True,
        numbered=False,
    )


def tripod_table(fitting: Fitting, metrics: Mapping[str, Any]) -> Table:
    """Every item with what the study knows of it."""
    facts = StudyFacts(fitting, metrics)
    rows: list[tuple[str, ...]] = []
    for section, items in groupby(TRIPOD_ITEMS, key=lambda item: item.section):
        rows.append((section, "", "", ""))
        for item in items:
            answer = answer_to(item.number, facts)
            rows.append((item.number, item.asks, answer.known, answer.rest))
    return Table(
        title="TRIPOD+AI, items 1 to 27",
        columns=("Item", "What it asks", "What this study knows", "Left to the authors"),
        rows=tuple(rows),
        notes=(
            (
                "Items and numbers: Collins 2024, doi:10.1136/bmj-2023-078378; what they ask for "
                "is put in other words here. For a submission, the published wording counts."
            ),
        ),
        csv_name="tripod.csv",
        number_columns=(),
        listed=True,
    )


def write_tripod(layout: Layout, part: Part) -> None:
    """Write `tables/tripod.csv`, the same as the report offers."""
    (table,) = part.tables
    write_if_new(layout.tables / "tripod.csv", table_csv(table))
