import math

import pandas as pd
import pytest

from axilla.analysis.score_table import parse_predictions
from axilla.core.errors import StatisticsError


def make_rows(**changes):
    rows = pd.DataFrame(
        {
            "patient_id": [1, 2, 3],
            "method": "dl-cnb",
            "cohort": ["val", "test", "test"],
            "label": [1, 0, 1],
            "score": [0.75, 0.25, 0.5],
        }
    )
    return rows.assign(**changes)


def test_two_classes_become_a_probability_each():
    table = parse_predictions(make_rows())
    assert table.classes == ("negative", "positive")
    assert table.methods == ("dl-cnb",)
    assert not table.folded
    part = table.select("dl-cnb", "test")
    assert part.patients == ("2", "3")
    assert part.labels.tolist() == [0, 1]
    assert part.scores.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_usual_cohorts_come_first_in_their_order():
    rows = make_rows(cohort=["north", "test", "train"])
    assert parse_predictions(rows).cohorts("dl-cnb") == ("train", "test", "north")


def test_class_names_serve_as_labels_beside_named_scores():
    rows = make_rows(label=["ill", "well", "ill"]).drop(columns="score")
    table = parse_predictions(rows.assign(score_well=0.25, score_ill=0.75))
    assert table.classes == ("well", "ill")
    assert table.select("dl-cnb", "test").labels.tolist() == [0, 1]
    assert table.select("dl-cnb", "test").positive.tolist() == [0.75, 0.75]


def test_constant_repeat_and_fold_are_no_cross_validation():
    assert not parse_predictions(make_rows(repeat=0, fold=0)).folded
    assert parse_predictions(make_rows(repeat=0, fold=[0, 1, 1])).folded


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": [0.5, math.nan, 0.5]}, "patient 2.*method dl-cnb, cohort test.*score nan"),
        ({"score": [0.5, 0.5, 1.5]}, "patient 3.*score 1.5 is not a probability"),
        ({"score": ["x", 0.5, 0.5]}, "patient 1.*score nan"),
        ({"label": [1, 0, 2]}, "patient 3.*label 2 is none of 0, 1"),
        ({"label": [1, None, 0]}, "patient 2.*label nan is none of"),
        ({"label": [1, 0.5, 0]}, "patient 2.*label"),
        ({"patient_id": [1, 3, 3]}, "patient 3.*method dl-cnb, cohort test.*more than one row"),
        ({"patient_id": [3, 2, 3], "label": [0, 0, 1]}, "patient 3.*different labels"),
        ({"patient_id": [1, None, 3]}, "row 2 .* no patient_id"),
        ({"cohort": ["val", "test", None]}, "row 3 .* no cohort"),
        ({"fold": 0}, "`fold` but no `repeat`"),
        ({"fold": 0.5, "repeat": 0}, "whole number"),
        ({"score_a": 0.5, "score_b": 0.5}, "either a column `score` or one"),
    ],
)
def test_a_wrong_row_is_named(changes, message):
    with pytest.raises(StatisticsError, match=message):
        parse_predictions(make_rows(**changes))


def test_wrong_tables_are_refused():
    with pytest.raises(StatisticsError, match="no column `label`"):
        parse_predictions(make_rows().drop(columns="label"))
    with pytest.raises(StatisticsError, match="no rows"):
        parse_predictions(make_rows().iloc[:0])
    with pytest.raises(StatisticsError, match="column `score`"):
        parse_predictions(make_rows().drop(columns="score"))
    named = make_rows().drop(columns="score").assign(score_a=0.5, score_b=0.3, score_c=0.1)
    with pytest.raises(StatisticsError, match=r"3 classes sum to 0\.900"):
        parse_predictions(named)
