"""Finding the files of a slide: by its id, or where the table says, each file once."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from axilla.core.errors import CohortError, Problem
from axilla.core.naming import first_few
from axilla.core.patch_names import parse_patch_name
from axilla.core.slide_names import NearNames, file_name, without_parts
from axilla.core.types import MicronsPerPixel, Slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from axilla.core.config import StudyConfig

IMAGE_SUFFIXES = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".svslide", ".tif", ".tiff", ".dcm",
    ".jpg", ".jpeg", ".png", ".bmp",
)  # fmt: skip
ANNOTATION_SUFFIXES = (".json", ".geojson", ".xml")
_SAFE_NAME = re.compile(r"[^/\\\x00]{1,200}")


def is_file_name(text: str) -> bool:
    """Whether an id can name a file of ours."""
    return _SAFE_NAME.fullmatch(text) is not None and text not in {".", ".."}


def entries(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden files: macOS puts a `._name` beside each."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def name_key(name: str) -> str:
    """A name as it is looked up: macOS writes an umlaut as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def first_of_series(folder: Path) -> Path | None:
    """The first .dcm of a folder that is a DICOM slide, a file a level; None where it is none.

    OpenSlide takes any file of the series and finds its companions beside it.
    """
    try:
        inside = entries(folder) if folder.is_dir() else []
    except PermissionError:
        return None  # such as the system's own folders on an external disk
    return next((path for path in inside if path.suffix.lower() == ".dcm"), None)


def files_of(image: Path) -> tuple[Path, ...]:
    """All files that a slide's pixels are in: MIRAX has a folder, DICOM a file for each level."""
    beside = image.with_suffix("") if image.suffix.lower() == ".mrxs" else None
    if image.suffix.lower() == ".dcm":
        return tuple(path for path in entries(image.parent) if path.suffix.lower() == ".dcm")
    if beside is not None and beside.is_dir():
        return (image, *(path for path in entries(beside) if path.is_file()))
    return (image,)


def annotations_in(folder: Path | None) -> dict[str, list[Path]]:
    """Annotations of a folder by the `name_key` of what stands before their ending.

    Some viewers write `.XML`.
    """
    found: dict[str, list[Path]] = {}
    for path in entries(folder) if folder is not None else []:
        if path.suffix.lower() in ANNOTATION_SUFFIXES and path.is_file():
            found.setdefault(name_key(path.stem), []).append(path)
    return found


def belongs(
    slide_id: str, patient_id: str, *, owner: dict[str, str], problem: Callable[..., None]
) -> bool:
    """Whether the slide has a usable id and is this patient's alone; `owner` remembers whose."""
    if not is_file_name(slide_id):
        problem(f"the slide id {slide_id!r} cannot be a file's name.", "Take out slashes.")
        return False
    first = owner.setdefault(slide_id, patient_id)
    if first != patient_id:
        problem(
            f"the slide {slide_id} belongs to patient {first} as well.",
            "Give each slide to one patient.",
        )
        return False
    return True


