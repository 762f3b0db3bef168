"""Who a recalibration is fitted on: named by a column or drawn, and never everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, ConfigError
from axilla.core.types import Cohort, Patient
from axilla.deploy.samples import (
    ColumnSample,
    Recalibrate,
    ShareSample,
    choose_sample,
    parse_recalibrate,
)

if TYPE_CHECKING:
    from pathlib import Path


def cohort_of(count: int = 200) -> Cohort:
    """Patients of whom each third is positive, and each fourth of site 2."""
    ids = [f"P{n:03d}" for n in range(count)]
    patients = tuple(Patient(p, int(n % 3 == 0), (), {}) for n, p in enumerate(ids))
    sites = [2.0 if n % 4 == 0 else 1.0 for n in range(count)]
    frame = pd.DataFrame({"site": sites, "ward": ["North", None] * (count // 2)}, index=ids)
    strata = {p.patient_id: ("N0", "N(+)")[p.label] for p in patients}
    return Cohort(("N0", "N(+)"), patients, (), count, frame, strata)


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return StudyConfig.model_validate(
        {"cohort": tmp_path / "t.csv", "endpoint": "n0-vs-npos", "methods": ["clinical"]}
    )


def test_a_share_is_drawn_within_each_class_and_the_same_again(config: StudyConfig) -> None:
    cohort = cohort_of()
    found = choose_sample(cohort, ShareSample(0.25, seed=3), config=config)
    labels = cohort.labels()
    assert len(found) == 50
    assert sum(labels[p] for p in found) == 17  # a quarter of 67
    assert choose_sample(cohort, ShareSample(0.25, seed=3), config=config) == found
    assert choose_sample(cohort, ShareSample(0.25, seed=4), config=config) != found


def test_a_value_is_found_as_a_number_and_in_any_case(config: StudyConfig) -> None:
    cohort = cohort_of()
    site = choose_sample(cohort, ColumnSample("site", "2"), config=config)
    assert site == {f"P{n:03d}" for n in range(0, 200, 4)}
    ward = choose_sample(cohort, ColumnSample("ward", "north"), config=config)
    assert ward == {f"P{n:03d}" for n in range(0, 200, 2)}


def test_a_sample_of_nobody_or_everybody_is_refused(config: StudyConfig) -> None:
    cohort = cohort_of()
    with pytest.raises(ConfigError, match=r"no patient has '7' in `site`\. It holds 1\.0, 2\.0"):
        choose_sample(cohort, ColumnSample("site", "7"), config=config)
    with pytest.raises(AxillaError, match=r"no column `sites`.*nearest is `site`"):
        choose_sample(cohort, ColumnSample("sites", "2"), config=config)
    everybody = Cohort(
        cohort.classes, tuple(p for p in cohort.patients if int(p.patient_id[1:]) % 4 == 0), (),
        200, cohort.frame, cohort.strata,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="is everybody: no patient is left to be measured"):
        choose_sample(everybody, ColumnSample("site", "2"), config=config)


def test_the_command_line_asks_for_one_method_and_one_sample() -> None:
    asked = parse_recalibrate("platt", on="Site Name=B", share=None, seed=1)
    assert asked == Recalibrate("platt", ColumnSample("site_name", "B"))
    drawn = parse_recalibrate("intercept", on=None, share=0.2, seed=7)
    assert drawn == Recalibrate("intercept", ShareSample(0.2, 7))
    assert parse_recalibrate(None, on=None, share=None, seed=1) is None


@pytest.mark.parametrize(
    ("method", "on", "share", "said"),
    [
        ("platt", None, None, "not said on whom"),
        ("platt", "site=B", 0.2, "two samples"),
        (None, "site=B", None, "not how to recalibrate"),
        ("beta", "site=B", None, "no recalibration by beta"),
        ("platt", "site", None, "names no patients"),
        ("platt", None, 1.0, "leaves nobody on one side"),
    ],
)
def test_what_does_not_go_together_is_told(
    method: str | None, on: str | None, share: float | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_recalibrate(method, on=on, share=share, seed=1)
