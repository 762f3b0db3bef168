import numpy as np
import pytest

from axilla.analysis.cohort_metrics import measures, multiclass_entry
from axilla.analysis.tables.confusion_table import confusion_table

CLASSES = ("N0", "N+(1-2)", "N+(>2)")
# The paper's three-way test cohort (section 3.4): 131, 50 and 37 patients (BCNB's split of task 2);
# recall 0.947, 0.400, 0.162 and precision 0.747, 0.556, 0.375 give 124, 20 and 6 right of 166, 36
# and 16 called. Its figure 5 is a picture; the other cells here are one way to fill these sums.
MATRIX = np.array([[124, 5, 2], [22, 20, 8], [20, 11, 6]])


def make_entry():
    labels, called = (np.repeat(index, MATRIX.ravel()) for index in np.indices(MATRIX.shape)
                      .reshape(2, -1))  # fmt: skip
    return multiclass_entry(labels, np.eye(3)[called], classes=CLASSES)


def test_the_papers_three_way_precision_and_recall():
    assert MATRIX.sum(axis=1).tolist() == [131, 50, 37]
    entry = make_entry()
    assert entry["confusion_matrix"] == MATRIX.tolist()
    precision, recall = (
        [f"{entry[name][c]['value']:.3f}" for c in CLASSES] for name in ("precision", "recall")
    )
    assert recall == ["0.947", "0.400", "0.162"]
    assert precision == ["0.747", "0.556", "0.375"]


@pytest.mark.parametrize(("index", "name"), list(enumerate(CLASSES)))
def test_each_classs_intervals_are_those_of_the_class_against_the_rest(index, name):
    from axilla.core.types import Confusion

    tp, row, column = MATRIX[index, index], MATRIX[index].sum(), MATRIX[:, index].sum()
    counts = Confusion(
        tp=int(tp), fn=int(row - tp), fp=int(column - tp), tn=int(MATRIX.sum() - row - column + tp)
    )
    expected, entry = measures(counts), make_entry()
    for own, of in (("precision", "ppv"), ("recall", "sensitivity"), ("f1", "f1")):
        found = entry[own][name]
        assert (found["value"], found["low"], found["high"]) == (
            expected[of].value, expected[of].low, expected[of].high,
        )  # fmt: skip


def test_totals_and_percentages_of_three_classes():
    printed = confusion_table({"methods": {"dl-cnb+c": {"test": make_entry()}}})
    assert printed.frame.columns.tolist() == [
        "Method", "Cohort", "True class", *(f"Called {name}" for name in CLASSES), "Total",
    ]  # fmt: skip
    assert printed.frame.to_numpy().tolist() == [
        ["DL-CNB+C model", "Independent test", "N0",
         "124 (94.7%)", "5 (3.8%)", "2 (1.5%)", "131 (60.1%)"],
        ["", "", "N+(1-2)", "22 (44.0%)", "20 (40.0%)", "8 (16.0%)", "50 (22.9%)"],
        ["", "", "N+(>2)", "20 (54.1%)", "11 (29.7%)", "6 (16.2%)", "37 (17.0%)"],
        ["", "", "Total", "166 (76.1%)", "36 (16.5%)", "16 (7.3%)", "218"],
    ]  # fmt: skip


def test_two_classes_and_a_cohort_without_threshold():
    good = {"confusion": {"tp": 226, "fn": 14, "tn": 280, "fp": 110}}
    none = {"confusion": None, "reason": "a threshold cannot be chosen"}
    metrics = {"methods": {"dl-cnb": {"train": good, "test": none}}}
    printed = confusion_table(metrics, classes=("N0", "N(+)"))
    assert printed.frame.to_numpy().tolist() == [
        ["DL-CNB model", "Training", "N0", "280 (71.8%)", "110 (28.2%)", "390 (61.9%)"],
        ["", "", "N(+)", "14 (5.8%)", "226 (94.2%)", "240 (38.1%)"],
        ["", "", "Total", "294 (46.7%)", "336 (53.3%)", "630"],
    ]
    assert printed.notes[1] == "DL-CNB model, independent test: a threshold cannot be chosen."


def test_a_class_that_nobody_is_of_has_no_percentages():
    metrics = {"methods": {"a": {"test": {"confusion": {"tp": 0, "fn": 0, "tn": 3, "fp": 1}}}}}
    rows = confusion_table(metrics).frame.to_numpy().tolist()
    assert rows[1] == ["", "", "positive", "0 (–)", "0 (–)", "0 (0.0%)"]
