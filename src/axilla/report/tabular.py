"""From a table of text cells to what a printed table needs: groups, spans, numbers, downloads."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axilla.report.contents import Table

_NUMBER = re.compile(r"\s*(?:p\s*)?[<>=≤≥~≈±+−-]{0,2}\s*\d", re.IGNORECASE)
_NO_VALUE = frozenset(
    {"", "-", "–", "—", "na", "n/a", "nan", "not estimable", "not computed", "reference"}
)
_INTERVAL = re.compile(r"(?P<value>[^\[\]]*\S)\s*(?P<interval>\[[^\[\]]*\])\s*")
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.])")
_WIDE_CHARACTERS = 105
"""Of a row, the widest cells added up: beyond, an interval goes beneath its value, so that the
table fits a page's width."""
_DENSE_COLUMNS = 12
"""From so many columns on they are set closer and smaller."""
_WHOLE_CHARACTERS = 16
"""A single word of so many is not broken in two."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell; `interval` is the bracketed part, set smaller, empty where there is none."""

    text: str
    interval: str = ""
    number: bool = False
    marks: str = ""
    """Of footnotes, set as a superscript behind the text."""

    @property
    def whole(self) -> bool:
        """A short word, such as `N+(>=3)`: a line must not break in it."""
        return 0 < len(self.text) <= _WHOLE_CHARACTERS and not self.text.split()[1:]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a block."""

    head: str
    """First cell."""
    cells: tuple[Cell, ...]
    """The cells after the first."""
    span: int
    """Rows that the first cell covers; 0 where the row above covers it."""
    group: bool
    """The row heads a group and has no figures of its own."""
    indented: bool


@dataclass(frozen=True, slots=True)
class TableView:
    """A table, ready to be set."""

    title: str
    head: tuple[Cell, ...]
    blocks: tuple[tuple[Row, ...], ...]
    """Rows that belong together: no page break within, a hairline between."""
    stacked: bool
    """Intervals stand beneath their values."""
    dense: bool
    """Many columns: set closer and smaller."""
    notes: tuple[str, ...]
    csv_name: str
    csv: str
    listed: bool = False
    """On a phone, a row is a list of its cells, each under its column's name."""


def lay_out(table: Table) -> TableView:
    """Find a table's number columns, group rows and shared first cells (see `Table`)."""
    csv = table_csv(table) if table.csv_name else ""
    table = _shown(table)
    numbers = _number_columns(table)
    rows = _rows(table, numbers)
    return TableView(
        title=table.title,
        head=tuple(Cell(text, number=i in numbers) for i, text in enumerate(table.columns)),
        blocks=_blocks(rows),
        stacked=_is_wide(table, rows),
        dense=len(table.columns) >= _DENSE_COLUMNS,
        notes=table.notes,
        csv_name=table.csv_name,
        csv=csv,
        listed=table.listed,
    )


def _shown(table: Table) -> Table:
    """The table without the columns that only its download has."""
    kept = [i for i, name in enumerate(table.columns) if name not in table.download_only]
    return replace(
        table,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )


def _is_wide(table: Table, rows: list[Row]) -> bool:
    """Whether intervals beside their values make the table wider than a page."""
    if not any(cell.interval for row in rows for cell in row.cells):
        return False
    columns = zip(*table.rows, strict=True)
    return sum(max(map(len, column)) + 2 for column in columns) > _WIDE_CHARACTERS


def _number_columns(table: Table) -> frozenset[int]:
    """All columns but the first whose cells are figures or nothing."""
    if table.number_columns is not None:
        return frozenset(table.number_columns)
    found = set()
    for i in range(1, len(table.columns)):
        cells = [row[i] for row in table.rows if row[i].strip().lower() not in _NO_VALUE]
        if cells and all(_NUMBER.match(cell) for cell in cells):
            found.add(i)
    return frozenset(found)


def _rows(table: Table, numbers: frozenset[int]) -> list[Row]:
    shares = 0 not in numbers
    spans = _spans(table.rows) if shares else [1] * len(table.rows)
    return [
        Row(
            head=row[0].strip(),
            cells=tuple(_cell(text, i in numbers) for i, text in enumerate(row[1:], start=1)),
            span=span,
            group=_heads_group(row),
            indented=row[0][:1].isspace(),
        )
        for row, span in zip(table.rows, spans, strict=True)
    ]


def _spans(rows: tuple[tuple[str, ...], ...]) -> list[int]:
    """Rows that each first cell covers: those below that repeat it or leave it empty."""
    spans: list[int] = []
    owner = 0
    for i, row in enumerate(rows):
        joins = i > 0 and (not row[0].strip() or row[0] == rows[owner][0])
        if joins and not _heads_group(rows[owner]):
            spans[owner] += 1
            spans.append(0)
        else:
            owner = i
            spans.append(1)
    return spans


def _heads_group(row: tuple[str, ...]) -> bool:
    """Tell a heading within the table; the last cell may hold the group's p value."""
    return len(row) > 2 and bool(row[0].strip()) and not any(cell.strip() for cell in row[1:-1])


def _blocks(rows: list[Row]) -> tuple[tuple[Row, ...], ...]:
    """Break before a group's heading, before a row after indented ones, and at spanning cells."""
    blocks: list[list[Row]] = []
    for row in rows:
        above = blocks[-1][-1] if blocks else None
        opens = row.group or row.span > 1
        closes = above is not None and (
            (above.indented and not row.indented) or (above.span != 1 and row.span == 1)
        )
        if above is None or opens or closes:
            blocks.append([])
        blocks[-1].append(row)
    return tuple(tuple(block) for block in blocks)


def _cell(text: str, number: bool) -> Cell:
    parts = _INTERVAL.fullmatch(text) if number else None
    if parts is None:
        return Cell(text.strip(), number=number)
    value, _, marks = parts["value"].strip().partition("^")
    return Cell(value, parts["interval"], number, marks)


def table_csv(table: Table) -> str:
    """Comma-separated text of a table; a cell that a spreadsheet would run is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_harmless(cell) for cell in table.columns])
    writer.writerows([_harmless(cell) for cell in row] for row in table.rows)
    return text.getvalue()


def _harmless(cell: str) -> str:
    """Quote what a spreadsheet would run as a formula; figures with a sign stay as they are."""
    return f"'{cell}" if _FORMULA.match(cell) else cell
