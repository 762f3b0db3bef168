import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from axilla.analysis.tables.cohort_table import chi_square_p, cohort_table, rank_p, t_stage
from axilla.analysis.tables.printed import format_p
from axilla.core.errors import StatisticsError


def make_patients():
    return pd.DataFrame(
        {
            "age": [40.0, 50.0, 60.0, 70.0, np.nan, 45.0],
            "er": ["positive", "negative", "positive", None, "positive", "negative"],
        },
        index=["p1", "p2", "p3", "p4", "p5", "p6"],
    ), pd.Series(["b", "b", "b", "a", "a", "a"], index=["p1", "p2", "p3", "p4", "p5", "p6"])


def make_table(**changes):
    frame, groups = make_patients()
    arguments = {"numeric": ["age"], "categorical": ["er"], "titles": {"age": "Age, years"}}
    return cohort_table(frame, groups, **(arguments | changes))


@pytest.mark.real_data
def test_the_papers_table_1_to_every_digit(data_dir):
    frame = pd.read_csv(data_dir / "bcnb" / "clinical.csv", dtype={"patient_id": str})
    stages = t_stage(frame["tumor_size_cm"])
    # Patient 304's tumour of 5.5 cm is T3; the paper, which knows only T1 and T2, counts it as T2.
    assert frame.loc[stages == "T3", "patient_id"].tolist() == ["304"]
    frame["stage"] = stages.replace("T3", "T2")
    frame["lnm"] = np.where(frame["aln_status"] == "N0", "No", "Yes")
    groups = frame["split"].map({"train": "Training", "val": "Training", "test": "Test"})
    yes_no = ("positive", "negative")
    table = cohort_table(
        frame,
        groups,
        numeric=["age", "tumor_size_cm"],
        categorical={
            "stage": ("T1", "T2"),
            "er": yes_no,
            "pr": yes_no,
            "her2": yes_no,
            "lnm": ("Yes", "No"),
        },
        titles={"age": "Age"},
        digits={"age": (2, 3), "tumor_size_cm": (3, 4)},
    )
    # The paper's own percents of the cohorts, 840 (80%) and 218 (20%), are the intended shares.
    assert table[["All patients", "Training", "Test", "p"]].to_numpy().tolist() == [
        ["1058", "840 (79.4%)", "218 (20.6%)", ""],
        ["57.58 ± 12.523", "57.80 ± 12.481", "56.72 ± 12.674", "0.344"],
        ["2.234 ± 0.8623", "2.228 ± 0.8516", "2.256 ± 0.9040", "0.898"],
        ["556", "435 (51.8%)", "121 (55.5%)", "0.327"],
        ["502", "405 (48.2%)", "97 (44.5%)", ""],
        ["831", "665 (79.2%)", "166 (76.1%)", "0.333"],
        ["227", "175 (20.8%)", "52 (23.9%)", ""],
        ["790", "633 (75.4%)", "157 (72.0%)", "0.312"],
        ["268", "207 (24.6%)", "61 (28.0%)", ""],
        ["277", "217 (25.8%)", "60 (27.5%)", "0.613"],
        ["781", "623 (74.2%)", "158 (72.5%)", ""],
        ["403", "319 (38.0%)", "84 (38.5%)", "0.880"],
        ["655", "521 (62.0%)", "134 (61.5%)", ""],
    ]
    assert table.attrs["notes"] == []


def test_chi_square_of_the_papers_molecular_subtypes():
    # Table 1: luminal A, luminal B, triple negative, HER2(+) in training and test, p = 0.556.
    counts = [[223, 304, 99, 214], [65, 68, 26, 59]]
    values = pd.Series(np.concatenate([np.repeat(list("abcd"), row) for row in counts]))
    groups = pd.Series(np.repeat(["Training", "Test"], [840, 218]))
    p, reason = chi_square_p(values, groups)
    assert (round(p, 3), reason) == (0.556, None)


