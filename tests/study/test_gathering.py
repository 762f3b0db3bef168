from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from axilla.core.errors import StatisticsError, StoreError
from axilla.study.gathering import gather_predictions

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, *methods: str, **columns: object) -> str:
    rows = [
        {"patient_id": f"{n}", "method": method, "cohort": "test", "label": n % 2, "score": 0.1 * n}
        for method in methods
        for n in range(6)
    ]
    pd.DataFrame(rows).assign(**columns).to_csv(path, index=False)
    return str(path)


def test_files_come_into_one_table_their_methods_by_the_given_names(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", "dl-cnb")
    b = write(tmp_path / "b.csv", "dl-cnb")
    c = write(tmp_path / "c.csv", "clinical", "boosting")
    found = gather_predictions([f"vgg16_bn={a}", f" resnet50 = {b}", c])
    assert found.name is None
    assert found.frame["method"].unique().tolist() == [
        "vgg16_bn", "resnet50", "clinical", "boosting",
    ]  # fmt: skip
    assert len(found.frame) == 24
    assert found.frame["patient_id"].tolist() == [str(n % 6) for n in range(24)]


def test_a_single_file_lends_its_name(tmp_path: Path) -> None:
    assert gather_predictions([write(tmp_path / "mine.csv", "a")]).name == "mine"
    # An equals sign may be part of a file's own name.
    found = gather_predictions([write(tmp_path / "seed=1.csv", "a")])
    assert (found.name, found.frame["method"].unique().tolist()) == ("seed=1", ["a"])


def test_a_spread_that_only_one_file_has_is_empty_for_the_other(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", "a", spread=0.05)
    b = write(tmp_path / "b.csv", "b")
    frame = gather_predictions([a, b]).frame
    assert np.isnan(frame.loc[frame["method"] == "b", "spread"]).all()
    assert (frame.loc[frame["method"] == "a", "spread"] == 0.05).all()


def test_methods_of_one_name_are_told_apart_by_the_user(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.csv", "dl-cnb"), write(tmp_path / "b.csv", "dl-cnb")
    with pytest.raises(StatisticsError, match=r"a\.csv and b\.csv both have a method .* dl-cnb.*"
                       r"--predictions dl-cnb-2=b\.csv"):  # fmt: skip
        gather_predictions([a, b])
    with pytest.raises(StatisticsError, match="both have a method called x"):
        gather_predictions([f"x={a}", f"x={b}"])


def test_several_methods_cannot_have_one_name(tmp_path: Path) -> None:
    path = write(tmp_path / "two.csv", "a", "b")
    with pytest.raises(StatisticsError, match=r"two\.csv holds 2 methods \(a, b\).*called vgg"):
        gather_predictions([f"vgg={path}"])


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", "a")
    folds = write(tmp_path / "folds.csv", "b", repeat=0, fold=1)
    with pytest.raises(StatisticsError, match=r"folds\.csv has a column `(repeat|fold)`, a\.csv"):
        gather_predictions([a, folds])
    three = pd.read_csv(a).drop(columns="score").assign(method="c", score_x=0.5, score_y=0.5)
    three.to_csv(tmp_path / "three.csv", index=False)
    with pytest.raises(StatisticsError, match="has a column `score"):
        gather_predictions([a, str(tmp_path / "three.csv")])
    turned = three[["patient_id", "method", "cohort", "label", "score_y", "score_x"]]
    turned.assign(method="d").to_csv(tmp_path / "turned.csv", index=False)
    with pytest.raises(StatisticsError, match=r"turned\.csv has its classes in another order"):
        gather_predictions([str(tmp_path / "three.csv"), str(tmp_path / "turned.csv")])


@pytest.mark.parametrize("source", ["=a.csv", "vgg=", " = "])
def test_a_name_needs_a_file_and_a_file_a_name(source: str) -> None:
    with pytest.raises(StatisticsError, match="names no method or no file"):
        gather_predictions([source])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        gather_predictions([f"vgg={tmp_path / 'nowhere.csv'}"])
