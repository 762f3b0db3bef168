from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from axilla.core.split_clash import SplitClash, clash_problems, split_clash

if TYPE_CHECKING:
    from pathlib import Path

FIRST = {"1": "train", "2": "train", "3": "val", "4": "test", "5": "train", "6": ""}
SECOND = {"1": "test", "2": "train", "3": "test", "4": "val", "7": "test", "6": "test"}


def test_the_direction_counts() -> None:
    assert split_clash(FIRST, SECOND) == SplitClash(trained=("1",), validated=("3",))
    assert split_clash(SECOND, FIRST) == SplitClash(trained=(), validated=("4",))
    assert not split_clash(FIRST, FIRST)
    assert not split_clash(FIRST, {})


def test_a_sentence_a_direction() -> None:
    problems = clash_problems(FIRST, SECOND, names=("A", "B"))
    assert [p.cause for p in problems] == [
        f"the splits contradict each other: {counts} (the first is patient {first})."
        for counts, first in (
            ("1 training and 1 validation patients of A are in the test set of B", 1),
            ("0 training and 1 validation patients of B are in the test set of A", 4),
        )
    ]
    assert clash_problems(FIRST, FIRST, names=("A", "B")) == ()


@pytest.mark.real_data
def test_the_splits_of_the_original(data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "bcnb" / "clinical.csv", dtype=str, keep_default_na=False)
    columns = ["split", *(f"split_task{k}" for k in range(1, 5))]
    splits = [dict(zip(table["patient_id"], table[name], strict=True)) for name in columns]
    trained = {
        (a, b): len(split_clash(splits[a], splits[b]).trained) for a in range(5) for b in range(5)
    }
    assert trained[0, 2] == 136
    assert trained[2, 0] == 133
    # N0 / N+(1-2) and N0 / N+(>2) share their N0 patients' split, and no others.
    assert trained[3, 4] == trained[4, 3] == 0
    assert all(trained[k, k] == 0 for k in range(5))
    others = {pair for pair, n in trained.items() if n == 0 and pair[0] != pair[1]}
    assert others == {(3, 4), (4, 3)}