def test_missing_values_are_counted_in_their_own_row():
    table = make_table()
    assert table.columns.tolist() == ["Characteristic", "Level", "All patients", "b", "a", "p"]
    rows = table.drop(columns="p").to_numpy().tolist()
    assert rows == [
        ["Number", "", "6", "3 (50.0%)", "3 (50.0%)"],
        ["Age, years", "mean ± SD", "53.00 ± 12.042", "50.00 ± 10.000", "57.50 ± 17.678"],
        ["", "Missing", "1", "0", "1"],
        ["er", "negative", "2", "1 (33.3%)", "1 (50.0%)"],
        ["", "positive", "3", "2 (66.7%)", "1 (50.0%)"],
        ["", "Missing", "1", "0", "1"],
    ]


def test_group_columns_follow_the_categories():
    frame, groups = make_patients()
    ordered = groups.astype(pd.CategoricalDtype(["a", "b", "empty"]))
    table = cohort_table(frame, ordered, numeric=["age"], categorical=["er"])
    assert table.columns.tolist()[3:5] == ["a", "b"]


def test_mann_whitney_by_hand():
    # U = 0 of 3 x 3 without ties: z = -4.5 / sqrt(9 * 7 / 12).
    values = pd.Series([1.0, 2, 3, 4, 5, 6])
    p, _ = rank_p(values, pd.Series(list("aaabbb")))
    assert p == pytest.approx(2 * stats.norm.sf(4.5 / math.sqrt(9 * 7 / 12)), abs=1e-12)


def test_three_groups_by_kruskal_wallis():
    # Without ties H = 12 / (n (n + 1)) * sum(R^2 / m) - 3 (n + 1).
    values = pd.Series([1.0, 2, 3, 4, 5, 6])
    p, _ = rank_p(values, pd.Series(list("aabbcc")))
    h = 12 / 42 * (3**2 + 7**2 + 11**2) / 2 - 21
    assert p == pytest.approx(math.exp(-h / 2), abs=1e-12)


@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        ([1.0, 1.0, 1.0], "aab", "all values are equal"),
        ([1.0, 2.0, 3.0], "aaa", "only one group"),
        ([1.0, 2.0, np.nan], "aab", "no known value"),
    ],
)
def test_no_test_has_a_reason(values, groups, reason):
    p, why = rank_p(pd.Series(values), pd.Series(list(groups)))
    assert math.isnan(p)
    assert reason in why


@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        (["x", "x", "x"], "aab", "all are alike"),
        (["x", "y", "x"], "aaa", "only one group"),
        (["x", "y", None], "aab", "no known value"),
    ],
)
def test_no_chi_square_has_a_reason(values, groups, reason):
    p, why = chi_square_p(pd.Series(values), pd.Series(list(groups)))
    assert math.isnan(p)
    assert reason in why


def test_the_table_notes_why_a_p_is_missing():
    frame, groups = make_patients()
    frame["er"] = "positive"
    table = cohort_table(frame, groups, numeric=[], categorical=["er"], titles={"er": "ER"})
    assert table["p"].tolist() == ["", "–"]
    assert table.attrs["notes"] == ["ER: no p-value, all are alike."]


def test_unknown_column_level_and_group_are_refused():
    with pytest.raises(StatisticsError, match="no column `stage`"):
        make_table(numeric=["stage"])
    with pytest.raises(StatisticsError, match=r"patient p2.*`negative`"):
        make_table(categorical={"er": ["positive"]})
    frame, groups = make_patients()
    groups["p3"] = None
    with pytest.raises(StatisticsError, match=r"patient p3.*no group"):
        cohort_table(frame, groups, numeric=["age"], categorical=[])
    with pytest.raises(StatisticsError, match="same index"):
        cohort_table(frame, groups.reset_index(drop=True), numeric=["age"], categorical=[])


def test_t_stage_at_its_limits():
    sizes = pd.Series([0.1, 2.0, 2.01, 5.0, 5.1, np.nan])
    assert t_stage(sizes).tolist() == ["T1", "T1", "T2", "T2", "T3", None]
    with pytest.raises(StatisticsError, match="patient p9"):
        t_stage(pd.Series([0.0], index=["p9"]))


def test_p_values_as_printed():
    assert [format_p(p) for p in (0.0004, 0.344, 1.0, math.nan)] == [
        "<0.001",
        "0.344",
        "1.000",
        "–",
    ]
    assert format_p(0.00004, decimals=4) == "<0.0001"
