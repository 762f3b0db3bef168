import numpy as np

from axilla.analysis.decision import decision_curve
from axilla.analysis.operating_points import lock_rules, operating_points, operating_points_json
from axilla.analysis.predictive_values import predictive_values_at, predictive_values_json
from axilla.analysis.tables.decision_table import decision_table
from axilla.analysis.tables.operating_table import operating_table, rule_title
from axilla.analysis.tables.prevalence_table import prevalence_table
from axilla.core.config import NpvThreshold, SensitivityThreshold
from axilla.core.types import Confusion

# The paper's DL-CNB+C on its test cohort: 75 of 84 positives, 44 of 134 negatives called positive.
LABELS = np.repeat([1, 0], [84, 134])
SCORES = np.repeat([0.9, 0.1, 0.9, 0.1], [75, 9, 44, 90])


RULES = (0.5, NpvThreshold(npv=0.95))


def metrics_of(entry):
    return {"methods": {"dl-cnb+c": {"val": {"n": 3}, "test": entry}}}


def make_operating(labels=LABELS, scores=SCORES, rules=RULES):
    points = operating_points(lock_rules(labels, scores, rules=rules), labels, scores)
    return metrics_of({"operating_points": operating_points_json(points)})


def test_cells_of_the_papers_test_cohort():
    table = operating_table(make_operating())
    assert table.frame.iloc[0].to_dict() == {
        "Method": "DL-CNB+C model",
        "Cohort": "Independent test",
        "Rule": "Fixed at 0.5",
        "Threshold": "0.500",
        "n at or above": "119",
        "n below": "99",
        "Positives missed": "9 of 84",
        # As Table 2 prints them.
        "SENS (%)": "89.29 [80.63, 94.98]",
        "SPEC (%)": "67.16 [58.53, 75.03]",
        "PPV (%)": "63.03 [56.96, 68.71]",
        "NPV (%)": "90.91 [84.21, 94.94]",
        # statsmodels, proportion_confint(99, 218), (9, 218), (9, 99), method="beta".
        "Biopsies avoided per 100": "45.4 [38.7, 52.3]",
        "Positives missed per 100": "4.1 [1.9, 7.7]",
        "Missed per 100 spared": "9.1 [4.2, 16.6]",
    }


def test_a_rule_that_cannot_be_met_is_a_row_of_dashes_with_its_reason():
    table = operating_table(make_operating())
    assert table.frame.iloc[1, 2] == "NPV of at least 95%"
    assert set(table.frame.iloc[1, 3:]) == {"–"}
    assert table.notes[2] == (
        "DL-CNB+C model, independent test, NPV of at least 95%: no threshold reaches a negative "
        "predictive value of 0.95 on these patients (the highest is 0.909)."
    )


def test_a_figure_that_is_missing_has_its_reason():
    table = operating_table(make_operating(np.array([0, 1]), np.array([0.6, 0.7]), (0.5,)))
    assert table.frame["n below"].tolist() == ["0"]
    assert table.frame["NPV (%)"].tolist() == ["–"]
    assert [note.split(", ", 3)[3] for note in table.notes[2:]] == [
        "PPV (%): everybody was called positive, so the logit interval has no width.",
        "NPV (%): no patient was called negative.",
        "Missed per 100 spared: no patient would be spared.",
    ]


def test_rules_by_name():
    rules = ("youden-validation", SensitivityThreshold(sensitivity=0.95).model_dump(), 0.35)
    assert [rule_title(rule) for rule in rules] == [
        "Youden", "Sensitivity of at least 95%", "Fixed at 0.35",
    ]  # fmt: skip


def test_cohorts_without_points_have_no_rows():
    assert operating_table(metrics_of({"n": 1})) is None
    assert operating_table(make_operating(), cohorts=["val"]) is None


def test_prevalences_are_rows():
    values = predictive_values_at(Confusion(tp=75, fn=9, tn=90, fp=44), [84 / 218, 0.2])
    table = prevalence_table(metrics_of({"predictive_values": predictive_values_json(values)}))
    assert table.frame.columns.tolist() == [
        "Method", "Cohort", "Prevalence (%)", "PPV (%)", "NPV (%)",
    ]  # fmt: skip
    # At the cohort's own 84 of 218, what Table 2 prints.
    assert table.frame.iloc[0, 2:].tolist() == [
        "38.5321", "63.03 [56.96, 68.71]", "90.91 [84.21, 94.94]",
    ]  # fmt: skip
    # At 20%: 0.2 * 75/84 / (0.2 * 75/84 + 0.8 * 44/134).
    assert table.frame.iloc[1, 2] == "20"
    assert table.frame.iloc[1, 3].startswith("40.47 [")
    assert prevalence_table(metrics_of({"n": 1})) is None


def test_decision_curve_at_the_asked_thresholds():
    curve = decision_curve(LABELS, SCORES, thresholds=[0.05, 0.1, 0.12, 0.2])
    metrics = metrics_of({"decision_curve": curve.as_json()})
    frame = decision_table(metrics, thresholds=(0.05, 0.2, 0.9)).frame
    assert frame["Threshold"].tolist() == ["5%", "20%"]
    # (75 - 44 / 4) / 218; biopsy for all (84 - 134 / 4) / 218; (90 - 9 * 4) / 218 biopsies fewer.
    assert frame["Net benefit"].iloc[1].startswith("0.294 [")
    assert frame["Biopsy for all"].iloc[1].startswith("0.232 [")
    assert frame["Net reduction per 100"].iloc[1].startswith("24.8 [")
    assert frame["Positives missed per 100"].iloc[1] == "4.1 [1.9, 7.7]"
    notes = decision_table(metrics, thresholds=(0.05,)).notes
    assert notes[3].endswith("5%, Missed per 100 spared: no patient would be spared.")
    assert decision_table(metrics_of({"n": 1})) is None
