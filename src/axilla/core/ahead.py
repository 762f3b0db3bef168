"""Make the next values while the present one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class _End:
    """What comes after the last value."""


_END = _End()


def ahead(values: Iterable[T]) -> Generator[T]:
    """The same values in the same order, each made in a thread while the one before is used.

    For what leaves Python while it works, as decoding and computing do. One value waits at most,
    so that memory holds two. An error comes where its value would have come; where the user stops
    early, the making stops as well and `values` is closed.
    """
    source = iter(values)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as maker:
        coming: Future[T | _End] = maker.submit(next, source, _END)
        try:
            while not isinstance(value := coming.result(), _End):
                coming = maker.submit(next, source, _END)
                yield value
        finally:
            coming.cancel()
            # In the maker's own thread, once it is idle: a generator that runs cannot be closed.
            close = getattr(source, "close", None)
            if close is not None:
                maker.submit(close).result()
