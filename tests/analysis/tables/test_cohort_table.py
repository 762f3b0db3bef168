import math
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from axilla.analysis.staging import t_stage
from axilla.analysis.tables.cohort_table import cohort_table
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


@pytest.mark.real_data
def test_the_same_patients_by_class_against_counting(data_dir):
    """The paper tests N0 against N(+) but prints no such table: cells from plain loops."""
    frame = pd.read_csv(data_dir / "bcnb" / "clinical.csv", dtype={"patient_id": str})
    groups = frame["aln_status"].map(lambda status: "N0" if status == "N0" else "N(+)")
    table = cohort_table(
        frame, groups, numeric=["age", "tumor_size_cm"],
        categorical=dict.fromkeys(("er", "pr", "her2"), ("positive", "negative")),
        digits={"tumor_size_cm": (3, 4)},
    )  # fmt: skip
    assert table.columns.tolist() == ["Characteristic", "Level", "All patients", "N0", "N(+)", "p"]
    # 655 and 403 are the paper's own LNM row.
    assert table.iloc[0].tolist()[2:] == ["1058", "655 (61.9%)", "403 (38.1%)", ""]
    people = frame.assign(group=groups).to_dict("records")
    for row, (name, mean, sd) in enumerate((("age", 2, 3), ("tumor_size_cm", 3, 4)), start=1):
        for group in ("N0", "N(+)"):
            values = [person[name] for person in people if person["group"] == group]
            cell = f"{statistics.fmean(values):.{mean}f} ± {statistics.stdev(values):.{sd}f}"
            assert table[group][row] == cell
        pair = [frame.loc[groups == group, name] for group in ("N0", "N(+)")]
        test = stats.mannwhitneyu(*pair, use_continuity=False)
        assert table["p"][row] == format_p(test.pvalue)
    for place, name in enumerate(("er", "pr", "her2")):
        counts = np.zeros((2, 2))
        for person in people:
            counts[int(person[name] == "negative"), int(person["group"] == "N(+)")] += 1
        for level in range(2):
            row = table.iloc[3 + 2 * place + level]
            for column, group in enumerate(("N0", "N(+)")):
                share = 100 * counts[level, column] / counts[:, column].sum()
                assert row[group] == f"{counts[level, column]:.0f} ({share:.1f}%)"
        expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert table["p"][3 + 2 * place] == format_p(math.erfc(math.sqrt(statistic / 2)))


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
