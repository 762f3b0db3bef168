"""The printed table of nucleus features, and the files of patients with odd ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from axilla.study.evaluating import write_figure, write_table
from axilla.study.nuclei_explaining import printed_tests

if TYPE_CHECKING:
    from pathlib import Path


def test_a_patient_without_a_nucleus_does_not_split_the_table() -> None:
    common = {"effect": 0.7, "effect_low": 0.5, "effect_high": 0.9, "p": 0.01, "p_adjusted": 0.02}
    tests = pd.DataFrame([
        {"feature": "area", "n_N0": 9, "n_N(+)": 10, "median_N0": 54.0, "median_N(+)": 40.0,
         **common},
        {"feature": "density", "n_N0": 10, "n_N(+)": 10, "median_N0": 5200.0,
         "median_N(+)": 6000.0, **common},
    ])  # fmt: skip
    printed = printed_tests(tests, classes=["N0", "N(+)"], units={"area": "µm²"})
    assert list(printed.columns) == [
        "Feature", "Median, N0 (n)", "Median, N(+) (n)", "Effect [95% CI]", "p", "p, adjusted",
    ]  # fmt: skip
    assert printed["Median, N0 (n)"].tolist() == ["54 (9)", "5200 (10)"]
    assert printed.notna().all(axis=None)


def test_a_dot_in_a_patients_id_stays_in_the_names_of_files(tmp_path: Path) -> None:
    written = [
        path
        for patient in ("P.1", "P.2")
        for path in (
            *write_figure(tmp_path / f"{patient}-nuclei", Figure(figsize=(1, 1)), png=False),
            *write_table(tmp_path / patient, pd.DataFrame({"a": [1]}), caption="A table"),
        )
    ]
    assert [path.name for path in written[:4]] == [
        "P.1-nuclei.svg", "P.1.csv", "P.1.tex", "P.1.html",
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == len(set(written)) == 8
