"""What goes with BCNB's data: where they come from, their terms, and the paper's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axilla.cohorts.bcnb import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TABLES = {0: "Table 2", 3: "supplementary Table 3", 4: "supplementary Table 4"}
_AUC = {0: (0.613, 0.816, 0.831), 3: (0.627, 0.845, 0.878), 4: (0.629, 0.837, 0.838)}
_ACCURACY = {
    0: (0.6193, 0.7477, 0.7569),
    3: (0.7267, 0.8023, 0.8430),
    4: (0.6936, 0.6994, 0.7110),
}
_SIZES = {0: (630, 210, 218), 3: (518, 175, 172), 4: (510, 165, 173)}
_METHODS = ("clinical", "dl-cnb", "dl-cnb+c")

PUBLISHED: Mapping[int, tuple[tuple[int, ...], tuple[tuple[str, str, float, float], ...]]] = {
    task: (
        _SIZES[task],
        tuple(
            (f"Xu 2021, {_TABLES[task]}", method, auc, accuracy)
            for method, auc, accuracy in zip(_METHODS, _AUC[task], _ACCURACY[task], strict=True)
        ),
    )
    for task in _TABLES
}
"""By task: sizes of training, validation and test cohort, and what the paper found on the test
cohort (source, method, AUC, accuracy)."""


def provenance(source: Path, *, task: int, with_bags: bool) -> str:
    """Say where the files of an import come from, and on what terms."""
    what = (
        "The bags and the split are those of the authors' bag files of this task."
        if with_bags
        else "Slides and annotations are used where they lie; nothing of them was copied."
    )
    return f"""BCNB (Early Breast Cancer Core-Needle Biopsy WSI), task {task}: {TASKS[task]}.
Made by `axilla import-bcnb` from {source.resolve()}.
{what}

Terms of BCNB: free for non-commercial purposes such as research, teaching and publication;
work that uses it must refer to it; the data, changed or not, must not be passed on, and these
tables are such data. The terms themselves: https://bupt-ai-cz.github.io/BCNB/

Cite: Xu F, Zhu C, Tang W, et al. Predicting axillary lymph node metastasis in early breast
cancer using deep learning on primary tumor biopsy slides. Frontiers in Oncology 2021;11:759007.
doi:10.3389/fonc.2021.759007
"""
