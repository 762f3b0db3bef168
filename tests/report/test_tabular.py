"""How a table of text cells is set."""

from __future__ import annotations

import csv
import io
from typing import Any

from axilla.report.contents import Table
from axilla.report.tabular import lay_out


def table(*rows: tuple[str, ...], **changes: Any) -> Table:
    columns = tuple(f"c{i}" for i in range(len(rows[0])))
    return Table(title="t", columns=columns, rows=rows, **changes)


def test_columns_of_figures_are_found_by_their_cells() -> None:
    view = lay_out(
        table(
            ("1-2 nodes", "57.58 ± 12.52", "< 0.001", "–", "N0", "-0.007", ""),
            (">= 3", "326 (38.8)", "p = 0.45", "NA", "3 nodes", "", ""),
        )
    )
    assert [cell.number for cell in view.head] == [False, True, True, False, False, True, False]


def test_declared_number_columns_win() -> None:
    view = lay_out(table(("a", "1", "x"), number_columns=(2,)))
    assert [cell.number for cell in view.head] == [False, False, True]


def test_an_interval_is_taken_from_its_value() -> None:
    (cell,) = lay_out(table(("AUC", "0.816 [0.758, 0.865]"))).blocks[0][0].cells
    assert (cell.text, cell.interval) == ("0.816", "[0.758, 0.865]")


def test_marks_of_footnotes_are_taken_from_their_value() -> None:
    view = lay_out(table(("a", "0.683^a,b [0.409, 0.887]"), ("b", "0.700 [0.426, 0.898]")))
    cells = [row.cells[0] for block in view.blocks for row in block]
    assert [(c.text, c.marks, c.interval) for c in cells] == [
        ("0.683", "a,b", "[0.409, 0.887]"), ("0.700", "", "[0.426, 0.898]"),
    ]  # fmt: skip


def test_a_percentage_in_parentheses_stays_beside_its_count() -> None:
    (cell,) = lay_out(table(("ER", "326 (38.8)"))).blocks[0][0].cells
    assert (cell.text, cell.interval) == ("326 (38.8)", "")


def test_only_a_table_wide_with_intervals_stacks_them() -> None:
    interval = "0.8 [0.7, 0.9]"
    assert lay_out(table(("AUC", *[interval] * 7))).stacked
    assert lay_out(table(("A method with a name of many words", "AUC", *[interval] * 5))).stacked
    assert not lay_out(table(("AUC", *[interval] * 5))).stacked
    assert not lay_out(table(("AUC", *["0.8"] * 30))).stacked


def test_a_table_of_many_columns_is_set_closer() -> None:
    assert lay_out(table(("AUC", *["0.8"] * 11))).dense
    assert not lay_out(table(("AUC", *["0.8"] * 10))).dense


def test_only_short_words_are_kept_whole() -> None:
    texts = ("N+(>=3)", "two words", "a-word-of-many-letters", "")
    row = lay_out(table(("a", *texts))).blocks[0][0]
    assert [cell.whole for cell in row.cells] == [True, False, False, False]


def test_a_column_that_the_title_tells_is_in_the_download_only() -> None:
    told = Table(
        title="t", columns=("Method", "Cohort", "n"), rows=(("a", "Test", "9"),), csv_name="t.csv",
        download_only=("Cohort",),
    )  # fmt: skip
    view = lay_out(told)
    assert [cell.text for cell in view.head] == ["Method", "n"]
    assert [cell.text for cell in view.blocks[0][0].cells] == ["9"]
    assert view.csv == "Method,Cohort,n\na,Test,9\n"


def test_group_rows_open_blocks_and_their_members_are_indented() -> None:
    view = lay_out(
        table(
            ("Number", "10", "", ""),
            ("ER", "", "", "0.333"),
            ("  Positive", "8", "4", ""),
            ("  Negative", "2", "1", ""),
            ("Age", "57", "56", ""),
        )
    )
    assert [[row.head for row in block] for block in view.blocks] == [
        ["Number"],
        ["ER", "Positive", "Negative"],
        ["Age"],
    ]
    rows = [row for block in view.blocks for row in block]
    assert [row.group for row in rows] == [False, True, False, False, False]
    assert [row.indented for row in rows] == [False, False, True, True, False]
    assert rows[1].cells[-1].text == "0.333"


def test_repeated_or_empty_first_cells_become_one() -> None:
    view = lay_out(
        table(("A", "T", "1"), ("A", "V", "2"), ("", "I-T", "3"), ("B", "T", "4"), ("C", "T", "5"))
    )
    assert [[row.span for row in block] for block in view.blocks] == [[3, 0, 0], [1, 1]]


def test_the_rows_of_spanning_cells_add_up_to_the_table() -> None:
    rows = tuple((name, "x", "1") for name in "AABBBCDDA")
    view = lay_out(table(*rows))
    assert sum(row.span for block in view.blocks for row in block) == len(rows)
    assert all(sum(row.span for row in block) == len(block) for block in view.blocks)


def test_the_download_holds_the_table_as_it_was_given() -> None:
    given = table(("  A", 'say "x", y', "-0.5 [-1, 0]"), ("", "b", "+3"), csv_name="t.csv")
    view = lay_out(given)
    assert list(csv.reader(io.StringIO(view.csv))) == [
        list(given.columns),
        *map(list, given.rows),
    ]
    assert lay_out(table(("a", "1"))).csv == ""


def test_a_formula_does_not_run_in_a_spreadsheet() -> None:
    view = lay_out(table(("=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-x"), csv_name="t.csv"))
    row = list(csv.reader(io.StringIO(view.csv)))[1]
    assert row == ["'=1+1", "'@SUM(A1)", "'+cmd|' /C calc'!A0", "'-x"]


def test_a_table_without_rows_keeps_its_head() -> None:
    view = lay_out(Table(title="t", columns=("a", "b"), rows=()))
    assert view.blocks == ()
    assert [cell.text for cell in view.head] == ["a", "b"]
