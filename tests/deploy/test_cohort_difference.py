"""The training cohort beside another: figures, differences, and what is withheld."""

from __future__ import annotations

from typing import Any

import pandas as pd

from axilla.core.config import Clinical
from axilla.core.types import Cohort, Patient
from axilla.deploy.cohort_difference import difference_table, summary_here

TRAINING: dict[str, Any] = {
    "patients": 100,
    "classes": {"N0": 60, "N(+)": 40},
    "slides": 110,
    "slide_mpp": {"median": 0.25, "low": 0.248, "high": 0.252, "known": 110, "unknown": 0},
    "patches": {"median": 80.4, "low": 12.0, "high": 1234.0},
    "numbers": {
        "age": {"mean": 50.0, "sd": 10.0, "missing": 0, "low": None, "high": None},
        "bmi": {"mean": 25.0, "sd": 4.0, "missing": None, "low": None, "high": None},
        "ki67": {"mean": None, "sd": None, "missing": 95, "low": None, "high": None},
    },
    "categories": {
        "er": {"shares": {"negative": 0.2, "positive": 0.8}, "missing": 0},
        "grade": {"shares": {"1": None, "2": None, "3": 0.5}, "missing": 0},
    },
}


def cohort_here() -> Cohort:
    """40 patients, half of them positive; `grade` stands in the table only."""
    ids = [f"Q{n:02d}" for n in range(40)]
    patients = tuple(
        Patient(p, int(n < 20), (), {"age": 40.0 if n % 2 else 60.0,
                                     "er": "positive" if n < 20 else "negative"})
        for n, p in enumerate(ids)
    )  # fmt: skip
    frame = pd.DataFrame({"Ki67": [1.0] * 40, "grade": ["3"] * 35 + ["4"] * 5}, index=ids)
    return Cohort(("N0", "N(+)"), patients, (), 40, frame)


def rows() -> dict[str, tuple[str, ...]]:
    cohort = cohort_here()
    here = summary_here(cohort, cohort.patients, TRAINING, clinical=Clinical())
    here |= {"slide_mpp": {"median": 0.5, "low": None, "high": None, "known": 40, "unknown": 0}}
    table = difference_table(TRAINING, here, clinical=Clinical())
    # Levels of the same name, as N(+), are told apart by the order; here none occurs twice.
    return {row[0]: row[1:] for row in table.rows if row[0] != "  Missing"}


def test_figures_stand_beside_one_another_with_their_difference() -> None:
    found = rows()
    assert found["Patients"] == ("100", "40", "")
    assert found["  N(+)"] == ("40 (40.0%)", "20 (50.0%)", "+0.20")
    # 40 values of 40 and 60: mean 50, and the same mean in training.
    assert found["Age, years"] == ("50.00 ± 10.000", "50.00 ± 10.127", "0.00")
    assert found["  positive"] == ("80.0%", "50.0%", "−0.66")
    assert found["µm per pixel of the slides"][:2] == ("0.250 (0.248 to 0.252)", "0.500")


def test_what_a_side_does_not_tell_is_said_and_no_difference_made_of_it() -> None:
    found = rows()
    assert found["bmi"] == ("25.00 ± 4.000", "not in the table", "–")
    assert found["ki67"][0] == "withheld"
    assert found["  1"] == ("withheld", "0.0%", "–")
    assert found["  3"] == ("50.0%", "withheld", "–"), "hidden with the level of 5 patients"


def test_small_groups_here_are_withheld_as_in_a_bundle() -> None:
    cohort = cohort_here()
    here = summary_here(cohort, cohort.patients, TRAINING, clinical=Clinical())
    # 5 of grade 4 are too few, and 35 of grade 3 would give them away.
    assert here["categories"]["grade"]["shares"] == {"3": None, "4": None}
    assert "bmi" not in here["numbers"]
