"""Tiles of slides, from memory where they were made before; so many at once, and no more."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from axilla.core.private_folder import PrivateFolder
from axilla.core.types import Slide
from axilla.wsi.slides import SlideReader, open_slide, slide_size, zooms
from axilla.wsi.strips import write_pyramid
from axilla.wsi.tiles import refuse_gone, tile_jpeg

T = TypeVar("T")

CACHE_BYTES = 256 * 2**20
"""Of JPEG files of tiles, the last used."""
OPEN_SLIDES = 8
"""Slides held open; a flat image of those may hold 200 MB of pixels."""
WAITING = 128
"""Requests that may wait for a tile to be made; more are told to come again."""


_Seen = tuple[int, int]
"""When a file was changed, and its size."""


class BusyError(Exception):
    """More tiles are asked for than can be made; ask again in a moment."""


@dataclass(frozen=True, slots=True)
class ImageKey:
    """One image of one slide, as an address names it: places in lists, never a path."""

    endpoint: int
    patient: int
    slide: int
    image: int


class TileCache:
    """JPEG files by address, those used last; about as many bytes as allowed."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most = most_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, address: str) -> bytes | None:
        """The file, None where it is not held."""
        found = self._held.get(address)
        if found is not None:
            self._held.move_to_end(address)
        return found

    def put(self, address: str, content: bytes) -> None:
        """Hold a file, and let go of those that were not used for longest."""
        self._bytes += len(content) - len(self._held.pop(address, b""))
        self._held[address] = content
        while self._bytes > self._most and self._held:
            _, gone = self._held.popitem(last=False)
            self._bytes -= len(gone)

    def drop(self, prefix: str) -> None:
        """Let go of all files whose address begins so."""
        for address in [a for a in self._held if a.startswith(prefix)]:
            self._bytes -= len(self._held.pop(address))

    def __len__(self) -> int:
        return len(self._held)


class OpenSlides:
    """Readers of images by path, the last used; each opened once, also by many at a time.

    An image that cannot be zoomed as it is gets a pyramid in a temporary folder, which goes when
    the server ends.
    """

    def __init__(self, most: int = OPEN_SLIDES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._opening: dict[Path, threading.Lock] = {}
        self._held: OrderedDict[Path, tuple[_Seen, SlideReader]] = OrderedDict()
        self._pyramids: PrivateFolder | None = None
        self._made: dict[Path, list[Path]] = {}

    def reader(self, slide: Slide, path: Path) -> SlideReader:
        """The open image; opened again where its file changed.

        Raises
        ------
        SlideError
            It is gone, or does not open.
        """
        refuse_gone(path, slide_id=slide.slide_id, patient_id=slide.patient_id)
        state = path.stat()
        seen = (state.st_mtime_ns, state.st_size)
        with self._lock:
            own = self._opening.setdefault(path, threading.Lock())
        with own:
            with self._lock:
                held = self._held.get(path)
                if held is not None and held[0] == seen:
                    self._held.move_to_end(path)
                    return held[1]
            reader = self._open(slide, path, seen)
            with self._lock:
                # Another thread may read a slide that is let go of here: it closes once nobody
                # holds it any more.
                self._held[path] = (seen, reader)
                while len(self._held) > self._most:
                    self._held.popitem(last=False)
            return reader

    def _open(self, slide: Slide, path: Path, seen: _Seen) -> SlideReader:
        mine, whose = slide.slide_id, slide.patient_id
        width, height = slide_size(path, slide_id=mine, patient_id=whose)
        too_large = width * height > slide.max_px  # refused before anything is decoded
        if too_large or zooms(path, slide_id=mine, patient_id=whose):
            return open_slide(path, slide_id=mine, patient_id=whose, max_px=slide.max_px)
        with self._lock:
            if self._pyramids is None:
                self._pyramids = PrivateFolder("pyramids")
            folder = self._pyramids.path
        name = hashlib.sha256(f"{path} {seen}".encode()).hexdigest()[:32]
        pyramid, part = folder / f"{name}.tif", folder / f"{name}.part.tif"
        if not pyramid.is_file():
            write_pyramid(path, part, slide_id=mine, patient_id=whose)
            part.rename(pyramid)
            with self._lock:
                self._made.setdefault(path, []).append(pyramid)
        return open_slide(pyramid, slide_id=mine, patient_id=whose)

    def drop(self, path: Path) -> None:
        """Let go of an image, and delete the pyramids that were made of it."""
        with self._lock:
            self._held.pop(path, None)
            self._opening.pop(path, None)
            made = self._made.pop(path, ())
        for pyramid in made:
            pyramid.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of all slides, and delete the pyramids."""
        with self._lock:
            self._held.clear()
            if self._pyramids is not None:
                self._pyramids.remove()
                self._pyramids = None

    def __len__(self) -> int:
        return len(self._held)


class Workshop:
    """Threads that make tiles, and a queue before them that has an end."""

    def __init__(self, *, workers: int | None = None, waiting: int = WAITING) -> None:
        count = workers or min(os.cpu_count() or 1, 4)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="axilla-tile")
        self._most = waiting
        self._pending: dict[str, asyncio.Future[Any]] = {}

    async def make(self, address: str, work: Callable[[], T]) -> T:
        """Do the work of an address; whoever asks for the same meanwhile waits for the same.

        Raises
        ------
        BusyError
            Too many wait already.
        """
        pending = self._pending.get(address)
        if pending is None:
            if len(self._pending) >= self._most:
                raise BusyError
            loop = asyncio.get_running_loop()
            pending = asyncio.ensure_future(loop.run_in_executor(self._pool, work))
            self._pending[address] = pending
            pending.add_done_callback(lambda done: self._forget(address, done))
        # Somebody who leaves must not take the work from the others.
        return cast("T", await asyncio.shield(pending))

    def _forget(self, address: str, done: asyncio.Future[Any]) -> None:
        self._pending.pop(address, None)
        if not done.cancelled():
            done.exception()  # seen, also where everybody has left

    def close(self) -> None:
        """Finish what is being made, and nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def make_tile(slides: OpenSlides, slide: Slide, image: int, place: tuple[int, int, int]) -> bytes:
    """One tile (level, column, row) of an image as JPEG.

    Raises
    ------
    SlideError
        The slide is gone or cannot be read.
    LookupError
        There is no such tile.
    """
    return tile_jpeg(slides.reader(slide, slide.images[image]), *place)
