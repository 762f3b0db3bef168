"""JSON records and the table of predictions."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from axilla.core.csv_text import csv_flaw
from axilla.core.errors import StoreError
from axilla.core.store.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from axilla.core.types import Prediction

SCHEMA_VERSION = 1


def write_json(path: Path, value: Any) -> None:
    """Write JSON, refusing NaN: a figure that cannot be computed is null."""
    write_text(path, as_json(value) + "\n")


def as_json(value: Any) -> str:
    """The text of a JSON artefact."""
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """NumPy's numbers as numbers, paths as text; anything else is a mistake of ours."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not written to JSON")


def read_json(path: Path) -> Any:
    """Read a JSON artefact.

    Raises
    ------
    StoreError
        The file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            "the file is missing.", "Run the study again: `axilla run study.yaml`.", file=path
        ) from error
    except (ValueError, RecursionError) as error:
        raise StoreError(
            "the file is damaged.", "Delete it and run the study again.", file=path
        ) from error


def write_predictions(
    path: Path, predictions: Sequence[Prediction], *, classes: Sequence[str], folds: bool
) -> None:
    """Write `predictions.csv` (DESIGN, Files): scores with 17 digits, so that they read back equal.

    `folds` adds the columns repeat and fold of a cross-validation. Where any score is an ensemble's
    there is a column `spread`, empty for the others. Where any method reads clinical data the last
    column is `imputed`: the columns that it had to fill in for this patient, joined by `;`.
    """
    rows = []
    imputed = any(p.imputed is not None for p in predictions)
    spread = any(p.spread is not None for p in predictions)
    for p in predictions:
        row: dict[str, Any] = {
            "patient_id": p.patient_id,
            "method": p.method,
            "cohort": p.cohort,
            "label": p.label,
        }
        if len(classes) == 2:
            row["score"] = p.scores[1]
        else:
            row |= {f"score_{name}": s for name, s in zip(classes, p.scores, strict=True)}
        if spread:
            row["spread"] = p.spread
        if folds:
            row |= {"repeat": p.repeat, "fold": p.fold}
        if imputed:
            row["imputed"] = ";".join(p.imputed or ())
        rows.append(row)
    buffer = io.StringIO()
    pd.DataFrame(rows).to_csv(buffer, index=False, float_format="%.17g", lineterminator="\n")
    write_text(path, buffer.getvalue())


def _is_score(column: object) -> bool:
    return str(column) == "score" or str(column).startswith("score_")


def _exact(cell: str) -> float | str:
    """A score to its last digit, which pandas does not promise; what is no number stays text."""
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        return cell


def _parse_predictions(path: Path) -> pd.DataFrame:
    header = pd.read_csv(path, encoding="utf-8-sig", nrows=0, index_col=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: pd.DataFrame = pd.read_csv(
            path,
            dtype={"patient_id": str, "method": str, "cohort": str, "imputed": str},
            converters={n: _exact for n in header.columns if n == "spread" or _is_score(n)},
            encoding="utf-8-sig",
            index_col=False,
        )
    return frame


def read_predictions(path: Path) -> pd.DataFrame:
    """Read predictions in the form of `predictions.csv`, patient ids as text.

    Raises
    ------
    StoreError
        The file is missing, is no CSV, or lacks a column.
    """
    try:
        flaw = csv_flaw(path)
        if flaw is None:
            frame = _parse_predictions(path)
    except OSError as error:
        raise StoreError(
            "the file of predictions cannot be read.", "Check its path.", file=path
        ) from error
    except pd.errors.ParserWarning as error:
        raise StoreError(
            "its rows have more cells than its first row has column names.",
            "Take out the commas at the ends of rows, or name every column.",
            file=path,
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise StoreError(
            f"this is no CSV table ({(str(error).splitlines() or [''])[0]}).",
            "Columns: patient_id, method, cohort, label, score.",
            file=path,
        ) from error
    if flaw is not None:
        raise StoreError(flaw.cause, f"{flaw.remedy}.", file=path)
    missing = [c for c in ("patient_id", "method", "cohort", "label") if c not in frame.columns]
    if not any(_is_score(name) for name in frame.columns):
        missing.append("score")
    if missing:
        raise StoreError(
            f"the table of predictions has no column `{missing[0]}`.",
            "Columns: patient_id, method, cohort, label, and score (or score_<class> a class).",
            file=path,
        )
    if "imputed" in frame.columns:
        frame["imputed"] = frame["imputed"].fillna("")  # nothing was: text, as the others
    return frame
