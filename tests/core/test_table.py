from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from axilla.core import table as table_module
from axilla.core.errors import CohortError
from axilla.core.table import numeric_where_possible, parse_number, read_table, require_columns

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "Patient ID,Age,note\n007,40.5,yes\n8,,NA\n"


def test_csv_xlsx_and_parquet_read_the_same(tmp_path: Path):
    frame = pd.DataFrame({"Patient ID": ["007", "8"], "Age": [40.5, None], "note": ["yes", None]})
    (tmp_path / "t.csv").write_text(TEXT)
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    tables = [read_table(tmp_path / f"t.{kind}") for kind in ("csv", "xlsx", "parquet")]
    expected = {"patient_id": ["007", "8"], "age": ["40.5", ""], "note": ["yes", ""]}
    for table in tables:
        assert table.to_dict("list") == expected


def test_whole_numbers_of_a_spreadsheet_stay_whole(tmp_path: Path):
    pd.DataFrame({"patient_id": [7, 8], "nodes": [0, 12]}).to_excel(
        tmp_path / "t.xlsx", index=False
    )
    table = read_table(tmp_path / "t.xlsx")
    assert table.to_dict("list") == {"patient_id": ["7", "8"], "nodes": ["0", "12"]}


def test_a_byte_order_mark_and_empty_rows_are_no_matter(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpatient_id,age\n1,40\n\n,\n2,50\n\n")
    table = read_table(tmp_path / "t.csv")
    assert table.to_dict("list") == {"patient_id": ["1", "2"], "age": ["40", "50"]}
    assert list(table.index) == [0, 3]  # still counts the empty rows


def test_a_table_indexed_by_patient_keeps_the_patients(tmp_path: Path):
    frame = pd.DataFrame({"patient_id": ["007"], "age": ["4"]}).set_index("patient_id")
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_dict("list") == {
        "patient_id": ["007"],
        "age": ["4"],
    }


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("t.csv", None, "there is no such file."),
        ("t.txt", b"a", "`.txt` is no table axilla reads."),
        ("t.csv", b"", "the table cannot be read (No columns to parse from file)."),
        ("t.csv", b"patient_id,age\n", "the table has no rows."),
        ("t.csv", b"patient_id,age\n,\nNA,-\n", "the table has no rows."),
        ("t.csv", b"a,A\n1,2\n", "the column `a` stands in it twice."),
        ("t.csv", b"patient_id,er,er\n1,2,3\n", "the column `er` stands in it twice."),
        (
            "t.csv",
            b"patient_id,age\n1,40,\n2,50,\n",
            "its rows have more cells than its first row has column names.",
        ),
        ("t.csv", "a\né\n".encode("latin-1"), "is not written in UTF-8 (line 2)."),
        ("t.csv", "patient_id,a\n1,é\n".encode("utf-16"), "is not written in UTF-8 (line 1)."),
        ("t.csv", "patient_id,a\n1,2\n".encode("utf-16-le"), "is not written in UTF-8 (line 1)."),
        (
            "t.csv",
            b"\xef\xbb\xbfpatient_id;size\r\n1;2,5\r\n",
            "its columns are separated by semicolons.",
        ),
        ("t.csv", b'sep=;\n"patient_id";size\n1;2,5\n', "its columns are separated by semicolons."),
        ("t.csv", b"patient_id\tsize\n1\t2,5\n", "its columns are separated by tabs."),
        ("t.xlsx", b"garbage", "the table cannot be read (File is not a zip file)."),
        ("t.parquet", b"garbage", "the table cannot be read ("),
    ],
)
def test_bad_tables(tmp_path: Path, name, content, cause):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CohortError) as caught:
        read_table(path)
    assert caught.value.problem.cause.startswith(cause)
    assert caught.value.problem.file == path
    assert caught.value.problem.remedy


def test_a_lone_dash_is_a_missing_cell_unless_its_column_may_hold_signs(tmp_path: Path):
    rows = ["-,-", "\u2013,\u2013", "\u2212,\u2212", "\uff0d,\uff0d", "40,\uff0b", "-1,n/a"]
    (tmp_path / "t.csv").write_text("patient_id,age,er\n" + "\n".join(f"p,{r}" for r in rows))
    assert read_table(tmp_path / "t.csv")["age"].tolist() == ["", "", "", "", "40", "-1"]
    assert read_table(tmp_path / "t.csv")["er"].tolist() == ["", "", "", "", "+", ""]
    signed = read_table(tmp_path / "t.csv", signs=["er", "pr"])
    assert signed["age"].tolist() == ["", "", "", "", "40", "-1"]
    assert signed["er"].tolist() == ["-", "-", "-", "-", "+", ""]


