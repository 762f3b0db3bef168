"""The bag files of BCNB's authors: `{train,val,test}-type-<task>.json`.

Each is a list of bags, `{"id": "981", "label": "0", "patch_paths": [...]}`, with ten patches each,
such as `patches/981/981_0_256_1024.jpg`. They say who trains, who validates and who is tested in a
task, and the tasks' splits contradict each other (`core.split_clash`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from axilla.cohorts.bcnb import COHORTS, TASKS
from axilla.core.endpoint import class_names
from axilla.core.errors import CohortError, Problem
from axilla.core.given_bags import read_json_once
from axilla.core.patch_names import PatchName, parse_patch_name
from axilla.core.slide_files import IMAGE_SUFFIXES, is_file_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from axilla.core.types import CohortName

_FOLDERS = ("", "json", "splits", "dataset/json")
"""Where bag files lie under the folder given: beside the patches, or as in the authors' code."""


@dataclass(frozen=True, slots=True, eq=False)
class BagFiles:
    """All bags of one task."""

    files: Mapping[CohortName, Path]
    cohort_of: Mapping[str, CohortName]
    """Cohort by patient id."""
    label_of: Mapping[str, int]
    """Class by patient id, as an index into the endpoint's classes."""
    bags: Mapping[str, tuple[tuple[PatchName, ...], ...]]
    """Bags by patient id."""

    @property
    def patches(self) -> int:
        """Patches of all bags."""
        return sum(len(bag) for bags in self.bags.values() for bag in bags)

    def stages(self, task: int) -> dict[str, str]:
        """Node status by patient id, as far as the task's labels say it."""
        names = class_names(TASKS[task])
        return {patient: names[label] for patient, label in self.label_of.items()}


def find_bag_files(folder: Path, *, task: int) -> dict[CohortName, Path] | None:
    """The three bag files of a task; None where the folder has none.

    Raises
    ------
    CohortError
        Some of the three are missing.
    """
    names: dict[CohortName, str] = {cohort: f"{cohort}-type-{task}.json" for cohort in COHORTS}
    for place in _FOLDERS:
        found = {c: folder / place / name for c, name in names.items()}
        missing = [path for path in found.values() if not path.is_file()]
        if len(missing) == len(found):
            continue
        if missing:
            raise CohortError(
                "a bag file of the task is missing.",
                "Add it: a task needs those of training, validation and test.",
                file=missing[0],
            )
        return found
    return None


def read_bag_files(files: Mapping[CohortName, Path], *, task: int) -> BagFiles:
    """Read the bags of one task.

    Raises
    ------
    CohortError
        A file cannot be read or is no bag file; a patient is in two cohorts or has two labels; a
        patch belongs to another patient.
    """
    cohort_of: dict[str, CohortName] = {}
    label_of: dict[str, int] = {}
    bags: dict[str, list[tuple[PatchName, ...]]] = {}
    for cohort, path in files.items():
        remedy = "Take the authors' bag file as it is."
        content = read_json_once(path, remedy=remedy)
        if not isinstance(content, list) or not content:
            raise CohortError("the file holds no list of bags.", remedy, file=path)
        for number, entry in enumerate(content, start=1):
            patient, label, bag = _entry(entry, number, path, task=task)
            if cohort_of.setdefault(patient, cohort) != cohort:
                raise CohortError(
                    f"the patient has bags in {cohort_of[patient]} and in {cohort}.",
                    "Keep a patient in one cohort.",
                    patient=patient,
                    file=path,
                )
            if label_of.setdefault(patient, label) != label:
                raise CohortError(
                    f"the patient's bags have the labels {label_of[patient]} and {label}.",
                    "Give all bags of a patient the same label.",
                    patient=patient,
                    file=path,
                )
            bags.setdefault(patient, []).append(bag)
    return BagFiles(
        files=dict(files),
        cohort_of=cohort_of,
        label_of=label_of,
        bags={patient: tuple(own) for patient, own in bags.items()},
    )


def missing_patches(bags: BagFiles, folder: Path) -> list[Problem]:
    """A problem a patient whose patches are not all in `folder/<patient>/`, or one for them all."""
    if not folder.is_dir():
        first = next(iter(bags.bags))
        return [
            Problem(
                cause=f"all {bags.patches:,} patches of the bags are missing, for there is no such "
                f"folder (the first is {first}/{bags.bags[first][0][0]}.jpg).",
                remedy="Unpack the authors' paper_patches.zip there, or import the tables, split "
                "and bags alone with --tables-only.",
                file=folder,
            )
        ]
    problems = []
    for patient, own in bags.bags.items():
        wanted = {str(name) for bag in own for name in bag}
        place = folder / patient
        there = (
            {p.stem for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
            if (place.is_dir())
            else set()
        )
        gone = sorted(wanted - there)
        if gone:
            problems.append(
                Problem(
                    cause=f"{len(gone):,} of {len(wanted):,} patches of the bags are missing (the "
                    f"first is {gone[0]}.jpg).",
                    remedy="Unpack the authors' paper_patches.zip again, or import with "
                    "--tables-only.",
                    patient=patient,
                    file=place,
                )
            )
    return problems


def _entry(
    entry: Any, number: int, path: Path, *, task: int
) -> tuple[str, int, tuple[PatchName, ...]]:
    keys = {"id", "label", "patch_paths"}
    if not isinstance(entry, dict) or not keys <= set(entry):
        raise CohortError(
            f"bag {number} has not the keys id, label and patch_paths.",
            "Take the authors' bag file as it is.",
            file=path,
        )
    patient, label = str(entry["id"]), str(entry["label"])
    if not is_file_name(patient):
        raise CohortError(f"bag {number} has the patient id {patient!r}.", "Correct it.", file=path)
    classes = class_names(TASKS[task])
    if label not in {str(index) for index in range(len(classes))}:
        raise CohortError(
            f"bag {number} has the label {label!r}, and task {task} ({TASKS[task]}) has the "
            f"labels 0 to {len(classes) - 1}.",
            "Give the bag files of this task, or correct --task.",
            patient=patient,
            file=path,
        )
    texts = entry["patch_paths"] if isinstance(entry["patch_paths"], list) else []
    names = tuple(parse_patch_name(PurePosixPath(str(text)).stem) for text in texts)
    whole = tuple(name for name in names if name is not None and name.slide_id == patient)
    if not whole or len(whole) < len(names) or len(set(whole)) < len(whole):
        raise CohortError(
            f"bag {number} is empty, names a patch twice, or names one that is not "
            f"{patient}_<region>_<x>_<y>.jpg.",
            "Take the authors' bag file as it is.",
            patient=patient,
            file=path,
        )
    return patient, int(label), whole
