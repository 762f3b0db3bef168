"""The printed table of nucleus features, and the files of patients with odd ids."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from matplotlib.figure import Figure

from axilla.nuclei.feature_bags import FEATURES
from axilla.study.evaluating import write_figure, write_table
from axilla.study.layout import Layout
from axilla.study.nuclei_explaining import nuclei_part, printed_tests

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


@pytest.mark.parametrize(("classes", "shown"), [(("N0", "N(+)"), 1), (("N0", "N1-2", "N3"), 0)])
def test_the_tests_of_an_earlier_endpoint_of_two_classes_are_not_shown_of_three(
    tmp_path: Path, classes: tuple[str, ...], shown: int
) -> None:
    layout = Layout(tmp_path)
    values = pd.DataFrame([["a", 1, *[1.0] * 8]], columns=["patient_id", "label", *FEATURES])
    for path in (layout.nuclei_weights, layout.nuclei_features):
        path.parent.mkdir(parents=True, exist_ok=True)
        values.to_csv(path, index=False)
    layout.nuclei_tests.write_text("feature,p\narea,0.5\n", encoding="utf-8")
    write_table(layout.tables / "nuclei_features", pd.DataFrame({"Feature": ["Area"]}), caption="")
    for name in ("nuclei_features", "nuclei_weights"):
        write_figure(layout.figures / name, Figure(figsize=(1, 1)), png=False)
    fitting = SimpleNamespace(
        nuclei=object(),
        config=SimpleNamespace(out=tmp_path),
        cohort=SimpleNamespace(classes=classes),
    )
    part = nuclei_part(fitting)  # type: ignore[arg-type]  # what it looks at
    assert part is not None
    assert (len(part.tables), len(part.figures)) == (shown, 1 + shown)
