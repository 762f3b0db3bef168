from __future__ import annotations

import numpy as np
import pandas as pd

from axilla.analysis.subgroups import subgroup_analysis
from axilla.analysis.tables.subgroup_table import subgroup_table

COLUMNS = [
    "Characteristic", "Level", "n", "Positive", "AUC", "ACC (%)", "SENS (%)", "SPEC (%)",
    "PPV (%)", "NPV (%)", "p", "p (Holm)", "p (BH)", "p (interaction)",
]  # fmt: skip


def make_entry(groups, *, n=120, **options):
    rng = np.random.default_rng(3)
    labels = np.arange(n) % 2
    scores = 1 / (1 + np.exp(-rng.normal(size=n) - labels))
    found = subgroup_analysis(labels, scores, groups, **{"threshold": 0.5} | options)
    return found.as_json(method="dl-cnb+c", cohort="test")


def halves(first="young", second="old", *, n=120):
    return np.repeat([first, second], [n // 3, n - n // 3])


def test_rows_and_columns_are_the_papers():
    third = np.resize(["I", "II", "III"], 120)
    entry = make_entry({"Age": halves(), "Grade": third})
    table = subgroup_table(entry)
    assert table.frame.columns.tolist() == COLUMNS
    assert table.frame[["Characteristic", "Level", "n", "Positive"]].values.tolist() == [
        ["All patients", "", "120", "60"],
        ["Age", "young", "40", "20"],
        ["", "old", "80", "40"],
        ["Grade", "I", "40", "20"],
        ["", "II", "40", "20"],
        ["", "III", "40", "20"],
    ]
    age, grade = entry["characteristics"]
    assert table.frame["p"].tolist() == [
        "", f"{age['auc_test']['p']:.4f}", "", f"{grade['auc_test']['p']:.4f}", "", "",
    ]  # fmt: skip
    assert table.frame["p (Holm)"][1] == f"{age['auc_test']['p_holm']:.4f}"
    assert table.frame["p (BH)"][3] == f"{grade['auc_test']['p_bh']:.4f}"
    assert table.frame["p (interaction)"][3] == f"{grade['interaction']['p']:.4f}"
    assert len(table.notes) == 3
    assert "chi-square test over three groups" in table.notes[1]


def test_withheld_rows_are_dashes_with_their_reasons():
    names = halves()
    names[:6] = "rare"
    table = subgroup_table(make_entry({"Age": pd.Series(names)}))
    rare = table.frame.iloc[1]
    assert rare["Level"] == "rare"
    assert rare.tolist()[2:] == ["<10", *["–"] * 11]
    young = table.frame.iloc[2]
    assert young.tolist()[2:10] == ["–"] * 8
    assert table.notes[3:] == (
        "Age, rare: fewer than 10 patients.",
        "Age, young: withheld, or the number of a smaller group could be calculated from it.",
        "Age: no p, only one group has figures.",
        "Age: no p of the interaction, only one group has figures.",
    )


def test_missing_values_have_a_row_of_their_own():
    names = halves().astype(object)
    names[:11] = None
    table = subgroup_table(make_entry({"ER": names}))
    assert table.frame.iloc[3].tolist() == ["", "Missing", "11", *[""] * 11]
    names[11:36] = "young"
    names[36:40] = "rare"
    table = subgroup_table(make_entry({"ER": names}))
    assert table.frame["n"].tolist() == ["120", "25", "<10", "80", "–"]
    assert table.notes[-2] == (
        "ER, missing: withheld, or the number of a smaller group could be calculated from it."
    )
    assert table.notes[-1] == "ER: tested over young, old."


def test_a_characteristic_nobody_has_a_value_of():
    table = subgroup_table(make_entry({"ER": [None] * 120}))
    assert table.frame.iloc[1].tolist()[:3] == ["ER", "Missing", "120"]


def test_a_figure_without_interval_says_why():
    table = subgroup_table(make_entry({"Age": halves()}, threshold=0.0001))
    assert table.frame["NPV (%)"].tolist() == ["–"] * 3
    assert "Age, old, NPV (%): no patient was called negative." in table.notes
