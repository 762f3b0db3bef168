"""GeoJSON written feature by feature, so that a slide's nuclei are never held at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from axilla.core.store.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def writing_features(path: Path) -> Iterator[Callable[[str], None]]:
    """Write a FeatureCollection, a feature a line; what is given takes one feature's text.

    The file is there, whole, once the block has ended without an error.

    Raises
    ------
    WriteError
        The disk refuses.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        written = 0

        def add(feature: str) -> None:
            nonlocal written
            file.write(",\n" if written else "\n")
            file.write(feature)
            written += 1

        yield add
        file.write("\n]}\n")
