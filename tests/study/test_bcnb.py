"""The paper's clinical model and Table 1, from the real patients of BCNB."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from axilla.core.config import load_config
from axilla.study.chain import check, run

STUDIES = Path(__file__).resolve().parents[2] / "studies"
pytestmark = pytest.mark.real_data

PAPER = {
    "bcnb-clinical": {"train": 0.661, "val": 0.709, "test": 0.613},
    "bcnb-clinical-n1-2": {"train": 0.638, "val": 0.677, "test": 0.627},
    "bcnb-clinical-n3plus": {"train": 0.680, "val": 0.748, "test": 0.629},
}
"""Xu 2021, Table 2 and supplementary Tables 3 and 4."""
PATIENTS = {
    "bcnb-clinical": {"train": 630, "val": 210, "test": 218},
    "bcnb-clinical-n1-2": {"train": 518, "val": 175, "test": 172},
    "bcnb-clinical-n3plus": {"train": 510, "val": 165, "test": 173},
}
TABLE_1 = [
    ["Number", "", "1058", "840 (79.4%)", "218 (20.6%)", ""],
    ["Age, years", "mean ± SD", "57.58 ± 12.523", "57.80 ± 12.481", "56.72 ± 12.674", "0.344"],
    ["Tumor size, cm", "mean ± SD", "2.234 ± 0.8623", "2.228 ± 0.8516", "2.256 ± 0.9040", "0.898"],
    ["T stage", "T1", "556", "435 (51.8%)", "121 (55.5%)", "0.327"],
    ["", "T2 or above", "502", "405 (48.2%)", "97 (44.5%)", ""],
    ["ER", "positive", "831", "665 (79.2%)", "166 (76.1%)", "0.333"],
    ["", "negative", "227", "175 (20.8%)", "52 (23.9%)", ""],
    ["PR", "positive", "790", "633 (75.4%)", "157 (72.0%)", "0.312"],
    ["", "negative", "268", "207 (24.6%)", "61 (28.0%)", ""],
    ["HER2", "positive", "277", "217 (25.8%)", "60 (27.5%)", "0.613"],
    ["", "negative", "781", "623 (74.2%)", "158 (72.5%)", ""],
    ["ALN status", "N0", "655", "521 (62.0%)", "134 (61.5%)", "0.880"],
    ["", "N(+)", "403", "319 (38.0%)", "84 (38.5%)", ""],
]
"""Xu 2021, Table 1, to the digit; its LNM row `Yes` is N0, and its shares 80% and 20% of all are
the intended ones."""


@pytest.mark.parametrize("name", PAPER)
def test_clinical_data_only(
    name: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXILLA_DATA", str(data_dir))
    config = load_config(STUDIES / f"{name}.yaml").model_copy(update={"out": tmp_path / "out"})
    assert check(config) == ()
    result = run(config)
    assert result.metrics is not None
    entries = result.metrics["methods"]["clinical"]
    assert {c: e["auc"]["value"] for c, e in entries.items()} == pytest.approx(
        PAPER[name], abs=0.012
    )
    assert {c: e["n"] for c, e in entries.items()} == PATIENTS[name]
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    for value in PAPER[name].values():
        assert f"{value:.3f}" in page, "the published figure stands beside ours"
    if name == "bcnb-clinical":
        table = pd.read_csv(
            tmp_path / "out" / "tables" / "table1.csv", dtype=str, keep_default_na=False
        )
        assert table.to_numpy().tolist() == TABLE_1
        by_class = pd.read_csv(
            tmp_path / "out" / "tables" / "table1_by_class.csv", dtype=str, keep_default_na=False
        )
        assert by_class.columns.tolist()[3:] == ["N0", "N(+)", "p"]
        # The same patients, so the same column for all of them; 655 and 403 as in LNM's row.
        assert by_class["All patients"].tolist() == [row[2] for row in TABLE_1[:-2]]
        assert by_class.iloc[0].tolist()[3:5] == ["655 (61.9%)", "403 (38.1%)"]
