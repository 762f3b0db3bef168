"""The plain-language summary: whole numbers that add up, and no word more than is known."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from axilla.core.config import StudyConfig
from axilla.study.plain import of_hundred, plain_sentences, plain_table, whole_numbers

# Xu 2021 (doi:10.3389/fonc.2021.759007), DL-CNB+C, training with validation: Table 2's counts.
PAPER = {"tp": 226, "fn": 14, "tn": 280, "fp": 110}


def study(**changes: Any) -> StudyConfig:
    return StudyConfig.model_validate(
        {"cohort": "cohort.csv", "endpoint": "n0-vs-npos", "methods": ("clinical",)} | changes
    )


def metrics(confusion: dict[str, int], *, names: tuple[str, ...] = ("clinical",)) -> dict[str, Any]:
    n = sum(confusion.values())
    entry = {"n": n, "threshold": 0.42, "confusion": confusion}
    return {"methods": {name: {"test": entry} for name in names}}


def test_whole_numbers_go_by_the_largest_remainder() -> None:
    assert whole_numbers((1, 1, 1), 100) == (34, 33, 33)
    assert whole_numbers((226, 14, 280, 110), 100) == (36, 2, 44, 18)
    assert whole_numbers((0, 0), 100) == (0, 0)
    assert whole_numbers((0, 7), 100) == (0, 100)
    assert whole_numbers((3, 5), 0) == (0, 0)


def test_whole_numbers_add_up_and_are_within_one_of_the_share() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        counts = tuple(map(int, rng.integers(0, 60, rng.integers(2, 6))))
        total = int(rng.integers(0, 120))
        found = whole_numbers(counts, total)
        if sum(counts):
            assert sum(found) == total
            assert all(
                abs(f - c * total / sum(counts)) < 1 for f, c in zip(found, counts, strict=True)
            )


def test_methods_agree_on_how_many_have_the_outcome() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        positives, negatives = map(int, rng.integers(1, 90, 2))
        shown = []
        for _ in range(2):
            tp, tn = int(rng.integers(0, positives + 1)), int(rng.integers(0, negatives + 1))
            counts = {"tp": tp, "fn": positives - tp, "tn": tn, "fp": negatives - tn}
            shown.append(of_hundred(counts))
        assert all(sum(hundred.values()) == 100 for hundred in shown)
        assert len({hundred["tp"] + hundred["fn"] for hundred in shown}) == 1


def test_the_papers_counts_as_sentences() -> None:
    first, second, third = plain_sentences(study(), ("N0", "N(+)"), metrics(PAPER))
    # 240 of 630 have metastasis, 294 are called N0; bounds by the beta quantiles, outwards.
    low, high = beta.ppf(0.025, 240, 391), beta.ppf(0.975, 241, 390)
    assert (int(100 * low), int(100 * high) + 1) == (34, 43)
    assert first == (
        "Of 100 patients like those of the test cohort (630 patients), about 38 have metastasis in "
        "the axillary lymph nodes, N(+) (95% CI 34 to 43)."
    )
    assert second == (
        "Clinical data only: at the threshold 0.420 (chosen on validation), the model would call "
        "53 of these 100 patients N(+), 36 of them rightly, and 47 N0. If these 47 were spared "
        "sentinel node biopsy (95% CI 42 to 51), 2 who are N(+) would have been missed (95% CI 1 "
        "to 4)."
    )
    assert third.startswith("Nobody was spared an operation here")


def test_the_table_adds_up_in_every_row() -> None:
    table = plain_table(("N0", "N(+)"), metrics(PAPER, names=("clinical", "dl-cnb")))
    assert table is not None
    assert table.columns[2:6] == (
        "Called N(+), is N(+)", "Called N(+), is N0", "Called N0, is N0",
        "Called N0, is N(+) (missed)",
    )  # fmt: skip
    for row in table.rows:
        numbers = [int(cell.split(" ")[0]) for cell in row[2:]]
        assert sum(numbers[:4]) == 100
        assert numbers[2] + numbers[3] == numbers[4]
        for cell in row[2:]:
            shown, low, high = map(int, re.findall(r"\d+", cell))
            assert low <= shown <= high


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (0.5, "fixed beforehand"),
        ("youden-per-cohort", "chosen on these patients themselves, which is optimistic"),
        ({"sensitivity": 0.95}, "chosen on validation"),
    ],
)
def test_where_the_threshold_comes_from_is_said(rule: Any, said: str) -> None:
    sentences = plain_sentences(study(threshold=rule), ("N0", "N(+)"), metrics(PAPER))
    assert f"({said})" in sentences[1]


def test_other_outcomes_say_nothing_of_sentinel_biopsy() -> None:
    endpoint = {"column": "label", "negative": "benign", "positive": "malignant"}
    for config, classes in (
        (study(endpoint=endpoint), ("benign", "malignant")),
        (study(endpoint="n1-2-vs-n3plus"), ("N+(1-2)", "N+(>=3)")),
    ):
        told = " ".join(plain_sentences(config, classes, metrics(PAPER)))
        assert "sentinel" not in told
        assert "metastasis" not in told
        assert f"2 who are {classes[1]} would have been missed" in told


def test_nothing_is_said_where_nobody_was_tested() -> None:
    empty: dict[str, Any] = {"methods": {"clinical": {"val": {"n": 5}}}}
    assert plain_sentences(study(), ("N0", "N(+)"), empty) == ()
    assert plain_table(("N0", "N(+)"), empty) is None
    undefined = {"methods": {"clinical": {"test": {"n": 3, "threshold": None, "confusion": None}}}}
    assert plain_sentences(study(), ("N0", "N(+)"), undefined) == ()


def test_folds_are_no_test_cohort() -> None:
    folds = metrics(PAPER) | {"folds": {"clinical": {}}}
    for entry in folds["methods"].values():
        entry["test"]["by_own_folds"] = True
    told = plain_sentences(study(), ("N0", "N(+)"), folds)
    assert "of this study (630, each scored by models that had not seen them)" in told[0]
    threshold = next(iter(folds["methods"].values()))["test"]["threshold"]
    assert f"at the thresholds of each patient's own folds ({threshold:.3f} in the mean)" in told[1]
    table = plain_table(("N0", "N(+)"), folds)
    assert table is not None
    assert "out-of-fold" in table.title
    assert table.notes[-1].startswith("The threshold is the mean of all folds'")


def test_of_many_methods_one_of_each_kind_is_told() -> None:
    names = ("clinical", "clinical-boosting", "dl-cnb", "dl-cnb-gated", "dl-cnb+c")
    told = plain_sentences(study(), ("N0", "N(+)"), metrics(PAPER, names=names))
    starts = [sentence.partition(":")[0] for sentence in told[1:-1]]
    assert starts == ["Clinical data only", "DL-CNB model", "DL-CNB+C model"]
    table = plain_table(("N0", "N(+)"), metrics(PAPER, names=names))
    assert table is not None
    assert len(table.rows) == 5


def test_three_classes() -> None:
    classes = ("N0", "N+(1-2)", "N+(>=3)")
    entry = {"n": 200, "confusion_matrix": [[90, 20, 10], [15, 25, 0], [20, 5, 15]]}
    told = plain_sentences(
        study(endpoint="n0-vs-n1-2-vs-n3plus"), classes, {"methods": {"clinical": {"test": entry}}}
    )
    assert "about 60 are N0 (95% CI 52 to 67), 20 are N+(1-2)" in told[0]
    # Right: 130 of 200; too low: 15 + 20 + 5 = 40; too high: 30.
    assert told[1] == ("Calling everybody N0, without a model, would be right in 60 of the 100.")
    assert "right in 65 of the 100 (95% CI 57 to 72)" in told[2]
    assert "in 20 the call would be too low a stage (95% CI 14 to 27), and in 15 too" in told[2]
    assert plain_table(classes, {"methods": {"clinical": {"test": entry}}}) is None
