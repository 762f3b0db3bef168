"""Reading the cohort table: every cell as text, so that `007` stays a name, nothing is guessed."""

from __future__ import annotations

import difflib
import math
import re
import warnings
import zipfile
import zlib
from collections import Counter
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

import pandas as pd

from axilla.core.csv_text import csv_flaw
from axilla.core.errors import CohortError
from axilla.core.signs import plain_sign

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "nat", "<na>"})
"""Cells that hold nothing, in lower case; a lone dash is another unless its column says more."""
MAX_BYTES = 256 * 1024**2
_UNPACKED = 4
"""So many times `MAX_BYTES` an .xlsx may have once it is unpacked."""
_UNREADABLE = (
    ValueError, OSError, LookupError, TypeError, AttributeError, NotImplementedError, EOFError,
    zipfile.BadZipFile, zlib.error, ParseError,
)  # fmt: skip
"""What pandas, openpyxl and zipfile raise for a table that is damaged."""


def read_table(
    path: Path,
    *,
    signs: Collection[str] = (),
    words: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> pd.DataFrame:
    """Read a .csv, .xlsx or .parquet table as text, its column names in lower case with `_`.

    Parameters
    ----------
    path
        The table.
    signs
        Columns in which a lone dash may be a category: it stays, as `-`. Elsewhere it is a missing
        cell.
    words
        By column, words of `MISSING` that the study declares as values: there they stay.

    Returns
    -------
    DataFrame
        Strings only; a missing cell is the empty string. Empty rows are left out; the index still
        counts them.

    Raises
    ------
    CohortError
        The file is missing, too large, of another kind, damaged, empty, or names a column twice.
    """
    if not path.is_file():
        raise CohortError(
            "there is no such file.", "Set `cohort:` to the table of patients.", file=path
        )
    if path.stat().st_size > MAX_BYTES:
        raise CohortError(
            "the table is larger than 256 MB.", "Keep one row a patient or slide.", file=path
        )
    frame, names = _parse(path)
    frame.columns = pd.Index([_column_name(str(name)) for name in frame.columns])
    twice = [
        name for name, count in Counter(map(_column_name, names)).items() if name and count > 1
    ]
    if twice:
        raise CohortError(
            f"the column `{twice[0]}` stands in it twice.", "Keep one of the two.", file=path
        )
    for name in frame.columns:
        frame[name] = frame[name].map(partial(plain_cell, words=words.get(name, ())))
    for name in frame.columns.difference(list(signs)):
        frame[name] = frame[name].replace("-", "")
    frame = frame[(frame != "").any(axis=1)]
    if frame.empty:
        raise CohortError(
            f"the table has no rows{other_sheets(path)}.", "Give one row a patient.", file=path
        )
    return frame


def plain_cell(value: object, words: Collection[str] = ()) -> str:
    """A cell as text without blanks around it; empty where it says that there is nothing.

    Of the words that say so, those in `words` are values.
    """
    text = str(value).strip()
    return "" if text.lower() in MISSING and text.lower() not in words else plain_sign(text)


def _parse(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table, and the names of its columns as they are written: pandas renames a second one."""
    kind = path.suffix.lower()
    try:
        if kind == ".csv":
            return _parse_text(path)
        if kind == ".xlsx":
            return _parse_excel(path)
        if kind == ".parquet":
            frame = pd.read_parquet(path)
            frame = frame.reset_index(drop=frame.index.name is None)
            return frame, [str(name) for name in frame.columns]
    except CohortError:
        raise  # it is a ValueError too, and says already what is wrong
    except pd.errors.ParserWarning as error:
        raise CohortError(
            "its rows have more cells than its first row has column names.",
            "Take out the commas at the ends of rows, or name every column.",
            file=path,
        ) from error
    except _UNREADABLE as error:
        first = (str(error).splitlines() or ["unreadable"])[0]
        raise CohortError(
            f"the table cannot be read ({first}).",
            "Save it again as UTF-8 .csv, .xlsx or .parquet.",
            file=path,
        ) from error
    raise CohortError(
        f"`{kind or path.name}` is no table axilla reads.",
        "Save it as .csv, .xlsx or .parquet.",
        file=path,
    )


def _parse_excel(path: Path) -> tuple[pd.DataFrame, list[str]]:
    with zipfile.ZipFile(path) as packed:
        size = sum(entry.file_size for entry in packed.infolist())
    if size > _UNPACKED * MAX_BYTES:
        raise CohortError(
            f"the table unpacks to {size / 1024**2:,.0f} MB.", "Save it as .csv.", file=path
        )
    with pd.ExcelFile(path, engine="openpyxl") as book:
        frame = pd.read_excel(book, dtype=str, keep_default_na=False)
        named = pd.read_excel(book, header=None, nrows=1, dtype=str, keep_default_na=False)
    return frame, [str(cell) for row in named.to_numpy() for cell in row]


def _parse_text(path: Path) -> tuple[pd.DataFrame, list[str]]:
    flaw = csv_flaw(path)
    if flaw is not None:
        raise CohortError(flaw.cause, f"{flaw.remedy}, or as .xlsx.", file=path)
    frame = _parse_csv(path)
    named = _parse_csv(path, header=None, nrows=1)
    return frame, [str(cell) for row in named.to_numpy() for cell in row]


def _parse_csv(path: Path, **settings: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # index_col=False: where every row ends with a comma too many, pandas would take the
        # patients' ids for row names and shift all columns by one.
        frame: pd.DataFrame = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            index_col=False,
            skip_blank_lines=False,
            **settings,
        )
        return frame


def _column_name(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip().lower())


def require_columns(frame: pd.DataFrame, names: Iterable[str], *, file: Path, key: str) -> None:
    """Raise CohortError for the first column that the study names and the table lacks."""
    for name in names:
        if name not in frame.columns:
            near = difflib.get_close_matches(name, list(frame.columns), n=1, cutoff=0.5)
            hint = f"; the nearest is `{near[0]}`" if near else ""
            raise CohortError(
                f"has no column `{name}`, which `{key}` names{hint}{other_sheets(file)}.",
                f"Its columns are: {', '.join(frame.columns)}.",
                file=file,
            )


def other_sheets(path: Path) -> str:
    """Which sheet of a workbook was read, if it has others, to be put before a full stop."""
    if path.suffix.lower() != ".xlsx":
        return ""
    with pd.ExcelFile(path, engine="openpyxl") as book:
        first, *others = map(str, book.sheet_names)
    if not others:
        return ""
    which = "the other is" if len(others) == 1 else "the others are"
    return f"; sheet {first} was read; {which} {', '.join(others)}"


def parse_number(text: str) -> float | None:
    """A finite number, or None where the text is none. A decimal comma counts as a point."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def numeric_where_possible(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with columns of numbers as floats and missing cells as NA.

    For describing a cohort only: what a model uses is parsed cell by cell.
    """
    columns: dict[str, pd.Series] = {}
    for name in frame.columns:
        text = frame[name].replace("", pd.NA)
        numbers = text.dropna().map(lambda cell: parse_number(str(cell)))
        if len(numbers) and numbers.notna().all() and name != "patient_id":
            columns[str(name)] = numbers.astype(float).reindex(frame.index)
        else:
            columns[str(name)] = text
    return pd.DataFrame(columns, index=frame.index)
