"""All methods in one table, against DeLong written down as a double sum."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from axilla.analysis.metrics import evaluate
from axilla.analysis.tables.comparison_table import comparison_table

METHODS = ("dl-cnb", "dl-cnb-gated", "dl-cnb-mean", "dl-cnb-transmil")


def make_predictions(*, patients=67, cohorts=("val", "test"), methods=METHODS):
    rng = np.random.default_rng(7)
    frames = []
    for cohort in cohorts:
        labels = (np.arange(patients) % 3 == 0).astype(int)
        common = rng.normal(size=patients) + labels
        for place, method in enumerate(methods):
            scores = 1 / (1 + np.exp(-common - (0.2 + place) * rng.normal(size=patients)))
            ids = [f"{cohort}-{i}" for i in range(patients)]
            frames.append(
                pd.DataFrame(
                    {"patient_id": ids, "method": method, "cohort": cohort, "label": labels,
                     "score": scores}
                )
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def run(frame):
    return evaluate(frame, endpoint="n0-vs-npos", threshold_rule=0.5)


def oracle(labels, a, b):
    """Difference of areas b less a, and its standard error, from every pair of patients."""
    placed = []
    for scores in (a, b):
        ahead = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        placed.append((ahead > 0) + 0.5 * (ahead == 0))
    change = placed[1] - placed[0]  # [positives, negatives]
    m, n = change.shape
    variance = change.mean(axis=1).var(ddof=1) / m + change.mean(axis=0).var(ddof=1) / n
    return float(change.mean()), math.sqrt(variance)


def test_every_row_equals_an_independent_computation():
    frame = make_predictions()
    table = comparison_table(run(frame)).frame
    assert table.columns.tolist() == [
        "Method", "Cohort", "n", "AUC", "Difference", "z", "p", "p (Holm)",
    ]  # fmt: skip
    assert table["Cohort"].tolist() == ["Validation"] * 4 + ["Independent test"] * 4
    for cohort, rows in (("val", table[:4]), ("test", table[4:])):
        part = frame[frame["cohort"] == cohort].pivot_table(
            index="patient_id", columns="method", values="score", sort=False
        )
        labels = (
            frame.drop_duplicates("patient_id").set_index("patient_id").loc[part.index, "label"]
        )
        found = [
            oracle(labels.to_numpy(), part["dl-cnb"].to_numpy(), part[name].to_numpy())
            for name in METHODS[1:]
        ]
        z = [difference / error for difference, error in found]
        p = [2 * norm.sf(abs(value)) for value in z]
        adjusted = multipletests(p, method="holm")[1]
        assert rows["Difference"].tolist() == ["reference"] + [
            with_minus(f"{d:+.3f} [{d - 1.959964 * e:+.3f}, {d + 1.959964 * e:+.3f}]")
            for d, e in found
        ]
        assert rows["z"].tolist() == ["–"] + [with_minus(f"{value:.2f}") for value in z]
        assert rows["p"].tolist() == ["–"] + [as_p(value) for value in p]
        assert rows["p (Holm)"].tolist() == ["–"] + [as_p(value) for value in adjusted]


def with_minus(text):
    return text.replace("-", "−")


def as_p(value):
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def test_metrics_hold_every_pair_and_the_adjusted_p_of_those_with_the_first():
    frame = make_predictions(cohorts=("test",))
    tests = run(frame)["comparisons"]
    assert len(tests) == 6
    assert [(t["a"], "p_holm" in t) for t in tests] == [("dl-cnb", True)] * 3 + [
        ("dl-cnb-gated", False), ("dl-cnb-gated", False), ("dl-cnb-mean", False),
    ]  # fmt: skip
    p = [t["p"] for t in tests[:3]]
    expected = multipletests(p, method="holm")[1]
    assert [t["p_holm"] for t in tests[:3]] == pytest.approx(list(expected), rel=1e-12)


def test_a_test_that_cannot_be_made_is_a_dash_with_its_reason():
    frame = make_predictions(cohorts=("test",), methods=METHODS[:3])
    frame.loc[frame["label"] == 1, "label"] = 0
    frame.loc[frame["patient_id"] == "test-0", "label"] = 1
    table = comparison_table(run(frame))
    assert table.frame["Difference"].tolist() == ["reference", "–", "–"]
    assert table.notes[2] == (
        "DL-CNB, gated, independent test: a class has a single patient, so DeLong's method has no "
        "variance."
    )


def test_patients_are_those_that_both_methods_scored_and_it_is_said():
    frame = make_predictions(cohorts=("test",), methods=METHODS[:2])
    lost = (frame["method"] == "dl-cnb-gated") & (frame["patient_id"] == "test-1")
    table = comparison_table(run(frame[~lost]))
    assert table.frame["n"].tolist() == ["67", "66"]
    assert (
        table.notes[2]
        == "DL-CNB, gated, independent test: on the 66 patients that both methods scored."
    )


def test_a_single_method_has_no_table():
    assert comparison_table(run(make_predictions(methods=METHODS[:1]))) is None


def test_more_classes_have_a_row_each():
    rng = np.random.default_rng(3)
    frames = []
    for method in METHODS[:2]:
        scores = rng.dirichlet(np.ones(3), size=30)
        frames.append(
            pd.DataFrame(
                {"patient_id": [f"p{i}" for i in range(30)], "method": method, "cohort": "test",
                 "label": np.arange(30) % 3, "score_N0": scores[:, 0], "score_N1-2": scores[:, 1],
                 "score_N3+": scores[:, 2]}
            )
        )  # fmt: skip
    frame = pd.concat(frames, ignore_index=True)
    table = comparison_table(run(frame)).frame
    assert table["Class"].tolist() == ["N0", "N0", "N1-2", "N1-2", "N3+", "N3+"]
    a, b = (f["score_N1-2"].to_numpy() for f in frames)
    difference, error = oracle((np.arange(30) % 3 == 1).astype(int), a, b)
    assert table["Difference"][3].startswith(with_minus(f"{difference:+.3f} ["))
    assert table["z"][3] == with_minus(f"{difference / error:.2f}")
