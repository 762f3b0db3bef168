"""What all tests share: the folder of real data, and who goes without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def _data_dir() -> Path | None:
    """AXILLA_DATA, else the folder beside the project; None where there is neither."""
    named = os.environ.get("AXILLA_DATA")
    folder = Path(named) if named else _BESIDE
    return folder if (folder / "README.md").is_file() else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; only tests marked real_data ask for it."""
    folder = _data_dir()
    assert folder is not None
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, with a count and the reason, what needs real data that is not there."""
    if _data_dir() is not None:
        return
    needing = [item for item in items if item.get_closest_marker("real_data")]
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]
        config.stash[_LEFT_OUT] = len(needing)


_LEFT_OUT = pytest.StashKey[int]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say in one line how many tests were left out and why."""
    count = config.stash.get(_LEFT_OUT, 0)
    if count:
        terminalreporter.write_line(
            f"{count} tests on real data were deselected: AXILLA_DATA is not set and no data lie "
            "beside the project."
        )
