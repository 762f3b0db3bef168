"""One patient as the user gives it: slides, outlines and clinical values, checked together."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from axilla.core.clinical_cells import clinical_values, declared_words, in_declared_units
from axilla.core.config import StudyConfig
from axilla.core.errors import CohortError, InputProblems, Problem
from axilla.core.slide_files import (
    ANNOTATION_SUFFIXES,
    IMAGE_SUFFIXES,
    first_of_series,
    is_file_name,
)
from axilla.core.table import plain_cell
from axilla.core.types import SANE_MPP, Cohort, MicronsPerPixel, Patient, Slide
from axilla.deploy.loading import LoadedModel
from axilla.mil.clinical import Preprocessor

Regions = Literal["auto", "annotation", "tissue", "whole"]
FEATURE_SUFFIXES = (".h5", ".pt")
OPTIONS = ("age", "tumor_size_cm", "er", "pr", "her2")
"""Columns that `axilla predict-case` has an option for, of the same name."""


@dataclass(frozen=True, slots=True)
class CaseInput:
    """A patient whom the model never saw."""

    slides: tuple[Path, ...] = ()
    """Whole slides; with `regions: whole`, `<id>_<k>` are the cut regions of one slide. Files of
    features for a model that takes such. None for a clinical model."""
    annotations: tuple[Path, ...] = ()
    """Outlines of the tumour, each named as its slide; of one slide, named at will."""
    clinical: Mapping[str, str | float | None] = field(default_factory=dict)
    """Values by column, as a cell of a cohort's table would hold them."""
    patient_id: str | None = None
    """None takes the first slide's name."""
    regions: Regions = "auto"
    mpp: float | None = None
    """µm per level-0 pixel of the slides, where their files do not say it."""

    @property
    def name(self) -> str:
        """The patient's id."""
        if self.patient_id is not None:
            return self.patient_id
        return _slide_ids(self)[0] if self.slides else "case"


@dataclass(frozen=True, slots=True, eq=False)
class ReadCase:
    """The same as a cohort of one."""

    cohort: Cohort
    notes: tuple[str, ...]
    """What was made of the clinical values, a sentence each."""

    @property
    def patient(self) -> Patient:
        """The only one."""
        return self.cohort.patients[0]


def read_case(case: CaseInput, *, model: LoadedModel, config: StudyConfig) -> ReadCase:
    """Find the files and read the values; every problem is told at once.

    Raises
    ------
    InputProblems
        A file is missing or belongs to no slide, or a value is none that the model can take.
    """
    problems: list[Problem] = []
    if not is_file_name(case.name):
        problems.append(Problem("the patient id cannot be a file's name.", "Take out slashes."))
    slides = _slides(case, model, problems)
    values, notes, wrong = read_clinical(case.clinical, model=model, config=config)
    problems += wrong
    if problems:
        named = (Problem(p.cause, p.remedy, case.name, p.file, code=p.code) for p in problems)
        raise InputProblems(tuple(named))
    patient = Patient(case.name, label=-1, slides=slides, clinical=values)
    cohort = Cohort(
        classes=model.bundle.classes,
        patients=(patient,),
        excluded=(),
        enrolled=1,
        frame=pd.DataFrame(index=pd.Index([case.name], name="patient_id")),
    )
    return ReadCase(cohort, notes)


