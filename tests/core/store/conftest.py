"""What the tests of the store share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def files_in() -> Callable[[Path], list[str]]:
    """The names of all files below a folder, temporary ones as well."""

    def names(folder: Path) -> list[str]:
        return sorted(path.name for path in folder.rglob("*") if path.is_file())

    return names
