"""New cases: their files in a private folder, and when these are deleted."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from axilla.core.private_folder import PrivateFolder
from axilla.web.new_files import MAX_UPLOAD_BYTES, GivenSlide
from axilla.web.new_running import Job, Queue
from axilla.web.tiles import OpenSlides, TileCache

if TYPE_CHECKING:
    from axilla.web.offered import Offered

IDLE_S = 3600.0
"""A case that nobody looked at for so long is deleted."""
SWEEP_S = 30.0
MOST_CASES = 16
"""At a time; each may hold its files on the disk and its result in memory."""
MOST_SLIDES = 20
"""Of a case."""
_TILES_BYTES = 64 * 2**20


class TooManyCasesError(Exception):
    """All places are taken."""


@dataclass(slots=True, eq=False)
class NewCase:
    """What was given so far, and what came of it."""

    id: str
    """Random; whoever knows it sees the case."""
    folder: Path
    touched: float
    slides: dict[int, GivenSlide] = field(default_factory=dict)
    numbered: int = 0
    """Slides that were ever given: a number is given once."""
    job: Job | None = None
    model: int = 0
    """Place of the model that was asked."""
    in_use: int = 0
    """Requests that work on its files."""
    coming: dict[int, int] = field(default_factory=dict)
    """Bytes of slides that are on their way, by number; 0 for one that was picked."""

    @property
    def bytes(self) -> int:
        """Of the files that were uploaded, and of those that are on their way."""
        given = sum(slide.own_bytes for slide in self.slides.values())
        return given + sum(self.coming.values())

    @property
    def full(self) -> bool:
        """Whether it takes no more slides."""
        return len(self.slides) + len(self.coming) >= MOST_SLIDES

    @property
    def running(self) -> bool:
        """Whether the model works on it, or will."""
        return self.job is not None and not self.job.ended

    def remove_slide_files(self, number: int) -> None:
        """Delete whatever lies in its folder of a slide."""
        for path in self.folder.glob(f"slide-{number}.*"):
            path.unlink()
        (self.folder / f"slide-{number}").unlink(missing_ok=True)  # a link to a folder

    @contextmanager
    def used(self) -> Iterator[None]:
        """Not deleted within the block, however long it takes."""
        self.in_use += 1
        try:
            yield
        finally:
            self.in_use -= 1
            self.touched = time.monotonic()


class NewCases:
    """All new cases of a server, in a folder of the system's temporary one.

    Only the user who runs the server can look into the folder (mode 0700), and nothing under it is
    served. A case is deleted once nobody has asked for it for an hour, when one says so, and all of
    them when the server ends; those of a server that was killed when the next one starts.

    Parameters
    ----------
    models
        That can be asked.
    max_upload
        Bytes of all files of one case.
    pick
        A folder whose slides can be chosen by their place in its list.
    idle_s
        After so many seconds a case that nobody asks for is deleted.
    """

    def __init__(
        self,
        models: Offered,
        *,
        max_upload: int = MAX_UPLOAD_BYTES,
        pick: Path | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        self.models = models
        self.max_upload = max_upload
        self.pick = pick
        self.idle_s = idle_s
        self.queue = Queue()
        self.slides = OpenSlides(4)
        self.tiles = TileCache(_TILES_BYTES)
        self._cases: dict[str, NewCase] = {}
        self._root: PrivateFolder | None = None

    def create(self) -> NewCase:
        """A new case, empty.

        Raises
        ------
        TooManyCasesError
            There are as many as there may be, and none that can go.
        """
        self.sweep()
        if len(self._cases) >= MOST_CASES:
            # Those that were begun and left give way first.
            empty = [c for c in self._cases.values() if not c.slides and c.job is None]
            if not empty or empty[0].in_use:
                raise TooManyCasesError
            self.delete(empty[0].id)
        if self._root is None:
            self._root = PrivateFolder("new")
        name = secrets.token_hex(16)
        folder = self._root.path / name
        folder.mkdir(mode=0o700)
        case = NewCase(name, folder, time.monotonic())
        self._cases[name] = case
        return case

    def find(self, name: str) -> NewCase | None:
        """The case of an id, None where it is not here (any more)."""
        case = self._cases.get(name)
        if case is not None:
            case.touched = time.monotonic()
        return case

    def drop_slide(self, case: NewCase, number: int) -> None:
        """Delete a slide with its outline and whatever was made of it."""
        self.forget(case, case.slides.pop(number))
        case.remove_slide_files(number)

    def delete(self, name: str) -> None:
        """Delete a case: its files now, unless the model works on it, and then at its next step."""
        case = self._cases.pop(name, None)
        if case is None:
            return
        for given in case.slides.values():
            self.forget(case, given)
        if case.job is not None:
            case.job.remove = case.folder
            case.job.stop()
        if not case.running:
            shutil.rmtree(case.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what nobody has asked for in a while."""
        last = time.monotonic() - self.idle_s
        for case in list(self._cases.values()):
            if case.touched < last and not case.in_use and not case.running:
                self.delete(case.id)

    async def keep_sweeping(self) -> None:
        """`sweep`, again and again."""
        while True:
            await asyncio.sleep(min(SWEEP_S, self.idle_s / 2))
            self.sweep()

    def forget(self, case: NewCase, given: GivenSlide) -> None:
        """Let go of whatever the viewer was shown of a slide."""
        self.tiles.drop(f"/tiles/new/{case.id}/{given.number}/")
        for image in given.slide.images:
            self.slides.drop(image)

    def close(self) -> None:
        """Delete everything."""
        for name in list(self._cases):
            self.delete(name)
        self.queue.close()
        self.slides.close()
        if self._root is not None:
            self._root.remove()
            self._root = None

    def __len__(self) -> int:
        return len(self._cases)