def read_values(path: Path) -> dict[str, str | float | None]:
    """Clinical values of a JSON file: an object of names and cells.

    Raises
    ------
    CohortError
        It is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CohortError("there is no such file.", "Correct the path.", file=path) from error
    except ValueError as error:
        raise CohortError(
            "this is no JSON.", 'Write {"age": 47, "er": "positive"}.', file=path
        ) from error
    cells = str | int | float | None
    if not isinstance(found, dict) or not all(
        isinstance(v, cells) and not isinstance(v, bool) for v in found.values()
    ):
        raise CohortError(
            "this is no object of clinical values.",
            'Write {"age": 47, "er": "positive"}: a number, a text or null each.',
            file=path,
        )
    return dict(found)


def read_clinical(
    given: Mapping[str, str | float | None], *, model: LoadedModel, config: StudyConfig
) -> tuple[dict[str, float | str | None], tuple[str, ...], list[Problem]]:
    """Values of the model's columns, as a cell of the cohort's table is read.

    Returns
    -------
    tuple
        Values by column, None where missing; notes; and what is wrong.
    """
    words = declared_words(config)
    named = {_column(name): value for name, value in given.items()}
    cells = {n: "" if v is None else plain_cell(v, words.get(n, ())) for n, v in named.items()}
    columns = model.columns
    if not columns:
        told = [n for n in cells if cells[n]]
        note = f"{_listed(told)} {'is' if len(told) == 1 else 'are'} not looked at: the model "
        return {}, ((f"{note}reads no clinical values.",) if told else ()), []
    frame, units = in_declared_units(pd.DataFrame([cells or {"": ""}], dtype=str), config)
    row = {str(name): str(frame[name].iloc[0]) for name in frame.columns if name}
    notes = [f"{unit.cause} " for unit in units]
    problems = []
    converted = {n for n in cells if n[:-3] in {c[:-3] for c in columns} and n[-3:] in _UNITS}
    strange = [n for n in cells if n not in columns and n not in converted]
    for name in strange:
        near = difflib.get_close_matches(name, columns, 1, 0.6)
        if near and near[0] not in cells:
            problems.append(
                Problem(
                    f"the model reads no column `{name}`; the nearest is `{near[0]}`.",
                    f"Its columns: {', '.join(columns)}.",
                )
            )
        elif cells[name]:
            notes.append(f"`{name}` is not looked at: the model does not read it.")
    values, wrong = clinical_values(config.clinical, lambda name: _sign(row, name, model))
    problems += [Problem(cell.cause, _of_one(cell.remedy), code="clinical") for cell in wrong]
    wrong_columns = {cell.cause.split("`")[1] for cell in wrong if "`" in cell.cause}
    if config.clinical.missing == "refuse":
        problems += [
            Problem(
                f"`{name}` is not given, and the model needs it.",
                f"Give it: {_option(name)} on the command line, or in the file of values.",
                code="clinical",
            )
            for name, value in values.items()
            if value is None and name not in wrong_columns
        ]
    return values, tuple(note.strip() for note in notes), problems


_UNITS = ("_cm", "_mm")


def _option(name: str) -> str:
    """How a column's value is given on the command line."""
    return f"--{name.replace('_', '-')} VALUE" if name in OPTIONS else f"--set {name}=VALUE"


def _of_one(remedy: str) -> str:
    """A cell's remedy without what is declared in a study's file: a case has none."""
    return re.sub(r"(?:; if [^;]*, declare|, or add it to the column's) .*$", ".", remedy)


def _column(name: str) -> str:
    return re.sub(r"[\s-]+", "_", str(name).strip().lower())


