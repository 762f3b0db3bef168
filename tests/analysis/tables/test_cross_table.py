import csv
from pathlib import Path

import numpy as np
import pytest

from axilla.analysis.cohort_metrics import binary_entry, multiclass_entry
from axilla.analysis.tables.cross_table import cross_table

with (Path(__file__).parents[1] / "paper_tables.csv").open(encoding="utf-8", newline="") as _file:
    TABLE_2 = [row for row in csv.DictReader(_file) if row["table"] == "2"]


def entry_of(row, threshold=0.5):
    """Metrics of patients whose counts at the threshold are those of a printed row."""
    positives = int(row["positives"])
    negatives = int(row["n"]) - positives
    tp = round(float(row["sensitivity"].split()[0]) / 100 * positives)
    fp = negatives - round(float(row["specificity"].split()[0]) / 100 * negatives)
    labels = np.repeat([1, 0], [positives, negatives])
    scores = np.repeat([0.9, 0.1, 0.9, 0.1], [tp, positives - tp, fp, negatives - fp])
    return binary_entry(labels, scores, threshold=threshold)


@pytest.mark.parametrize("row", TABLE_2, ids=lambda row: f"{row['model']}-{row['cohort']}")
def test_the_papers_figures_stand_at_the_margins(row):
    frame = cross_table(entry_of(row), classes=["N0", "N(+)"]).frame
    assert frame["Total"].iloc[2] == row["n"]
    assert frame["N(+) (reference standard)"].iloc[2] == row["positives"]
    assert frame["Predictive value (%)"].tolist() == [
        f"PPV {row['ppv']}", f"NPV {row['npv']}", "", "",
    ]  # fmt: skip
    assert frame.iloc[3].tolist() == [
        "Called correctly (%)",
        f"SENS {row['sensitivity']}",
        f"SPEC {row['specificity']}",
        f"ACC {row['accuracy']}",
        "",
    ]


def test_counts_of_dl_cnb_c_on_the_papers_test_cohort():
    (row,) = (r for r in TABLE_2 if (r["model"], r["cohort"]) == ("dl-cnb+c", "test"))
    table = cross_table(entry_of(row), classes=["N0", "N(+)"], reference="node histology")
    assert table.frame.columns.tolist() == [
        "Score", "N(+) (node histology)", "N0 (node histology)", "Total", "Predictive value (%)",
    ]  # fmt: skip
    assert table.frame.iloc[:3, :4].to_numpy().tolist() == [
        ["N(+): at or above 0.500", "75", "44", "119"],
        ["N0: below 0.500", "9", "90", "99"],
        ["Total", "84", "134", "218"],
    ]
    assert table.notes == ()


def test_what_is_missing_is_said():
    entry = binary_entry(np.array([1, 1, 0]), np.array([0.9, 0.8, 0.7]), threshold=0.5)
    table = cross_table(entry, classes=["N0", "N(+)"])
    assert table.frame["Predictive value (%)"].iloc[1] == "NPV –"
    assert table.notes == (
        "PPV: everybody was called positive, so the logit interval has no width.",
        "NPV: no patient was called negative.",
    )


def test_without_a_threshold_there_is_no_table():
    entry = binary_entry(np.array([1, 0]), np.array([0.9, 0.8]), threshold="nothing reaches it")
    assert cross_table(entry, classes=["N0", "N(+)"]) is None


def test_three_classes_with_totals():
    # True N0, N1-2, N3+ in rows; columns what was called.
    matrix = np.array([[20, 3, 1], [5, 6, 2], [4, 2, 0]])
    labels = np.repeat([0, 1, 2], matrix.sum(axis=1))
    called = np.concatenate([np.repeat([0, 1, 2], row) for row in matrix])
    scores = np.full((43, 3), 0.1)
    scores[np.arange(43), called] = 0.8
    entry = multiclass_entry(labels, scores, classes=("N0", "N1-2", "N3+"))
    table = cross_table(entry, classes=["N0", "N+(1-2)", "N+(3 or more)"], reference="nodes")
    assert table.frame.iloc[:4, 1:5].astype(int).to_numpy().tolist() == [
        [20, 5, 4, 29],
        [3, 6, 2, 11],
        [1, 2, 0, 3],
        [24, 13, 6, 43],
    ]
    assert table.frame["Score"].iloc[1] == "N+(1-2): likeliest"
    assert table.frame["Predictive value (%)"].iloc[0].startswith(f"{100 * 20 / 29:.2f} [")
    last = table.frame.iloc[4].tolist()
    assert last[1].startswith(f"{100 * 20 / 24:.2f} [")
    assert last[4].startswith(f"ACC {100 * 26 / 43:.2f} [")
    assert table.notes == (
        (
            "N+(3 or more), predictive value: there are no true positives, so the logit interval "
            "does not exist."
        ),
    )
