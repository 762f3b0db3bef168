"""BCNB as published, or as its authors' code has it, to a study."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from axilla.cohorts.bcnb import (
    COHORTS,
    TABLE,
    TASKS,
    read_clinical,
    read_preprocessed,
    read_split,
)
from axilla.cohorts.bcnb_bags import BagFiles, find_bag_files, missing_patches, read_bag_files
from axilla.cohorts.bcnb_notes import PUBLISHED, provenance
from axilla.core import store
from axilla.core.endpoint import Unclear, class_names, node_class, node_stage
from axilla.core.errors import AxillaError, CohortError, InputProblems, Problem
from axilla.core.given_bags import write_bags
from axilla.core.slide_files import entries
from axilla.core.split_clash import clash_problems
from axilla.core.table import read_table
from axilla.core.types import CohortName
from axilla.core.yaml_file import read_mapping
from axilla.wsi.annotations import read_annotation

_RAW_TABLES = (TABLE, "clinical.csv")
_STANDARDISED = ("", "clinical_data", "clinical_preprocessed", "dataset/clinical_data")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote."""

    study: Path
    patients: Mapping[str, int]
    """Patients of the task by cohort; `all` where the study splits at random."""
    bags: int | None
    patches: int | None
    """Of the authors' bags; None where slides are cut here."""
    notes: tuple[str, ...] = ()
    """What the user should know, a sentence each."""


@dataclass(slots=True)
class _Draft:
    """A study as it comes together."""

    source: Path
    task: int
    table: pd.DataFrame
    settings: dict[str, Any]
    problems: list[Problem]
    bags: BagFiles | None = None
    cohort_of: Mapping[str, CohortName] | None = None
    notes: list[str] = field(default_factory=list)


def import_bcnb(folder: Path, *, out: Path, task: int = 0, tables_only: bool = False) -> Imported:
    """Write cohort.csv, study.yaml and a note of where the data come from and on what terms.

    Parameters
    ----------
    folder
        Where the authors' bag files of the task lie (in it, in `json/` or in `splits/`), with
        `patches/` beside: the study's bags and split are exactly theirs. Else the folder as
        published: `WSIs/` and `patient-clinical-data.xlsx`.
    out
        Where to write. A second task in the same folder gets files of its own, named `-task<k>`.
    task
        The authors' number: 0 N0 / N(+), 1 N+(1-2) / N+(>2), 2 all three, 3 N0 / N+(1-2),
        4 N0 / N+(>2).
    tables_only
        Do not look for slides, annotations or patches.

    Raises
    ------
    InputProblems
        Rows, slides, annotations or patches are wrong or missing, all of them named.
    AxillaError
        A file is missing or is not what it should be, or `out` holds another study's files.
    """
    if not folder.is_dir():
        raise CohortError("there is no such folder.", "Give the folder of BCNB.", file=folder)
    files = find_bag_files(folder, task=task)
    if files is not None:
        draft = _draft_with_bags(folder, read_bag_files(files, task=task), task)
        if draft.bags is not None and not tables_only:
            draft.problems.extend(missing_patches(draft.bags, Path(draft.settings["slides"])))
    else:
        draft = _draft_as_published(folder, task)
        if not tables_only:
            draft.problems.extend(_slide_problems(draft))
    if draft.problems:
        raise InputProblems(tuple(draft.problems))
    if tables_only:
        draft.notes.append("Slides and patches were not looked for: `axilla check` does.")
    return _write(draft, out)


