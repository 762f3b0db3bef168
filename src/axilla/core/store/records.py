"""JSON records and the table of predictions."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.core.errors import StoreError
from axilla.core.store.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from axilla.core.types import Prediction

SCHEMA_VERSION = 1


def write_json(path: Path, value: Any) -> None:
    """Write JSON, refusing NaN: a figure that cannot be computed is null."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=str)
    write_text(path, text + "\n")


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
    except ValueError as error:
        raise StoreError(
            "the file is damaged.", "Delete it and run the study again.", file=path
        ) from error


def write_predictions(
    path: Path, predictions: Sequence[Prediction], *, classes: Sequence[str], folds: bool
) -> None:
    """Write `predictions.csv` (DESIGN, Files): scores with 17 digits, so that they read back equal.

    `folds` adds the columns repeat and fold of a cross-validation.
    """
    rows = []
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
        if folds:
            row |= {"repeat": p.repeat, "fold": p.fold}
        rows.append(row)
    buffer = io.StringIO()
    pd.DataFrame(rows).to_csv(buffer, index=False, float_format="%.17g", lineterminator="\n")
    write_text(path, buffer.getvalue())


def read_predictions(path: Path) -> pd.DataFrame:
    """Read predictions in the form of `predictions.csv`, patient ids as text.

    Raises
    ------
    StoreError
        The file is missing, is no CSV, or lacks a column.
    """
    try:
        frame = pd.read_csv(
            path, dtype={"patient_id": str, "method": str, "cohort": str}, encoding="utf-8-sig"
        )
    except OSError as error:
        raise StoreError(
            "the file of predictions cannot be read.", "Check its path.", file=path
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise StoreError(
            f"this is no CSV table ({(str(error).splitlines() or [''])[0]}).",
            "Columns: patient_id, method, cohort, label, score.",
            file=path,
        ) from error
    missing = [c for c in ("patient_id", "method", "cohort", "label") if c not in frame.columns]
    if not any(str(c) == "score" or str(c).startswith("score_") for c in frame.columns):
        missing.append("score")
    if missing:
        raise StoreError(
            f"the table of predictions has no column `{missing[0]}`.",
            "Columns: patient_id, method, cohort, label, and score (or score_<class> a class).",
            file=path,
        )
    return frame
