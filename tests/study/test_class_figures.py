from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from axilla.analysis.plots.look import PAGE_IN, in_print
from axilla.study.class_figures import class_reliability_drawn, undecided


def make_cohort(classes: int, n: int = 240) -> tuple[pd.Series[int], pd.DataFrame]:
    rng = np.random.default_rng(2)
    scores = rng.dirichlet(np.ones(classes), n)
    labels = pd.Series([int(rng.choice(classes, p=row)) for row in scores])
    return labels, pd.DataFrame(scores, columns=[f"grade {k + 1}" for k in range(classes)])


@pytest.mark.parametrize(("classes", "rows"), [(3, 1), (5, 2)])
def test_a_panel_a_class_fits_a_page(classes: int, rows: int) -> None:
    labels, scores = make_cohort(classes)
    with in_print():
        drawn = class_reliability_drawn("mine", labels, scores, title="Mine, each class")
        assert drawn is not None
        drawn.figure.draw_without_rendering()
        box = drawn.figure.get_tightbbox()
        shown = [t for t in drawn.figure.findobj(Text) if t.get_visible() and t.get_text()]
    assert drawn.name == "calibration_mine"
    assert box.width <= PAGE_IN + 0.02
    assert box.height <= rows * 0.46 * PAGE_IN + 0.3
    assert min(float(text.get_fontsize()) for text in shown) >= 6
    panels = [axes for axes in drawn.figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == [
        f"grade {k + 1}: {(labels == k).sum()} of 240 patients" for k in range(classes)
    ]
    # No panel's words lie over those of the row beneath, nor over the legend.
    (legend,) = drawn.figure.legends
    below = legend.get_window_extent().y0
    for start in range(0, len(panels), 3):
        boxes = [axes.get_tightbbox() for axes in panels[start : start + 3]]
        assert max(one.y1 for one in boxes if one is not None) < below
        below = min(one.y0 for one in boxes if one is not None)
    assert [text.get_text() for text in legend.get_texts()] == [
        "ideal", "smooth, 95% band", "groups, 95% interval", "patients of other classes",
        "patients of the class",
    ]  # fmt: skip


def test_the_numbers_are_those_of_every_class() -> None:
    labels, scores = make_cohort(3)
    drawn = class_reliability_drawn("mine", labels, scores, title="")
    assert drawn is not None
    assert drawn.numbers is not None
    assert drawn.numbers.columns[0] == "class"
    sums = drawn.numbers.groupby("class")[["n", "positives"]].sum()
    for index, name in enumerate(scores.columns):
        assert sums.loc[name].tolist() == [240, int((labels == index).sum())]


def test_a_class_that_nobody_has_is_left_out() -> None:
    labels, scores = make_cohort(3)
    kept = labels < 2
    drawn = class_reliability_drawn("mine", labels[kept], scores[kept], title="")
    assert drawn is not None
    assert drawn.numbers is not None
    assert drawn.numbers["class"].unique().tolist() == ["grade 1", "grade 2"]
    nobody = class_reliability_drawn("mine", labels[labels == 0], scores[labels == 0], title="")
    assert nobody is None


def test_a_reason_is_told_once() -> None:
    entry = {"test": {"decision_curve": {"reason": "there is none"}}}
    assert list(undecided({"methods": {"a": entry, "b": entry}}, "test")) == ["there is none"]
    assert list(undecided({"methods": {"a": {"val": entry["test"]}}}, "test")) == []
