"""The next items are made while one is used."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
_POLL_S = 0.1
"""How often a full queue looks whether anybody still wants its items."""


class _End:
    """What comes after the last item: nothing, or the error that made it the last."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def read_ahead(items: Iterator[T], *, depth: int = 2) -> Iterator[T]:
    """Yield the same items in the same order, made by a thread up to `depth` ahead.

    Reading waits for the disk, or copies; both let the other cores compute meanwhile. An error of
    `items` is raised where its item would have come.
    """
    line: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: T | _End) -> None:
        while not stopped.is_set():
            try:
                line.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def work() -> None:
        end = _End()
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where it belongs
            end = _End(error)
        put(end)

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := line.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
