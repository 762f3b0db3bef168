"""Further sections of the report, from the files that `evaluate` wrote: a line here is a section.

A table lies as `tables/<stem>.csv`, a figure as `figures/<stem>.svg` with its numbers beside it as
`figures/<stem>.csv`. What was not written is not shown, nor is what an earlier run left behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from axilla.core import store
from axilla.report.contents import Anchor, Figure, Part, Table
from axilla.study.layout import Layout


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table that `evaluate` writes."""

    stem: str
    title: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FigureFile:
    """A figure that `evaluate` writes."""

    stem: str
    title: str
    caption: str


@dataclass(frozen=True, slots=True)
class PartFiles:
    """A section and the files that it is made of."""

    anchor: str
    title: str
    after: Anchor
    paragraphs: tuple[str, ...] = ()
    """Said only where there is a table or a figure."""
    tables: tuple[TableFile, ...] = ()
    figures: tuple[FigureFile, ...] = ()


FURTHER: tuple[PartFiles, ...] = (
    PartFiles(
        anchor="cross-table",
        title="Model against truth",
        after="tables",
        paragraphs=(
            (
                "The cross table of the model's call against the nodes' true state, as STARD 2015 "
                "asks for it (doi:10.1136/bmj.h5527, item 23)."
            ),
        ),
        tables=(TableFile("cross_table", "Call by truth in the test cohort"),),
    ),
)
"""The sections there are, in the order of the report."""


def further_parts(layout: Layout, parts: tuple[PartFiles, ...] = FURTHER) -> tuple[Part, ...]:
    """The sections whose files the last `evaluate` wrote."""
    written = frozenset(store.step_files(layout.out, "evaluate"))
    made = (_part(part, layout, written) for part in parts)
    return tuple(part for part in made if part is not None)


def _part(files: PartFiles, layout: Layout, written: frozenset[str]) -> Part | None:
    tables = tuple(
        _table(table, layout)
        for table in files.tables
        if f"{layout.tables.name}/{table.stem}.csv" in written
    )
    figures = tuple(
        _figure(figure, layout, written)
        for figure in files.figures
        if f"{layout.figures.name}/{figure.stem}.svg" in written
    )
    if not tables and not figures:
        return None
    return Part(
        anchor=files.anchor,
        title=files.title,
        after=files.after,
        paragraphs=files.paragraphs,
        tables=tables,
        figures=figures,
    )


def _table(file: TableFile, layout: Layout) -> Table:
    path = layout.tables / f"{file.stem}.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return Table(
        title=file.title,
        columns=tuple(map(str, frame.columns)),
        rows=tuple(tuple(map(str, row)) for row in frame.itertuples(index=False)),
        notes=file.notes,
        csv_name=path.name,
    )


def _figure(file: FigureFile, layout: Layout, written: frozenset[str]) -> Figure:
    numbers = layout.figures / f"{file.stem}.csv"
    told = f"{layout.figures.name}/{numbers.name}" in written
    return Figure(
        title=file.title,
        caption=file.caption,
        image=(layout.figures / f"{file.stem}.svg").read_bytes(),
        media_type="image/svg+xml",
        alt=file.title,
        csv_name=numbers.name if told else "",
        csv=numbers.read_text(encoding="utf-8") if told else "",
    )
