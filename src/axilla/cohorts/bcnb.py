"""BCNB, the paper's cohort (Xu 2021, doi:10.3389/fonc.2021.759007): its tables and its split.

As published: `WSIs/<patient>.jpg` and `.json`, `patient-clinical-data.xlsx`, and
`dataset-splitting/{train,val,test}_id.txt` with a patient's id a line. The authors' code comes with
tables of its own, standardised for each task (`preprocessed-type-<k>.xlsx`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd

from axilla.core.endpoint import Unclear, node_stage
from axilla.core.errors import CohortError, Problem
from axilla.core.slide_files import is_file_name
from axilla.core.table import parse_number, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from axilla.core.config import NodeEndpoint
    from axilla.core.types import CohortName

TASKS: tuple[NodeEndpoint, ...] = (
    "n0-vs-npos", "n1-2-vs-n3plus", "n0-vs-n1-2-vs-n3plus", "n0-vs-n1-2", "n0-vs-n3plus",
)  # fmt: skip
"""Endpoints in the order of the authors' numbers, 0 to 4."""

TABLE = "patient-clinical-data.xlsx"
COHORTS: tuple[CohortName, ...] = ("train", "val", "test")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "patient_id": ("patientid",),
    "age": ("ageyears", "age"),
    "tumor_size_cm": ("tumoursizecm", "tumorsizecm", "tumoursize", "tumorsize"),
    "er": ("er",),
    "pr": ("pr",),
    "her2": ("her2",),
    "nodes": ("numberoflymphnodemetastases", "nodes"),
    "aln_status": ("alnstatus",),
    "tumor_type": ("tumourtype", "tumortype"),
    "her2_expression": ("her2expression",),
    "grade": ("histologicalgrading",),
    "surgery": ("surgical",),
    "ki67": ("ki67",),
    "molecular_subtype": ("molecularsubtype",),
}
"""Our columns, and BCNB's without blanks, brackets and capitals, in which copies differ."""
_NEEDED = ("patient_id", "age", "tumor_size_cm", "er", "pr", "her2", "aln_status")
_PUBLISHED = {
    "patient_id": "Patient ID",
    "age": "Age(years)",
    "tumor_size_cm": "Tumour Size(cm)",
    "er": "ER",
    "pr": "PR",
    "her2": "HER2",
    "aln_status": "ALN status",
}
_STATUS = ("er", "pr", "her2")


def read_clinical(path: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Read BCNB's clinical table, as published or with our own column names.

    Returns
    -------
    Our columns as text, a row a patient, and what is wrong with rows.

    Raises
    ------
    CohortError
        The file is missing, cannot be read, or lacks a column.
    """
    frame = _read(path)
    plain = {re.sub(r"[^a-z0-9]", "", str(name)): str(name) for name in frame.columns}
    source = {
        ours: next((plain[name] for name in names if name in plain), None)
        for ours, names in _NAMES.items()
    }
    for name in _NEEDED:
        # The status follows from the count.
        if source[name] is None and not (name == "aln_status" and source["nodes"] is not None):
            raise CohortError(
                f"has no column `{_PUBLISHED[name]}`.",
                f"Take the table as published; this one's columns are: {', '.join(frame.columns)}.",
                file=path,
            )
    table = pd.DataFrame({ours: frame[theirs] for ours, theirs in source.items() if theirs})
    for name in _STATUS:
        table[name] = table[name].str.lower()
    for name in ("age", "tumor_size_cm", "nodes"):
        if name in table:
            table[name] = table[name].map(_plain_number)
    return table.reset_index(drop=True), _row_problems(table, path)


def read_preprocessed(
    path: Path, *, stages: Mapping[str, str]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the authors' standardised table of one task.

    Parameters
    ----------
    stages
        Node status by patient: the table does not hold it, the bag files do.

    Raises
    ------
    CohortError
        The file is missing, cannot be read, or lacks a column.
    """
    frame = _read(path)
    needed = ("p_id", "age", "tumor_size", *(f"is_{name}_negative" for name in _STATUS))
    for name in needed:
        if name not in frame.columns:
            raise CohortError(
                f"has no column `{name}`.", "Take the authors' table as it is.", file=path
            )
    table = pd.DataFrame(
        {
            "patient_id": frame["p_id"],
            "age_standardised": frame["age"],
            "tumor_size_standardised": frame["tumor_size"],
            **{
                name: frame[f"is_{name}_negative"].replace({"0": "positive", "1": "negative"})
                for name in _STATUS
            },
            "aln_status": frame["p_id"].map(stages).fillna(""),
        }
    )
    known = table[table["patient_id"].isin(list(stages))]
    return known.reset_index(drop=True), _row_problems(known, path)


def read_split(folder: Path) -> dict[str, CohortName] | None:
    """Read `dataset-splitting/{train,val,test}_id.txt`; None where there is no such folder.

    Raises
    ------
    CohortError
        A file is missing, or a patient is in two.
    """
    where = folder / "dataset-splitting"
    if not where.is_dir():
        return None
    cohort_of: dict[str, CohortName] = {}
    for cohort in COHORTS:
        path = where / f"{cohort}_id.txt"
        if not path.is_file():
            raise CohortError(
                "the file of a cohort is missing.",
                "Add it, or take the folder away to split at random.",
                file=path,
            )
        for patient in re.split(r"[\s,]+", path.read_text(encoding="utf-8-sig", errors="replace")):
            if patient and cohort_of.setdefault(patient, cohort) != cohort:
                raise CohortError(
                    f"the patient is in {cohort_of[patient]}_id.txt as well.",
                    "Keep every patient in one cohort.",
                    patient=patient,
                    file=path,
                )
    return cohort_of


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise CohortError(
            "there is no such table.",
            f"Give the folder as published, with {TABLE} in it.",
            file=path,
        )
    return read_table(path)


def _plain_number(cell: str) -> str:
    """The same number with a decimal point; what is no number stays, to be named."""
    number = parse_number(cell) if cell else None
    return cell if number is None else f"{number:.15g}"


def _row_problems(table: pd.DataFrame, path: Path) -> list[Problem]:
    counts = table["patient_id"].value_counts()
    found = [
        _problem(path, patient, f"the patient stands in {count} rows.", "Keep one.")
        for patient, count in counts.items()
        if count > 1
    ]
    numbers = [name for name in table.columns if name.startswith(("age", "tumor_size"))]
    for row in table.drop_duplicates("patient_id").to_dict("records"):
        patient = row["patient_id"]
        if not is_file_name(patient):
            found.append(_problem(path, patient, "a row has no usable patient id.", "Fill it in."))
        found.extend(
            _problem(path, patient, f"`{name}` is {row[name]!r}, no number.", "Correct it.")
            for name in numbers
            if parse_number(row[name]) is None
        )
        found.extend(
            _problem(path, patient, f"`{name}` is {row[name]!r}.", "Write positive or negative.")
            for name in _STATUS
            if row[name] not in {"positive", "negative"}
        )
        stage = node_stage(nodes=row.get("nodes"), aln_status=row.get("aln_status"))
        if isinstance(stage, Unclear):
            found.append(_problem(path, patient, stage.cause, stage.remedy))
    return found


def _problem(path: Path, patient: object, cause: str, remedy: str) -> Problem:
    return Problem(cause=cause, remedy=remedy, patient=str(patient), file=path)
