from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from axilla.analysis.subgroup_columns import paper_groups
from axilla.core.table import numeric_where_possible


def levels(groups):
    return {title: list(column.cat.categories) for title, column in groups.items()}


def test_ages_sizes_and_receptors_are_divided_as_in_the_paper():
    frame = pd.DataFrame(
        {
            "age": [50, 50.5, np.nan],
            "tumor_size_cm": [2.0, 2.1, np.nan],
            "er": ["negative", "Positive", None],
            "nodes": [0, 1, 2],
        },
        index=["p", "q", "r"],
    )
    groups = paper_groups(frame)
    assert levels(groups) == {
        "Age, years": ["≤ 50", "> 50"],
        "T stage": ["T1", "T2 or above"],
        "ER": ["Positive", "negative"],
    }
    for column, (first, second) in zip(
        groups.values(), [("≤ 50", "> 50"), ("T1", "T2 or above"), ("negative", "Positive")],
        strict=True,
    ):  # fmt: skip
        assert column.index.tolist() == ["p", "q", "r"]
        assert column.tolist()[:2] == [first, second]
        assert pd.isna(column["r"])


def test_a_size_in_mm_and_levels_in_a_given_order():
    frame = pd.DataFrame({"tumor_size_mm": [20, 51], "grade": [3.0, 1.0], "her2": ["0", "3+"]})
    groups = paper_groups(frame, categorical={"grade": ["1", "2", "3"], "her2": ["3+", "0"]})
    assert groups["T stage"].tolist() == ["T1", "T2 or above"]
    assert levels(groups)["grade"] == ["1", "2", "3"]
    assert groups["grade"].tolist() == ["3", "1"]
    assert levels(groups)["HER2"] == ["3+", "0"]


def test_spellings_that_differ_in_case_are_one_level():
    column = paper_groups(pd.DataFrame({"pr": ["Positive", "positive", "NEGATIVE"]}))["PR"]
    assert column.tolist() == ["Positive", "Positive", "NEGATIVE"]


def test_what_is_no_number_makes_no_group():
    assert paper_groups(pd.DataFrame({"age": ["old", "young"]})) == {}


@pytest.mark.real_data
def test_the_papers_numbers_of_patients(data_dir):
    # Supplementary Table 5: n of each group of the independent test cohort.
    frame = pd.read_csv(data_dir / "bcnb" / "clinical.csv", dtype=str, keep_default_na=False)
    frame = numeric_where_possible(frame[frame["split"] == "test"])
    counts = {
        title: [int((column == name).sum()) for name in column.cat.categories]
        for title, column in paper_groups(frame).items()
    }
    assert counts == {
        "Age, years": [67, 151],
        "T stage": [121, 97],
        "ER": [166, 52],
        "PR": [157, 61],
        "HER2": [60, 158],
    }
