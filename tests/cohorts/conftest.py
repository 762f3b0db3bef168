from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from axilla.cohorts.synthetic import SyntheticCohort, generate_cohort

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCohort:
    """Eight patients of 1100x800 pixels, of whom three are N(+)."""
    folder: Path = tmp_path_factory.mktemp("synthetic")
    return generate_cohort(folder, patients=8, seed=11)
