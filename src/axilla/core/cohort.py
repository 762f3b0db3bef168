"""The cohort: from the table and the folders of the study to patients, with every problem named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from axilla.core.clinical_cells import (
    clinical_values,
    column_problems,
    declared_words,
    in_declared_units,
    signed_columns,
    unit_notes,
    without_unclear_dashes,
)
from axilla.core.config import ColumnSplit, LeaveOutSplit, StudyConfig
from axilla.core.endpoint import (
    Outside,
    Unclear,
    class_names,
    column_class,
    node_class,
    node_stage,
)
from axilla.core.errors import CohortError, Problem
from axilla.core.feature_files import FeatureFinder
from axilla.core.slide_files import SlideFinder, is_file_name
from axilla.core.table import (
    numeric_where_possible,
    other_sheets,
    parse_number,
    read_table,
    require_columns,
)
from axilla.core.types import (
    SANE_MPP,
    Cohort,
    CohortName,
    Exclusion,
    MicronsPerPixel,
    Patient,
    Slide,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

GENERATED = "GENERATED.txt"
SPLIT_NAMES: Mapping[str, CohortName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class CohortReading:
    """What the table says: the patients that are in order, and all that is not."""

    cohort: Cohort
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    """What may well be right, and somebody should look at."""
    unusable: tuple[Patient, ...] = ()
    """Patients with a problem, so that what is wrong with their slides is told as well."""


def read_cohort(config: StudyConfig) -> CohortReading:
    """Read the table of patients and find their slides and annotations.

    A patient with a problem is not in the cohort returned; each problem stands in `problems`, with
    `fatal` for what concerns the table as a whole. A patient outside the endpoint is excluded with
    a reason and is no problem.

    Raises
    ------
    CohortError
        The table cannot be read or lacks a column that the study names.
    """
    table = read_table(config.cohort, signs=signed_columns(config), words=declared_words(config))
    as_read = table
    notes: tuple[Problem, ...] = ()
    if config.uses_clinical:
        table, notes = in_declared_units(table, config)
    else:
        table = without_unclear_dashes(table, config)
    _require(table, config)
    told = column_problems(table, config) if config.uses_clinical else {}
    if config.uses_clinical:
        notes += unit_notes(as_read, config, told=told)
    problems: list[Problem] = list(told.values())
    excluded: list[Exclusion] = []
    patients: list[Patient] = []
    unusable: list[Patient] = []
    strata: dict[str, str] = {}
    find: SlideFinder | FeatureFinder | None = None
    if config.uses_slides:
        find = SlideFinder(config) if config.imported is None else FeatureFinder(config.imported)
    if isinstance(find, SlideFinder):
        notes += find.of_no_row(_slide_names(table))
    enrolled = table["patient_id"].replace("", pd.NA).nunique()
    problems.extend(
        Problem(
            cause=f"row {int(number) + 2} has no patient_id.",
            remedy="Give every row the patient's id.",
            file=config.cohort,
        )
        for number in table.index[table["patient_id"] == ""]
    )
    for patient_id, rows in table[table["patient_id"] != ""].groupby("patient_id", sort=False):
        read = _PatientReader(str(patient_id), rows, config, told=told)
        patient = read.patient(find)
        problems.extend(read.problems)
        excluded.extend(read.excluded)
        if read.stratum is not None:
            strata[read.patient_id] = read.stratum
        if patient is not None:
            (unusable if read.problems else patients).append(patient)
    frame = numeric_where_possible(
        table[table["patient_id"] != ""].drop_duplicates("patient_id").set_index("patient_id")
    )
    cohort = Cohort(
        classes=class_names(config.endpoint),
        patients=tuple(patients),
        excluded=tuple(excluded),
        enrolled=int(enrolled),
        frame=frame,
        strata=strata,
    )
    problems.extend(_class_problems(cohort, unusable, config))
    return CohortReading(
        cohort=cohort, problems=tuple(problems), notes=notes, unusable=tuple(unusable)
    )


def without(cohort: Cohort, dropped: Mapping[str, tuple[str, str]]) -> Cohort:
    """The cohort without some patients; `dropped` gives step and reason by patient id."""
    return replace(
        cohort,
        patients=tuple(p for p in cohort.patients if p.patient_id not in dropped),
        excluded=cohort.excluded
        + tuple(
            Exclusion(step=step, reason=reason, patient_id=patient)
            for patient, (step, reason) in dropped.items()
        ),
    )


def _require(table: pd.DataFrame, config: StudyConfig) -> None:
    require_columns(table, ["patient_id"], file=config.cohort, key="cohort")
    if not isinstance(config.endpoint, str):
        require_columns(table, [config.endpoint.column], file=config.cohort, key="endpoint.column")
    elif not {"nodes", "aln_status"} & set(table.columns):
        raise CohortError(
            f"has neither a column `nodes` nor `aln_status`, and the endpoint {config.endpoint} "
            f"is made from one of them{other_sheets(config.cohort)}.",
            "Add the count of positive nodes, or set endpoint: {column, negative, positive}.",
            file=config.cohort,
        )
    if config.uses_clinical:
        require_columns(table, config.clinical.names, file=config.cohort, key="clinical")
    if isinstance(config.split, ColumnSplit):
        require_columns(table, [config.split.column], file=config.cohort, key="split.column")
    if config.group_column is not None:
        key = "split.leave_out" if isinstance(config.split, LeaveOutSplit) else "split.group"
        require_columns(table, [config.group_column], file=config.cohort, key=key)


def _class_problems(
    cohort: Cohort, unusable: Sequence[Patient], config: StudyConfig
) -> list[Problem]:
    """Classes of which nobody is left; that nobody at all is left may have other reasons."""
    failed = {patient.label for patient in unusable}
    there = {patient.label for patient in cohort.patients} or failed
    empty = [label for label in range(len(cohort.classes)) if label not in there]
    if not empty and cohort.patients:
        return []
    if not empty:
        return [
            Problem(
                cause="every patient has a problem, so nobody is left.",
                remedy="Mend what is wrong with the patients.",
                file=config.cohort,
            )
        ]
    names = " or ".join(cohort.classes[label] for label in empty)
    return [
        Problem(
            cause=f"no usable patient is {names}, so there is nothing to tell apart.",
            remedy="Mend what is wrong with the patients of that class; every class is needed."
            if failed.issuperset(empty)
            else "Check the endpoint and its column; patients of every class are needed.",
            file=config.cohort,
        )
    ]


def _slide_names(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The slide's id and what the column `slide` says, by row; also of patients who are left out.

    A row without slide_id has its patient's id for it.
    """
    none = pd.Series("", index=table.index)
    ids = table.get("slide_id", none)
    ids = ids.where(ids != "", table["patient_id"])
    return list(zip(ids, table.get("slide", none), strict=True))