def _draft_with_bags(folder: Path, bags: BagFiles, task: int) -> _Draft:
    raw = next((folder / name for name in _RAW_TABLES if (folder / name).is_file()), None)
    clinical: dict[str, Any] = {}
    notes = []
    if raw is not None:
        table, problems = read_clinical(raw)
    else:
        name = f"preprocessed-type-{task}.xlsx"
        places = [folder / place / name for place in _STANDARDISED]
        raw = next((path for path in places if path.is_file()), None)
        if raw is None:
            raise CohortError(
                "there is no table of the patients.",
                f"Put {TABLE} there, or the authors' clinical_data/{name}.",
                file=folder,
            )
        table, problems = read_preprocessed(raw, stages=bags.stages(task))
        clinical = {"clinical": {"numeric": ["age_standardised", "tumor_size_standardised"]}}
        notes.append("Age and tumour size are the authors' standardised values, not years and cm.")
    settings = {
        "slides": str((folder / "patches").resolve()),
        "regions": "patches",
        "endpoint": TASKS[task],
        "split": {"column": "split"},
        **clinical,
    }
    problems += _bag_problems(table, bags, task, file=raw)
    return _Draft(
        folder, task, table, settings, problems, bags=bags, cohort_of=bags.cohort_of, notes=notes
    )


def _bag_problems(table: pd.DataFrame, bags: BagFiles, task: int, *, file: Path) -> list[Problem]:
    """Where the table and the bag files do not say the same of a patient."""
    found = []
    label_of = {row["patient_id"]: _label(row, task) for row in table.to_dict(orient="records")}
    names = class_names(TASKS[task])
    for patient, label in bags.label_of.items():
        path = bags.files[bags.cohort_of[patient]]
        if patient not in label_of:
            found.append(
                Problem("has bags, but no row in the table.", "Add the row.", patient, file)
            )
        elif label_of[patient] is not None and label_of[patient] != label:
            said = label_of[patient]
            found.append(
                Problem(
                    f"the bags' label is {label} ({names[label]}), but the table says "
                    f"{names[said] if said is not None else 'nothing'}.",
                    "Give table and bag files of the same release.",
                    patient,
                    path,
                )
            )
    found.extend(
        Problem(
            f"is {names[label]} in the table, but has no bag.",
            "Give table and bag files of the same release.",
            patient,
            file,
        )
        for patient, label in label_of.items()
        if label is not None and patient not in bags.label_of
    )
    return found


def _label(row: Mapping[Any, Any], task: int) -> int | None:
    """Class of a patient by the table; None where it has none in this task."""
    stage = node_stage(nodes=row.get("nodes"), aln_status=row.get("aln_status"))
    if isinstance(stage, Unclear):
        return None
    found = node_class(stage, TASKS[task])
    return found if isinstance(found, int) else None


def _draft_as_published(folder: Path, task: int) -> _Draft:
    table, problems = read_clinical(folder / TABLE)
    slides = str((folder / "WSIs").resolve())
    cohort_of = read_split(folder)
    settings: dict[str, Any] = {
        "slides": slides,
        "annotations": slides,
        "regions": "annotation",
        "patches": {"white_by": "channel"},
        "endpoint": TASKS[task],
    }
    notes = []
    if cohort_of is None:
        notes.append(
            "There is no folder dataset-splitting, so the study splits at random, not as the paper."
        )
    else:
        settings["split"] = {"column": "split"}
        where = folder / "dataset-splitting"
        known = set(table["patient_id"])
        problems += [
            Problem("is in no file of the split.", "Add the patient to one.", str(p), where)
            for p in table["patient_id"]
            if p not in cohort_of
        ]
        problems += [
            Problem("is in the split, but has no row in the table.", "Add the row.", p, where)
            for p in cohort_of
            if p not in known
        ]
    return _Draft(folder, task, table, settings, problems, cohort_of=cohort_of, notes=notes)


def _slide_problems(draft: _Draft) -> list[Problem]:
    """Patients without slide or annotation, annotations that are none, slides without patient."""
    folder = Path(draft.settings["slides"])
    if not folder.is_dir():
        return [
            Problem(
                "there is no such folder.",
                "Unpack BCNB's slides there, or import the table alone with --tables-only.",
                file=folder,
            )
        ]
    found: list[Problem] = []
    patients = list(dict.fromkeys(draft.table["patient_id"].astype(str)))
    for patient in patients:
        image, annotation = folder / f"{patient}.jpg", folder / f"{patient}.json"
        found.extend(
            Problem(
                f"the {what} is missing.",
                "Unpack it there, or import the table alone with --tables-only.",
                patient,
                path,
            )
            for what, path in (("slide", image), ("annotation", annotation))
            if not path.is_file()
        )
        if annotation.is_file():
            try:
                read_annotation(annotation, slide_id=patient, patient_id=patient, image=image)
            except AxillaError as error:
                found.append(error.problem)
    known = set(patients)
    found.extend(
        Problem("the slide's patient has no row in the table.", "Add the row.", path.stem, path)
        for path in entries(folder)
        if path.suffix == ".jpg" and path.stem not in known
    )
    return found