def test_a_longer_row_is_no_silent_loss(tmp_path: Path):
    (tmp_path / "t.csv").write_text("patient_id,age\n1,40\n2,50,60\n")
    with pytest.raises(CohortError, match="Expected 2 fields in line 3, saw 3"):
        read_table(tmp_path / "t.csv")


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path):
    frame = pd.DataFrame({"patient_id": ["1"], "tumour_size_cm": ["2"]})
    with pytest.raises(CohortError) as caught:
        require_columns(frame, ["tumor_size_cm"], file=tmp_path / "c.csv", key="clinical")
    assert caught.value.problem.cause == (
        "has no column `tumor_size_cm`, which `clinical` names; the nearest is `tumour_size_cm`."
    )
    assert caught.value.problem.remedy == "Its columns are: patient_id, tumour_size_cm."


@pytest.mark.parametrize(
    ("text", "value"),
    [("2.5", 2.5), ("2,5", 2.5), ("1e-1", 0.1), ("abc", None), ("inf", None), ("nan", None)],
)
def test_numbers(text, value):
    assert parse_number(text) == value


def test_numeric_where_possible():
    frame = pd.DataFrame(
        {"patient_id": ["1", "2"], "age": ["40", ""], "grade": ["2", "II"], "gone": ["", ""]}
    ).set_index("patient_id")
    found = numeric_where_possible(frame)
    assert found["age"].tolist()[0] == 40.0
    assert found["age"].isna().tolist() == [False, True]
    assert found["grade"].tolist() == ["2", "II"]
    assert found["gone"].isna().all()


def test_a_column_that_stands_twice_in_excel_is_refused(tmp_path: Path):
    rows = pd.DataFrame([["patient_id", "nodes", "nodes"], ["1", "0", "3"]])
    rows.to_excel(tmp_path / "t.xlsx", header=False, index=False)
    with pytest.raises(CohortError, match="the column `nodes` stands in it twice"):
        read_table(tmp_path / "t.xlsx")


def test_whatever_is_damaged_in_an_excel_file_is_a_sentence(tmp_path: Path):
    whole = tmp_path / "whole.xlsx"
    pd.DataFrame({"patient_id": map(str, range(200)), "age": "40"}).to_excel(whole, index=False)
    content, rng = whole.read_bytes(), np.random.default_rng(0)
    path = tmp_path / "t.xlsx"
    refused = 0
    for _ in range(60):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(len(damaged), size=4)] = rng.integers(256, size=4)
        path.write_bytes(damaged.tobytes())
        try:
            read_table(path)
        except CohortError:
            refused += 1
    assert refused > 10
    with zipfile.ZipFile(whole) as read, zipfile.ZipFile(path, "w") as written:
        for name in read.namelist():
            text = read.read(name)
            written.writestr(name, text[: len(text) // 2] if "sheet1" in name else text)
    with pytest.raises(CohortError, match="the table cannot be read"):
        read_table(path)


def test_an_excel_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch):
    pd.DataFrame({"patient_id": ["1"] * 5000}).to_excel(tmp_path / "t.xlsx", index=False)
    size = (tmp_path / "t.xlsx").stat().st_size
    monkeypatch.setattr(table_module, "MAX_BYTES", size + 1)
    with pytest.raises(CohortError, match="unpacks to"):
        read_table(tmp_path / "t.xlsx")


def test_what_to_do_with_a_table_of_german_excel(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("patient_id;size\n1;2,5\n")
    with pytest.raises(CohortError) as caught:
        read_table(path)
    assert caught.value.problem.remedy == (
        "Save it as CSV with commas and decimal points, or as .xlsx."
    )
    path.write_bytes("patient_id,name\n1,a\n2,Müller\n".encode("cp1252"))
    with pytest.raises(CohortError) as caught:
        read_table(path)
    assert caught.value.problem.cause == "is not written in UTF-8 (line 3)."
    assert caught.value.problem.remedy == "Save it as CSV UTF-8, or as .xlsx."


@pytest.mark.parametrize("header", ['patient_id,"size (cm; largest)","a;b;c"', "patient_id,a;b;c"])
def test_semicolons_in_the_name_of_a_column_separate_nothing(tmp_path: Path, header):
    (tmp_path / "t.csv").write_text(f"{header}\n1,2,3\n" if '"' in header else f"{header}\n1,2\n")
    assert read_table(tmp_path / "t.csv")["patient_id"].tolist() == ["1"]


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([], "names."),
        (["Daten"], "names; sheet Info was read; the other is Daten."),
        (["Daten", "Alt"], "names; sheet Info was read; the others are Daten, Alt."),
    ],
)
def test_a_column_that_is_missing_from_the_first_sheet(tmp_path: Path, others, told):
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as book:
        for sheet in ("Info", *others):
            pd.DataFrame({"x": ["1"]}).to_excel(book, sheet_name=sheet, index=False)
    with pytest.raises(CohortError) as caught:
        require_columns(read_table(path), ["patient_id"], file=path, key="cohort")
    assert caught.value.problem.cause == f"has no column `patient_id`, which `cohort` {told}"
