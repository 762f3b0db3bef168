"""What a check leaves behind: `check.json` for programs, and a memory that makes the next quick."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from axilla import __version__
from axilla.core import store
from axilla.core.cohort_union import Everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import Problem, StoreError
from axilla.core.slide_files import entries
from axilla.core.types import Cohort, MicronsPerPixel, Slide
from axilla.study.layout import Layout, write_if_new

_EDGE = 64 * 1024
"""Bytes of head and tail that are compared before a whole file is read."""

_SCHEMA = [store.SCHEMA_VERSION, 2]
"""Of the memory: the second number counts up whenever it comes to hold something else."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of a slide in order found."""

    mpp: MicronsPerPixel | None
    """µm per level-0 pixel, None where nobody says it."""
    notes: tuple[Problem, ...]
    empty: bool = False
    """No region was found to be cut."""
    classes: tuple[str, ...] = ()
    """Of its outlines, each once."""


class CheckMemory:
    """Slides that were in order, with what was noted of them, and digests of files.

    Each has what tells that it changed.

    Parameters
    ----------
    out
        The study's output folder.
    key_of
        What the check of a slide depends on: its files, its annotation, the settings.
    """

    def __init__(self, out: Path, *, key_of: Callable[[Slide], str]) -> None:
        self._path = Layout(out).check_memory
        self._key_of = key_of
        self._slides: dict[str, dict[str, Any]] = {}
        self._digests: dict[str, list[str]] = {}
        self._was_slides, self._was_digests = self._read()

    def recall(self, slide: Slide) -> Checked | None:
        """What was found of a slide that was in order before and did not change; else None.

        Safe to ask from threads.
        """
        was = self._was_slides.get(slide.slide_id)
        try:
            if was is None or was["key"] != self._key_of(slide):
                return None
        except OSError:
            return None  # gone or unreadable: the check says what is wrong
        return Checked(
            mpp=None if was["mpp"] is None else MicronsPerPixel(was["mpp"]),
            empty=was["empty"],
            classes=tuple(was["classes"]),
            notes=tuple(
                Problem(**note | {"file": None if note["file"] is None else Path(note["file"])})
                for note in was["notes"]
            ),
        )

    def remember(self, slide: Slide, checked: Checked) -> None:
        """The slide is in order."""
        self._slides[slide.slide_id] = {
            "key": self._key_of(slide),
            "mpp": checked.mpp,
            "empty": checked.empty,
            "classes": list(checked.classes),
            "notes": [_plain(note) for note in checked.notes],
        }

    def digest(self, path: Path) -> str:
        """BLAKE2b of a file's whole content, read again only where the file changed."""
        identity = store.file_identity(path)
        was = self._was_digests.get(str(path))
        if was is not None and was[0] == identity:
            value = was[1]
        else:
            with path.open("rb") as file:
                value = hashlib.file_digest(file, "blake2b").hexdigest()
        self._digests[str(path)] = [identity, value]
        return value

    def save(self) -> None:
        """Keep what this check found; what is no longer part of the study is forgotten.

        Digests stay as they were where it looked for no copies.
        """
        digests = self._digests or self._was_digests
        value = {"schema": _SCHEMA, "slides": self._slides, "files": digests}
        write_if_new(self._path, json.dumps(value, sort_keys=True, indent=0) + "\n")

    def _read(self) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
        """Nothing where the file is missing, cut or another version's: then all is checked anew."""
        try:
            value = store.read_json(self._path)
        except StoreError:
            return {}, {}
        if not isinstance(value, dict) or value.get("schema") != _SCHEMA:
            return {}, {}
        return dict(value["slides"]), dict(value["files"])


def same_files(images: Sequence[Path], *, memory: CheckMemory) -> list[list[Path]]:
    """Groups of different files with the same content, in the order given.

    Compared by size, then by head and tail, then by the whole content: hardly a file of a cohort
    is read whole, and files that are told equal are equal. A file that cannot be read is left to
    the check of its slide.
    """

    def whole(image: Path) -> str:
        return " ".join(memory.digest(part) for part in _parts(image))

    groups = [list(dict.fromkeys(images))]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for key_of in (_size, _edges, whole):
            groups = [part for group in groups for part in _divided(group, key_of, pool)]
    return groups


def write_check(
    config: StudyConfig,
    *,
    everybody: Everybody | None,
    problems: Sequence[Problem],
    notes: Sequence[Problem] = (),
) -> None:
    """Write `check.json`: everything that `axilla check` says, for programs."""
    cohort = None if everybody is None else everybody.cohort
    value: dict[str, Any] = {
        "schema": store.SCHEMA_VERSION,
        "axilla": __version__,
        "study": config.name,
        "patients": _counts(cohort),
        "slides": 0 if cohort is None else sum(len(p.slides) for p in cohort.patients),
        "problems": [_plain(problem) for problem in problems],
        "notes": [_plain(note) for note in notes],
    }
    if everybody is not None and len(everybody.parts) > 1:
        value["endpoints"] = dict(zip(everybody.names, map(_counts, everybody.parts), strict=True))
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_if_new(Layout(config.out).check, text)


def _counts(cohort: Cohort | None) -> dict[str, int]:
    return {
        "enrolled": 0 if cohort is None else cohort.enrolled,
        "usable": 0 if cohort is None else len(cohort.patients),
        "excluded": 0 if cohort is None else len(cohort.excluded),
    }


def _plain(problem: Problem) -> dict[str, Any]:
    return {
        "code": problem.code,
        "patient": problem.patient,
        "slide": problem.slide,
        "file": None if problem.file is None else str(problem.file),
        "cause": problem.cause,
        "remedy": problem.remedy,
        "fatal": problem.fatal,
    }


def _divided(
    group: Iterable[Path], key_of: Callable[[Path], K | None], pool: ThreadPoolExecutor
) -> list[list[Path]]:
    """The parts of a group that have a key in common with another member."""

    def key(image: Path) -> K | None:
        try:
            return key_of(image)
        except OSError:
            return None

    members = list(group)
    parts: dict[K, list[Path]] = {}
    for image, found in zip(members, pool.map(key, members), strict=True):
        if found is not None:
            parts.setdefault(found, []).append(image)
    return [part for part in parts.values() if len(part) > 1]


def _parts(image: Path) -> list[Path]:
    """The files of a slide: a .mrxs holds a thumbnail, its pixels lie in the folder beside it."""
    folder = image.with_suffix("")
    beside = entries(folder) if image.suffix.lower() == ".mrxs" and folder.is_dir() else []
    return [image, *(path for path in beside if path.is_file())]


def _size(image: Path) -> tuple[int, ...] | None:
    """Sizes of the files of a slide; None where they are empty, which makes no two the same."""
    sizes = tuple(part.stat().st_size for part in _parts(image))
    return sizes if any(sizes) else None


def _edges(image: Path) -> str:
    found = hashlib.blake2b(digest_size=32)
    for part in _parts(image):
        with part.open("rb") as file:
            found.update(file.read(_EDGE))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _EDGE, 0))
            found.update(file.read(_EDGE))
    return found.hexdigest()
