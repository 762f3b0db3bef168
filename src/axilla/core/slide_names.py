"""Names of slides' files that no row of the table asks for, or that nearly are the one it does."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def file_name(path: Path, *, folder: Path) -> str:
    """What a slide is called in the folder of slides: of a DICOM series it is its own folder."""
    return path.relative_to(folder).parts[0]


def without_parts(names: Iterable[str], used: Iterable[str]) -> list[str]:
    """Names of files without those that only are parts of a slide.

    A DICOM slide that lies open in the folder has a file a level, and a .vms has its pixels in
    files .jpg.
    """
    here = list(names)
    parts = {".jpg"} if any(_ending(name) == ".vms" for name in here) else set()
    if any(_ending(name) == ".dcm" for name in used):
        parts.add(".dcm")
    return [name for name in here if _ending(name) not in parts]


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


class NearNames:
    """Files by their stem, to find those whose name nearly is an id."""

    def __init__(self, files: Iterable[tuple[str, str]]) -> None:
        """From pairs of stem and name."""
        self._names: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[str, list[str]] = defaultdict(list)
        for stem, name in files:
            self._names[stem.casefold()].append(name)
            self._by_number[_unpadded(stem)].append(name)
        self._stems = sorted(self._names)

    def of(self, slide_id: str) -> list[str]:
        """Names that go on after the id, or differ from it by zeros before a number or by case.

        `Q001_A.png` and `q1.png` for Q001; `10.png` is not for 1.
        """
        start = slide_id.casefold()
        found = list(self._by_number.get(_unpadded(slide_id), []))
        place = bisect_left(self._stems, start)
        while place < len(self._stems) and self._stems[place].startswith(start):
            stem = self._stems[place]
            longer_number = start[-1:].isdecimal() and stem[len(start) :][:1].isdecimal()
            found += [] if longer_number else self._names[stem]
            place += 1
        return sorted(set(found))


def _unpadded(text: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", text.casefold())
