import pytest

from axilla.analysis.calibration import calibration_entry
from axilla.analysis.tables.calibration_table import calibration_table
from axilla.analysis.tables.printed import format_figure
from axilla.core.errors import StatisticsError


def figure(value, low=None, high=None, reason=None):
    entry = {"value": value, "low": low, "high": high}
    return entry | ({"reason": reason} if reason else {})


def make_metrics():
    entry = {
        "n": 218,
        "positives": 82,
        "clipped": 0,
        "intercept": figure(-0.1234, -0.418, 0.1712),
        "slope": figure(0.8271, 0.5549, 1.0993),
        "observed_expected": figure(0.9312, 0.8049, 1.0773),
        "brier": figure(0.19876, 0.17432, 0.2232),
        "scaled_brier": figure(0.15304, 0.0712, 0.23488),
        "ici": figure(0.0312, reason="it is never below zero")
        | {"by_chance": {"mean": 0.0251, "upper": 0.0479}},
    }
    odd = entry | {
        "clipped": 7,
        "slope": figure(None, reason="the predictions separate the classes, so there is no slope"),
        "ici": figure(None, reason="too many predictions are equal for a smooth curve"),
        "brier": figure(0.25, reason="all patients are equally far off, so the variance is zero"),
    }
    return {
        "methods": {
            "clinical": {"train": {"calibration": entry}, "test": {"calibration": entry}},
            "mine": {"north": {"calibration": odd}},
        }
    }


def test_a_row_a_method_and_cohort_with_intervals_in_brackets():
    frame = calibration_table(make_metrics()).frame
    assert frame.columns.tolist() == [
        "Method", "Cohort", "n", "O/E", "Intercept", "Slope", "Brier score", "Scaled Brier score",
        "ICI (by chance; 95%)",
    ]  # fmt: skip
    assert frame.iloc[0].tolist() == [
        "Clinical data only",
        "Training",
        "218",
        "0.93 [0.80, 1.08]",
        "−0.12 [−0.42, 0.17]",
        "0.83 [0.55, 1.10]",
        "0.199 [0.174, 0.223]",
        "0.153 [0.071, 0.235]",
        "0.031 (0.025; 0.048)",
    ]
    assert frame["Cohort"].tolist() == ["Training", "Independent test", "north"]


def test_missing_figures_and_clipped_predictions_are_told_in_notes():
    table = calibration_table(make_metrics())
    assert table.frame.iloc[2][["Slope", "Brier score"]].tolist() == ["–", "0.250"]
    assert table.notes[0].startswith("Of perfectly calibrated predictions")
    assert table.notes[1].startswith("ICI: the integrated calibration index")
    assert table.notes[2:5] == (
        "mine, north, Slope: the predictions separate the classes, so there is no slope.",
        "mine, north, Brier score: all patients are equally far off, so the variance is zero.",
        "mine, north, ICI: too many predictions are equal for a smooth curve.",
    )
    assert table.notes[5] == (
        "mine, north: 7 of 218 predictions are nearer to 0 or 1 than one in a million; intercept "
        "and slope take them at that distance."
    )


def test_more_classes_have_a_row_each_after_one_of_all():
    entry = make_metrics()["methods"]["clinical"]["test"]["calibration"]
    reason = "only 4 patients are positive, and the fit asks for 10 of each class"
    rare = entry | {"slope": figure(None, reason=reason), "clipped": 2}
    cohort = {
        "n": 218, "brier": figure(0.41, 0.35, 0.48),
        "calibration_by_class": {"N0": entry, "N+(>=3)": rare},
    }  # fmt: skip
    table = calibration_table({"methods": {"clinical": {"test": cohort}}})
    assert table.frame["Class"].tolist() == ["all", "N0", "N+(>=3)"]
    assert table.frame["Brier score"].tolist() == [
        "0.410 [0.350, 0.480]", "0.199 [0.174, 0.223]", "0.199 [0.174, 0.223]",
    ]  # fmt: skip
    assert table.frame["Slope"].tolist() == ["", "0.83 [0.55, 1.10]", "–"]
    assert table.notes[2].startswith("Each class is set against all others together.")
    where = "Clinical data only, independent test, class N+(>=3)"
    assert f"{where}, Slope: {reason}." in table.notes
    assert table.notes[-1].startswith(f"{where}: 2 of 218 predictions")


def test_methods_that_lack_the_same_figures_are_told_at_once():
    reason = "only 8 patients are positive, and the fit asks for 10 of each class"
    few = make_metrics()["methods"]["clinical"]["test"]["calibration"] | {
        "intercept": figure(None, reason=reason), "slope": figure(None, reason=reason),
    }  # fmt: skip
    cohorts = {"test": {"calibration": few}}
    table = calibration_table({"methods": {"clinical": cohorts, "mine": cohorts}})
    assert table.notes[2:] == (
        f"Clinical data only and mine, independent test, Intercept and Slope: {reason}.",
    )


def test_cohorts_can_be_chosen_and_ordered():
    frame = calibration_table(make_metrics(), cohorts=("test", "train")).frame
    assert frame["Cohort"].tolist() == ["Independent test", "Training"]


def test_the_table_reads_what_calibration_writes():
    entry = calibration_entry([0, 1, 1], [0.2, 0.4, 0.9])
    metrics = {"methods": {"mine": {"north": {"calibration": entry}}}}
    row = calibration_table(metrics).frame.iloc[0].tolist()
    assert row == ["mine", "north", "3", "1.33", "–", "–", "0.137", "0.385", "–"]


def test_metrics_without_calibration_are_refused():
    metrics = {"methods": {"mine": {"north": {"n": 3, "auc_by_class": {}}}}}
    with pytest.raises(StatisticsError, match="mine on north hold no calibration"):
        calibration_table(metrics)


def test_minus_nothing_is_nothing():
    assert format_figure(figure(-0.001, -0.1, -0.004), decimals=2) == "0.00 [−0.10, 0.00]"
