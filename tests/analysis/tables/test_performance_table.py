import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from axilla.analysis.cohort_metrics import measures
from axilla.analysis.intervals import as_json, clopper_pearson
from axilla.analysis.metrics import evaluate
from axilla.analysis.tables.performance_table import (
    OPTIMISTIC,
    multiclass_table,
    performance_table,
    told_comparisons,
)
from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion

PAPER = Path(__file__).parents[1] / "paper_tables.csv"


def make_metrics():
    entry = {
        "n": 630,
        "positives": 240,
        "threshold": 0.5,
        "auc": {"value": 0.9011, "low": 0.8754, "high": 0.9229, "delong_low": 0, "delong_high": 1},
        "accuracy": {"value": 506 / 630, "low": 0.76994, "high": 0.83351},
        "sensitivity": {"value": 226 / 240, "low": 0.90409, "high": 0.96769},
        "specificity": {"value": 280 / 390, "low": 0.67045, "high": 0.76213},
        "ppv": {"value": 226 / 336, "low": 0.63613, "high": 0.70712},
        "npv": {"value": 280 / 294, "low": 0.92301, "high": 0.97093},
    }
    odd = entry | {
        "ppv": {"value": 1.0, "low": None, "high": None, "reason": "there are no false positives"},
        "npv": {"value": None, "low": None, "high": None, "reason": "nobody was called negative"},
    }
    pairs = [
        ("clinical", "dl-cnb", 0.00001),
        ("clinical", "dl-cnb+c", 0.0151),
        ("dl-cnb", "dl-cnb+c", None),
    ]
    tests = [{"cohort": "test", "a": a, "b": b, "z": 1.0, "p": p} for a, b, p in pairs]
    tests[2]["reason"] = "a class has a single patient"
    tests.append({"cohort": "val", "a": "clinical", "b": "dl-cnb", "z": 1.0, "p": 0.5})
    return {
        "methods": {
            "clinical": {"train": entry, "test": entry},
            "dl-cnb": {"test": odd},
            "dl-cnb+c": {"north": entry},
        },
        "comparisons": tests,
    }


def test_cells_are_printed_as_in_the_paper():
    table = performance_table(make_metrics())
    assert table.frame.columns.tolist() == [
        "Method", "Cohort", "n", "AUC", "ACC (%)", "SENS (%)", "SPEC (%)", "PPV (%)", "NPV (%)",
    ]  # fmt: skip
    assert table.frame.iloc[0].tolist() == [
        "Clinical data only",
        "Training",
        "630",
        "0.901 [0.875, 0.923]",
        "80.32 [76.99, 83.35]",
        "94.17 [90.41, 96.77]",
        "71.79 [67.05, 76.21]",
        "67.26 [63.61, 70.71]",
        "95.24 [92.30, 97.09]",
    ]
    assert table.frame["Cohort"].tolist() == [
        "Training",
        "Independent test",
        "Independent test",
        "north",
    ]


def test_tests_are_footnotes_and_missing_figures_say_why():
    table = performance_table(make_metrics())
    assert table.frame["AUC"].tolist() == [
        "0.901 [0.875, 0.923]",
        "0.901^a,b [0.875, 0.923]",
        "0.901^c [0.875, 0.923]",
        "0.901 [0.875, 0.923]",
    ]
    assert table.frame.iloc[2][["PPV (%)", "NPV (%)"]].tolist() == ["100.00", "–"]
    best = "DL-CNB+C model"
    where = "in the independent test cohort"
    assert table.notes == (
        f"a: p < 0.0001, DeLong, in comparison with DL-CNB model {where}",
        f"b: p = 0.0151, DeLong, in comparison with DL-CNB+C model {where}",
        f"c: not computed, a class has a single patient, DeLong, in comparison with {best} {where}",
        "DL-CNB model, independent test, PPV (%): there are no false positives.",
        "DL-CNB model, independent test, NPV (%): nobody was called negative.",
    )


def test_cohorts_can_be_chosen_and_ordered():
    frame = performance_table(make_metrics(), cohorts=("test", "train")).frame
    assert frame["Cohort"].tolist() == ["Independent test", "Training", "Independent test"]


@pytest.mark.parametrize("table", ["2", "S1", "S3", "S4", "S5"])
def test_the_papers_tables_are_printed_again_from_its_counts(table):
    """Each cell of Table 2 and supplementary Tables 1, 3, 4 and 5 but the areas, to the digit."""
    with PAPER.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == table]
    methods = {}
    for row in rows:
        counts = Confusion(**{name: int(row[name]) for name in ("tp", "fn", "tn", "fp")})
        figures = {name: as_json(value) for name, value in measures(counts).items()}
        area = float(row["auc"].split()[0])
        auc = as_json(clopper_pearson(area * int(row["n"]), int(row["n"])))
        cohorts = methods.setdefault(row["model"], {})
        cohorts[row["cohort"]] = {"n": int(row["n"]), "auc": auc, **figures}
    frame = performance_table({"methods": methods, "comparisons": []}).frame
    shown = ["ACC (%)", "SENS (%)", "SPEC (%)", "PPV (%)", "NPV (%)"]
    names = ["accuracy", "sensitivity", "specificity", "ppv", "npv"]
    assert frame[shown].to_numpy().tolist() == [[row[name] for name in names] for row in rows]
    # Areas: the printed three decimals are all there is; test_intervals.py has their intervals.
    assert frame["AUC"].str.split().str[0].tolist() == [row["auc"].split()[0] for row in rows]


def test_thresholds_of_each_cohort_itself_are_called_optimistic():
    assert OPTIMISTIC not in performance_table(make_metrics()).notes
    metrics = make_metrics() | {"threshold_rule": "youden-per-cohort"}
    assert OPTIMISTIC in performance_table(metrics).notes


def test_more_classes_have_their_own_table():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet([1, 1, 1], size=30)
    frame = pd.DataFrame(
        {"patient_id": range(30), "method": "dl-cnb", "cohort": "test", "label": np.arange(30) % 3}
    ).assign(**{f"score_{name}": scores[:, i] for i, name in enumerate("abc")})
    metrics = evaluate(frame, endpoint="three", threshold_rule=0.5)
    with pytest.raises(StatisticsError, match="multiclass_table"):
        performance_table(metrics)
    table = multiclass_table(metrics).frame
    assert table["Class"].tolist() == ["all", "a", "b", "c"]
    assert table["n"].tolist() == ["30", "10", "10", "10"]
    entry = metrics["methods"]["dl-cnb"]["test"]
    auc = entry["auc"]
    assert table["AUC"].iloc[0] == (
        f"{auc['value']:.3f} [{auc['delong_low']:.3f}, {auc['delong_high']:.3f}]"
    )
    assert table["Recall (%)"].iloc[1].startswith(f"{100 * entry['recall']['a']['value']:.2f} [")


def test_many_methods_are_told_against_the_first_only():
    metrics = make_metrics()
    assert told_comparisons(metrics) == metrics["comparisons"]
    metrics["methods"]["dl-cnb-max"] = metrics["methods"]["clinical"]
    assert [(t["a"], t["b"]) for t in told_comparisons(metrics)] == [
        ("clinical", "dl-cnb"), ("clinical", "dl-cnb+c"), ("clinical", "dl-cnb"),
    ]  # fmt: skip