class _PatientReader:
    """All rows of one patient, read once; problems are gathered, not raised."""

    def __init__(
        self, patient_id: str, rows: pd.DataFrame, config: StudyConfig, *, told: Collection[str]
    ) -> None:
        self.patient_id = patient_id
        self.rows = rows
        self.config = config
        self.told = told
        self.problems: list[Problem] = []
        self.excluded: list[Exclusion] = []
        self.stratum: str | None = None

    def patient(self, find: SlideFinder | FeatureFinder | None) -> Patient | None:
        """The patient, None where outside the endpoint; what is wrong stands in `problems`."""
        self._check_rows()
        label = self._label()
        if self.excluded:
            return None
        # Read on where the label is unclear: all of a patient's problems are told at once.
        return Patient(
            patient_id=self.patient_id,
            label=-1 if label is None else label,
            slides=self._slides(find) if find is not None else (),
            clinical=self._clinical() if self.config.uses_clinical else {},
            split=self._split(),
            group=self._group(),
        )

    def _problem(
        self,
        cause: str,
        remedy: str,
        *,
        file: Path | None = None,
        slide: str | None = None,
        code: str = "table",
    ) -> None:
        self.problems.append(
            Problem(
                cause=cause,
                remedy=remedy,
                patient=self.patient_id,
                file=file if file is not None else self.config.cohort,
                fatal=False,
                slide=slide,
                code=code,
            )
        )

    def _cell(self, column: str) -> str:
        """The patient's value of a column; rows of one patient must agree."""
        if column not in self.rows.columns:
            return ""
        values = list(dict.fromkeys(self.rows[column]))
        if len(values) > 1:
            self._problem(
                f"the rows disagree on `{column}` ({', '.join(repr(v) for v in values)}).",
                "Make the patient's rows agree.",
            )
        return str(values[0])

    def _check_rows(self) -> None:
        if not is_file_name(self.patient_id):
            self._problem("the patient id cannot be a file's name.", "Take out slashes.")
        if len(self.rows) > 1 and "slide_id" not in self.rows.columns:
            self._problem(
                f"the patient stands in {len(self.rows)} rows.",
                "Keep one row a patient, or add a column `slide_id` for several slides.",
            )

    def _label(self) -> int | None:
        endpoint = self.config.endpoint
        found: int | Outside | Unclear
        if not isinstance(endpoint, str):
            found = column_class(self._cell(endpoint.column), endpoint)
            if not isinstance(found, Unclear):
                self.stratum = class_names(endpoint)[found]
        else:
            stage = node_stage(nodes=self._cell("nodes"), aln_status=self._cell("aln_status"))
            found = stage if isinstance(stage, Unclear) else node_class(stage, endpoint)
            if not isinstance(stage, Unclear):
                self.stratum = stage
        if isinstance(found, Unclear):
            self._problem(found.cause, found.remedy)
            return None
        if isinstance(found, Outside):
            self.excluded.append(
                Exclusion(step="endpoint", reason=found.reason, patient_id=self.patient_id)
            )
            return None
        return found

    def _clinical(self) -> dict[str, float | str | None]:
        values, wrong = clinical_values(self.config.clinical, self._cell, told=self.told)
        for problem in wrong:
            self._problem(problem.cause, problem.remedy)
        if self.config.clinical.missing == "refuse":
            for name, value in values.items():
                if value is None and not self.rows[name].iloc[0]:
                    self._problem(
                        f"`{name}` is missing.",
                        "Fill it in, set clinical.missing: impute, or run with --exclude-failed.",
                    )
        return values

    def _split(self) -> CohortName | None:
        if not isinstance(self.config.split, ColumnSplit):
            return None
        text = self._cell(self.config.split.column)
        name = SPLIT_NAMES.get(text.lower())
        if name is None:
            self._problem(
                f"`{self.config.split.column}` is {text!r}, which is no cohort.",
                "Write train, val or test.",
            )
        return name

    def _group(self) -> str | None:
        column = self.config.group_column
        if column is None:
            return None
        group = self._cell(column)
        if not group:
            self._problem(
                f"`{column}` is missing, and the folds are made by it.",
                "Fill in the group.",
            )
        return group

    def _slides(self, find: SlideFinder | FeatureFinder) -> tuple[Slide, ...]:
        slides = []
        seen: set[str] = set()
        for _, row in self.rows.iterrows():
            slide_id = str(row.get("slide_id", "") or self.patient_id)
            if slide_id in seen:
                if "slide_id" in self.rows.columns:
                    self._problem(
                        f"the slide {slide_id} stands in two rows.",
                        "Give every row its own slide_id.",
                    )
                continue
            seen.add(slide_id)
            say = partial(self._problem, slide=slide_id, code="slide")
            slide = find.slide(self.patient_id, slide_id, str(row.get("slide", "")), say)
            mpp = self._mpp(slide_id, str(row.get("mpp", "")))
            if slide is not None:
                slides.append(replace(slide, table_mpp=mpp))
        return tuple(slides)

    def _mpp(self, slide_id: str, text: str) -> MicronsPerPixel | None:
        if not text:
            return None
        number = parse_number(text)
        low, high = SANE_MPP
        if number is None or not low <= number <= high:
            self._problem(
                f"`mpp` of slide {slide_id} is {text!r}, which is no µm per pixel of a microscope.",
                f"Write a number from {low} to {high}, such as 0.25 at 40x, or leave it empty.",
                slide=slide_id,
            )
            return None
        return MicronsPerPixel(number)


def is_generated(table: Path) -> bool:
    """Whether the cohort was made by `axilla demo` or `axilla generate`, not by patients.

    The generator leaves a file GENERATED.txt beside the table.
    """
    return (table.parent / GENERATED).is_file()