class SlideFinder:
    """The folders of slides and annotations, listed once."""

    def __init__(self, config: StudyConfig) -> None:
        if config.slides is None or not config.slides.is_dir():
            raise CohortError(
                "there is no such folder.",
                "Set `slides:` to the folder of slides.",
                file=config.slides,
            )
        if config.annotation_folder is not None and not config.annotation_folder.is_dir():
            raise CohortError(
                "there is no such folder.",
                "Set `annotations:` to the folder of annotations, or leave it out.",
                file=config.annotation_folder,
            )
        self.folder = config.slides
        self.whole = config.regions == "whole"
        self.ready = config.regions == "patches"
        self.needs_annotation = config.regions == "annotation"
        self.annotation_folder = config.annotation_folder
        self.annotations = annotations_in(config.annotation_folder)
        self.owner: dict[str, str] = {}
        self.slide_of_file: dict[Path, tuple[str, str]] = {}
        self.by_stem: dict[str, list[Path]] = {}
        self.cut_regions: dict[str, list[tuple[int, Path]]] = {}
        self.patches: dict[str, list[Path]] = {}
        self.max_px = config.max_slide_px
        self.study_mpp = None if config.slide_mpp is None else MicronsPerPixel(config.slide_mpp)
        self.folders: dict[str, Path] = {}
        self._near: NearNames | None = None
        for path in entries(config.slides):
            series = first_of_series(path)
            if path.is_dir():
                self.folders[name_key(path.name)] = path
            if series is not None:
                self.by_stem.setdefault(name_key(path.name), []).append(series)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                stem = name_key(path.stem)
                name = parse_patch_name(stem) if self.ready else None
                if name is not None:
                    self.patches.setdefault(name.slide_id, []).append(path)
                self.by_stem.setdefault(stem, []).append(path)
                match = re.fullmatch(r"(.+)_(\d+)", stem)
                if match:
                    regions = self.cut_regions.setdefault(match[1], [])
                    regions.append((int(match[2]), path))

    def slide(
        self, patient_id: str, slide_id: str, named: str, problem: Callable[..., None]
    ) -> Slide | None:
        """The slide's files, or None with a problem said."""
        if not belongs(slide_id, patient_id, owner=self.owner, problem=problem):
            return None
        if self.ready:
            images = self._patches(slide_id, problem)
        else:
            images = self._named(named, problem) if named else self._images(slide_id, problem)
        if not images or not self._claim(images, patient_id, slide_id, problem):
            return None
        annotation = self._annotation(slide_id, problem)
        if annotation is None and self.needs_annotation:
            problem(
                f"the slide {slide_id} has no annotation, and `regions: annotation` needs one.",
                f"Add {slide_id}.json, .geojson or .xml to the folder of annotations, or set "
                "regions: auto.",
                file=images[0],
            )
            return None
        return Slide(
            slide_id=slide_id,
            patient_id=patient_id,
            images=images,
            annotation=annotation,
            study_mpp=self.study_mpp,
            max_px=self.max_px,
        )

    def _named(self, named: str, problem: Callable[..., None]) -> tuple[Path, ...]:
        # Links inside the folder may lead anywhere, they are the owner's; what the table says may
        # not.
        folder = Path(os.path.normpath(self.folder))
        path = Path(os.path.normpath(folder / named))
        if not path.is_relative_to(folder):
            problem(
                f"`slide` is {named!r}, which lies outside the folder of slides.",
                "Give a path inside it.",
            )
            return ()
        path = first_of_series(path) or path
        if not path.is_file():
            problem("there is no such slide.", "Correct the column `slide`.", file=path)
            return ()
        return (path,)

    def _claim(
        self,
        images: tuple[Path, ...],
        patient_id: str,
        slide_id: str,
        problem: Callable[..., None],
    ) -> bool:
        """Whether no other slide has these files: the same tissue must not count twice."""
        for image in images:
            patient, slide = self.slide_of_file.setdefault(image, (patient_id, slide_id))
            if (patient, slide) != (patient_id, slide_id):
                problem(
                    f"the file of slide {slide_id} is that of slide {slide} of patient {patient} "
                    "as well.",
                    "Give each file to one slide.",
                    file=image,
                )
                return False
        return True

    def _images(self, slide_id: str, problem: Callable[..., None]) -> tuple[Path, ...]:
        key = name_key(slide_id)
        found = self.by_stem.get(key, [])
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(self.folder)) for path in found)
            problem(
                f"several files are named {slide_id}: {names}.",
                "Keep one, or name it in a column `slide`.",
                file=self.folder,
            )
            return ()
        if self.whole and key in self.cut_regions:
            # A BCNB folder holds both the overview <patient>.jpg and its regions <patient>_<k>.jpg:
            # where regions come cut, they are what the study is about.
            numbers = [number for number, _ in self.cut_regions[key]]
            if len(set(numbers)) < len(numbers):
                problem(
                    f"two region images of {slide_id} have the same number.",
                    "Keep one of each number.",
                    file=self.folder,
                )
                return ()
            return tuple(path for _, path in sorted(self.cut_regions[key]))
        if not found:
            problem(
                f"there is no slide {slide_id}.<{', '.join(s[1:] for s in IMAGE_SUFFIXES)}>."
                + self._near_names(key),
                "Add the file, correct slide_id, give its path in a column `slide`, or run with "
                "--exclude-failed.",
                file=self.folder,
            )
        return tuple(found)

    def _near_names(self, key: str) -> str:
        """A sentence on files whose name nearly is a slide's, with a blank before it."""
        if self._near is None:
            self._near = NearNames(
                (stem, file_name(path, folder=self.folder))
                for stem, paths in self.by_stem.items()
                for path in paths
            )
        near = self._near.of(key)
        return f" Files there are named {first_few(near)}." if near else ""

    def of_no_row(self, rows: Iterable[tuple[str, str]]) -> tuple[Problem, ...]:
        """A note on slides of the folder that no row of the table is about.

        Parameters
        ----------
        rows
            Of every row the slide's id, and what its column `slide` says.
        """
        if self.ready:
            return ()
        folder = Path(os.path.normpath(self.folder))
        known: set[str] = set()
        for slide_id, named in rows:
            key = name_key(slide_id)
            found = list(self.by_stem.get(key, []))
            if self.whole:
                found += [path for _, path in self.cut_regions.get(key, [])]
            path = Path(os.path.normpath(folder / named))
            if named and path != folder and path.is_relative_to(folder):
                known.add(file_name(path, folder=folder))
            known.update(file_name(path, folder=self.folder) for path in found)
        here = [file_name(p, folder=self.folder) for own in self.by_stem.values() for p in own]
        names = sorted(set(without_parts(here, known)) - known)
        if not names:
            return ()
        one = len(names) == 1
        cause = f"{len(names):,} slide{'' if one else 's'} in the folder belong{'s' if one else ''}"
        return (
            Problem(
                cause=f"{cause} to no row of the table: {first_few(names)}.",
                remedy="Add the missing rows; if these slides are no part of the study, leave it.",
                file=self.folder,
                fatal=False,
                code="slide",
            ),
        )

    def _patches(self, slide_id: str, problem: Callable[..., None]) -> tuple[Path, ...]:
        """Ready patches of a slide: in a folder of its own, as BCNB keeps them, or among others."""
        folder = self.folders.get(name_key(slide_id))
        inside = [] if folder is None else entries(folder)
        images = [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES]
        images += self.patches.get(name_key(slide_id), [])
        if not images:
            problem(
                f"there are no patches of slide {slide_id}.",
                f"Add the folder {slide_id} with {slide_id}_<region>_<x>_<y>.jpg, or run with "
                "--exclude-failed.",
                file=self.folder,
            )
        return tuple(images)

    def _annotation(self, slide_id: str, problem: Callable[..., None]) -> Path | None:
        if self.annotation_folder is None:
            return None
        found = self.annotations.get(name_key(slide_id), [])
        if len(found) > 1:
            problem(
                f"the slide {slide_id} has several annotations: "
                f"{', '.join(path.name for path in found)}.",
                "Keep one.",
                file=self.annotation_folder,
            )
        return found[0] if found else None