def _write(draft: _Draft, out: Path) -> Imported:
    suffix = _suffix(out, draft.task)
    split = draft.cohort_of
    table = draft.table
    if split is not None:
        table = table.assign(split=table["patient_id"].map(lambda patient: split.get(patient, "")))
    counts = _count(table, draft.task)
    settings = {
        "name": f"BCNB, task {draft.task}",
        "cohort": f"cohort{suffix}.csv",
        **draft.settings,
        **({} if draft.bags is None else {"bags": {"file": f"bags{suffix}.json"}}),
        **_published(counts, draft.task),
        "out": f"out{suffix}",
    }
    note = provenance(draft.source, task=draft.task, with_bags=draft.bags is not None)
    head = "".join(f"# {line}".rstrip() + "\n" for line in note.splitlines())
    study = head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=1000)
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    texts = {f"study{suffix}.yaml": study, f"cohort{suffix}.csv": buffer.getvalue()}
    for name, text in texts.items():
        _keep(out / name, text)
    for name, text in (*texts.items(), (f"PROVENANCE{suffix}.txt", note)):
        store.write_text(out / name, text)
    if draft.bags is not None:
        write_bags(out / f"bags{suffix}.json", draft.bags.bags)
    return Imported(
        study=out / f"study{suffix}.yaml",
        patients=counts,
        bags=None if draft.bags is None else sum(map(len, draft.bags.bags.values())),
        patches=None if draft.bags is None else draft.bags.patches,
        notes=(*draft.notes, *_clashes(table, out, suffix)),
    )


def _suffix(out: Path, task: int) -> str:
    """Nothing for the first task imported into a folder, `-task<k>` for further ones."""
    first = out / "study.yaml"
    if not first.is_file() or read_mapping(first).get("endpoint") == TASKS[task]:
        return ""
    return f"-task{task}"


def _keep(path: Path, text: str) -> None:
    """Refuse to write over what somebody changed."""
    if path.is_file() and path.read_bytes() != text.encode("utf-8"):
        raise CohortError(
            "the file is there already, and says something else.",
            "Move it away, or give another folder with --out.",
            file=path,
        )


def _count(table: pd.DataFrame, task: int) -> dict[str, int]:
    """Patients of the task by cohort, in the cohorts' order."""
    rows = table.to_dict(orient="records")
    found = Counter(str(row.get("split", "all")) for row in rows if _label(row, task) is not None)
    return {name: found[name] for name in (*COHORTS, "all") if found[name]}


def _published(counts: Mapping[str, int], task: int) -> dict[str, Any]:
    """The paper's figures, where the cohorts are of the paper's sizes."""
    sizes, figures = PUBLISHED.get(task, ((), ()))
    if tuple(counts.get(cohort, 0) for cohort in COHORTS) != sizes:
        return {}
    keys = ("source", "method", "auc", "accuracy")
    return {"published": [dict(zip(keys, figure, strict=True)) for figure in figures]}


def _clashes(table: pd.DataFrame, out: Path, suffix: str) -> list[str]:
    """Where this split contradicts that of another task in the same folder."""
    notes: list[str] = []
    if "split" not in table:
        return notes
    ours = dict(zip(table["patient_id"], table["split"], strict=True))
    for path in sorted(out.glob("cohort*.csv")):
        if path.name == f"cohort{suffix}.csv":
            continue
        other = read_table(path)
        if {"patient_id", "split"} <= set(other.columns):
            theirs = dict(zip(other["patient_id"], other["split"], strict=True))
            names = (f"cohort{suffix}.csv", path.name)
            notes += [str(problem) for problem in clash_problems(ours, theirs, names=names)]
    return notes
