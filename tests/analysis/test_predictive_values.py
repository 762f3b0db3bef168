import csv
from pathlib import Path

import numpy as np
import pytest

from axilla.analysis.intervals import as_json
from axilla.analysis.predictive_values import predictive_values_at, predictive_values_json
from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion

with Path(__file__).with_name("paper_tables.csv").open(encoding="utf-8", newline="") as _file:
    TABLE_2 = [row for row in csv.DictReader(_file) if row["table"] == "2"]


def counts_of(row):
    """Counts behind a printed row: the shares of positives and negatives called correctly."""
    positives = int(row["positives"])
    negatives = int(row["n"]) - positives
    tp = round(float(row["sensitivity"].split()[0]) / 100 * positives)
    tn = round(float(row["specificity"].split()[0]) / 100 * negatives)
    return Confusion(tp=tp, fn=positives - tp, tn=tn, fp=negatives - tn)


@pytest.mark.parametrize("row", TABLE_2, ids=lambda row: f"{row['model']}-{row['cohort']}")
def test_at_its_own_prevalence_the_paper_prints_it(row):
    own = int(row["positives"]) / int(row["n"])
    (at,) = predictive_values_at(counts_of(row), [own])
    for name, figure in (("ppv", at.ppv), ("npv", at.npv)):
        value, low, high = (f"{100 * x:.2f}" for x in (figure.value, figure.low, figure.high))
        assert f"{value} [{low}, {high}]" == row[name]


def test_a_thousand_patients_at_another_prevalence():
    # 20% of 1,000: 200 positives of whom 90% are called, 800 negatives of whom 25% are.
    counts = Confusion(tp=90, fn=10, tn=75, fp=25)
    (at,) = predictive_values_at(counts, [0.2])
    assert at.ppv.value == pytest.approx(180 / (180 + 200))
    assert at.npv.value == pytest.approx(600 / (600 + 20))


def test_the_intervals_hold_the_truth_in_95_percent_of_cohorts():
    # Two independent samples as in a study of 84 positives and 134 negatives, applied at 20%.
    rng = np.random.default_rng(3)
    sensitivity, specificity, share = 0.85, 0.7, 0.2
    ppv = sensitivity * share / (sensitivity * share + (1 - specificity) * (1 - share))
    npv = specificity * (1 - share) / (specificity * (1 - share) + (1 - sensitivity) * share)
    draws = 4000
    tp = rng.binomial(84, sensitivity, size=draws).tolist()
    tn = rng.binomial(134, specificity, size=draws).tolist()
    held = np.zeros(2)
    for right, spared in zip(tp, tn, strict=True):
        counts = Confusion(tp=right, fn=84 - right, tn=spared, fp=134 - spared)
        (at,) = predictive_values_at(counts, [share])
        held += [at.ppv.low <= ppv <= at.ppv.high, at.npv.low <= npv <= at.npv.high]
    np.testing.assert_allclose(held / draws, 0.95, atol=0.01)


def test_json_has_an_entry_a_prevalence():
    values = predictive_values_at(Confusion(tp=5, fn=1, tn=9, fp=0), [0.1, 0.3])
    entry = predictive_values_json(values)
    assert [at["prevalence"] for at in entry] == [0.1, 0.3]
    assert entry[0]["ppv"]["low"] is None
    assert "no false positives" in entry[0]["ppv"]["reason"]
    assert entry[1]["npv"] == as_json(values[1].npv)


def test_no_prevalence_is_refused():
    with pytest.raises(StatisticsError, match=r"prevalence of 30 is not"):
        predictive_values_at(Confusion(tp=5, fn=1, tn=9, fp=3), [30])