def _sign(row: Mapping[str, str], name: str, model: LoadedModel) -> str:
    """The cell; a lone dash is a category only where the model was trained with one."""
    cell = row.get(name, "")
    if cell != "-":
        return cell
    reads = model.bundle.preprocessor
    if not isinstance(reads, Preprocessor) or name not in reads.categorical:
        return ""
    return cell if "-" in reads.categories[reads.categorical.index(name)] else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _slides(case: CaseInput, model: LoadedModel, problems: list[Problem]) -> tuple[Slide, ...]:
    if not model.looks_at_slides:
        if case.slides or case.annotations:
            problems.append(
                Problem("the model reads clinical values alone.", "Give no slide.",
                        file=(*case.slides, *case.annotations)[0])
            )  # fmt: skip
        return ()
    if not case.slides:
        what = "files of features" if model.takes_features else "slides"
        problems.append(Problem(f"the model looks at {what}, and none is given.", "Give one."))
        return ()
    problems.extend(_file_problems(case, model))
    low, high = SANE_MPP
    if case.mpp is not None and not low <= case.mpp <= high:
        problems.append(
            Problem(
                f"{case.mpp:g} µm per pixel is no microscope's.",
                f"Give {low} to {high}, such as 0.25 at 40x.",
            )
        )
    groups: dict[str, list[Path]] = {}
    for slide_id, path in zip(_slide_ids(case), case.slides, strict=True):
        groups.setdefault(slide_id, []).append(path)
    if case.regions != "whole" or model.takes_features:
        twice = [paths[1] for paths in groups.values() if len(paths) > 1]
        problems.extend(
            Problem("another slide has the same name.", "Rename one of them.", file=path)
            for path in twice
        )
    outlines = _outlines(case, list(groups), problems)
    mpp = None if case.mpp is None else MicronsPerPixel(case.mpp)
    found = []
    for slide_id, paths in groups.items():
        images = tuple(first_of_series(path) or path for path in sorted(paths, key=_number))
        features = paths[0] if model.takes_features else None
        found.append(
            Slide(
                slide_id=slide_id,
                patient_id=case.name,
                images=() if model.takes_features else images,
                annotation=outlines.get(slide_id),
                table_mpp=mpp,
                features=features,
            )
        )
    return tuple(found)


def slide_name(path: Path, *, regions: Regions) -> str:
    """The slide that a file is of: its own name, or that of the slide it is a cut region of."""
    if path.is_dir():
        return path.name
    region = re.fullmatch(r"(.+)_(\d+)", path.stem) if regions == "whole" else None
    return path.stem if region is None else region[1]


def _slide_ids(case: CaseInput) -> list[str]:
    return [slide_name(path, regions=case.regions) for path in case.slides]


def _number(path: Path) -> tuple[int, str]:
    region = re.fullmatch(r".+_(\d+)", path.stem)
    return (int(region[1]) if region else -1, path.name)


def _file_problems(case: CaseInput, model: LoadedModel) -> list[Problem]:
    suffixes = FEATURE_SUFFIXES if model.takes_features else IMAGE_SUFFIXES
    found = []
    for path in case.slides:
        series = first_of_series(path) is not None and not model.takes_features
        if not path.exists():
            found.append(Problem("there is no such file.", "Correct the path.", file=path))
        elif not series and path.suffix.lower() not in suffixes:
            found.append(
                Problem(
                    "this is no file of features." if model.takes_features else "this is no slide.",
                    f"Give one of {', '.join(suffixes)}.",
                    file=path,
                )
            )
    for path in case.annotations:
        if not path.is_file():
            found.append(Problem("there is no such file.", "Correct the path.", file=path))
        elif path.suffix.lower() not in ANNOTATION_SUFFIXES:
            found.append(
                Problem(
                    "this is no annotation.",
                    f"Give one of {', '.join(ANNOTATION_SUFFIXES)}.",
                    file=path,
                )
            )
    return found


def _outlines(
    case: CaseInput, slide_ids: Sequence[str], problems: list[Problem]
) -> dict[str, Path]:
    """The annotation of each slide that has one."""
    if case.annotations and case.regions in {"tissue", "whole"}:
        problems.append(
            Problem(
                f"an annotation is given, but regions are to be {case.regions}.",
                "Leave out --annotation, or set --regions annotation.",
                file=case.annotations[0],
            )
        )
        return {}
    found: dict[str, Path] = {}
    if len(case.annotations) == 1 and len(slide_ids) == 1:
        found[slide_ids[0]] = case.annotations[0]
    else:
        for path in case.annotations:
            if path.stem not in slide_ids or path.stem in found:
                problems.append(
                    Problem(
                        "the annotation belongs to no slide of its own.",
                        "Name each annotation as its slide.",
                        file=path,
                    )
                )
            found[path.stem] = path
    if case.regions == "annotation":
        problems.extend(
            Problem(
                f"the slide {slide_id} has no annotation.",
                "Give it with --annotation, or set --regions auto.",
            )
            for slide_id in slide_ids
            if slide_id not in found
        )
    return found
