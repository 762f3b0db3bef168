"""Reading the cohort table: every cell as text, so that `007` stays a name, nothing is guessed."""

from __future__ import annotations

import difflib
import math
import re
import warnings
import zipfile
from typing import TYPE_CHECKING

import pandas as pd

from axilla.core.errors import CohortError
from axilla.core.signs import plain_sign

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "nat", "<na>"})
"""Cells that hold nothing, in lower case; a lone dash is another unless its column says more."""
MAX_BYTES = 256 * 1024**2


def read_table(path: Path, *, signs: Collection[str] = ()) -> pd.DataFrame:
    """Read a .csv, .xlsx or .parquet table as text, its column names in lower case with `_`.

    Parameters
    ----------
    path
        The table.
    signs
        Columns in which a lone dash may be a category: it stays, as `-`. Elsewhere it is a missing
        cell.

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
    frame = _parse(path)
    frame.columns = pd.Index([_column_name(str(name)) for name in frame.columns])
    twice = sorted(set(frame.columns[frame.columns.duplicated()]))
    if twice:
        raise CohortError(
            f"the column `{twice[0]}` stands in it twice.", "Keep one of the two.", file=path
        )
    frame = frame.map(plain_cell)
    for name in frame.columns.difference(list(signs)):
        frame[name] = frame[name].replace("-", "")
    frame = frame[(frame != "").any(axis=1)]
    if frame.empty:
        raise CohortError("the table has no rows.", "Give one row a patient.", file=path)
    return frame


def plain_cell(value: object) -> str:
    """A cell as text without blanks around it; empty where it says that there is nothing."""
    text = str(value).strip()
    return "" if text.lower() in MISSING else plain_sign(text)


def _parse(path: Path) -> pd.DataFrame:
    kind = path.suffix.lower()
    try:
        if kind == ".csv":
            return _parse_csv(path)
        if kind == ".xlsx":
            return pd.read_excel(path, dtype=str, keep_default_na=False, engine="openpyxl")
        if kind == ".parquet":
            frame = pd.read_parquet(path)
            return frame.reset_index(drop=frame.index.name is None)
    except pd.errors.ParserWarning as error:
        raise CohortError(
            "its rows have more cells than its first row has column names.",
            "Take out the commas at the ends of rows, or name every column.",
            file=path,
        ) from error
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
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


def _parse_csv(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # index_col=False: where every row ends with a comma too many, pandas would take the
        # patients' ids for row names and shift all columns by one.
        return pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            index_col=False,
            skip_blank_lines=False,
        )


def _column_name(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip().lower())


def require_columns(frame: pd.DataFrame, names: Iterable[str], *, file: Path, key: str) -> None:
    """Raise CohortError for the first column that the study names and the table lacks."""
    for name in names:
        if name not in frame.columns:
            near = difflib.get_close_matches(name, list(frame.columns), n=1, cutoff=0.5)
            hint = f"; the nearest is `{near[0]}`" if near else ""
            raise CohortError(
                f"has no column `{name}`, which `{key}` names{hint}.",
                f"Its columns are: {', '.join(frame.columns)}.",
                file=file,
            )


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
