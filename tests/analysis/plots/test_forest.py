from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from axilla.analysis.plots.forest import draw_forest, forest_size
from axilla.analysis.plots.look import OKABE_ITO
from axilla.analysis.subgroups import subgroup_analysis


def make_entry(**options):
    rng = np.random.default_rng(3)
    labels = np.arange(200) % 2
    scores = 1 / (1 + np.exp(-rng.normal(size=200) - labels))
    age = np.repeat(["≤ 50 $x$", "> 50"], [70, 130])
    grade = np.resize(np.array(["II", "III", "II"], dtype=object), 200)
    grade[:6] = "I"
    grade[6:20] = None
    groups = {"Age": age, "Grade": grade}
    found = subgroup_analysis(labels, scores, groups, **{"threshold": 0.5} | options)
    return found.as_json(method="m", cohort="test")


def drawn(entry):
    figure = Figure(figsize=forest_size(entry), layout="constrained")
    ax = figure.subplots()
    draw_forest(ax, entry)
    return figure, ax


def lines_of_text(ax):
    rows = {}
    for text in ax.texts:
        rows.setdefault(text.xy[1], []).append(text.get_text())
    return [rows[place] for place in sorted(rows)]


def test_columns_say_what_the_entry_says():
    entry = make_entry()
    _, ax = drawn(entry)
    rows = lines_of_text(ax)
    age, grade = entry["characteristics"]
    assert rows[0] == [
        "Subgroup", "n (positive)", "AUC [95% CI]", "p, difference", "p, interaction",
    ]  # fmt: skip
    assert rows[1][:2] == ["All patients", "200 (100)"]
    assert rows[2] == [
        "Age", f"{age['auc_test']['p']:.3f}", f"{age['interaction']['p']:.3f}",
    ]  # fmt: skip
    level = age["levels"][0]
    assert rows[3] == [
        "≤ 50 $x$",
        "70 (35)",
        "{value:.3f} [{low:.3f}, {high:.3f}]".format(**level["auc"]),
    ]
    shown = [[lv["level"], f"{lv['n']} ({lv['positives']})"] for lv in grade["levels"][1:]]
    assert [row[:2] for row in rows[5:]] == [
        ["Grade", f"{grade['auc_test']['p']:.3f}"], ["I", "<10"], *shown, ["missing", "–"],
    ]  # fmt: skip
    assert rows[6][2] == "–"


def test_squares_stand_on_the_areas_and_lines_on_the_intervals():
    entry = make_entry()
    _, ax = drawn(entry)
    overall, *lines = ax.get_lines()
    assert overall.get_xdata()[0] == entry["overall"]["auc"]["value"]
    levels = [entry["overall"], *(lv for c in entry["characteristics"] for lv in c["levels"])]
    shown = [level for level in levels if level["n"] is not None]
    assert len(ax.collections) == len(shown) == 5
    for level, square in zip(shown, ax.collections, strict=True):
        assert square.get_offsets()[0][0] == level["auc"]["value"]
    spans = [list(line.get_xdata()) for line in lines if len(set(line.get_xdata())) == 2]
    assert spans == [[level["auc"]["low"], level["auc"]["high"]] for level in shown]
    assert to_hex(ax.collections[1].get_facecolor()[0]) == OKABE_ITO[0].lower()
    sizes = [square.get_sizes()[0] for square in ax.collections]
    assert sizes == pytest.approx([14 + 50 * level["n"] / 200 for level in shown])
    least = min(level["auc"]["low"] for level in shown)
    assert ax.get_xlim()[0] < least
    assert ax.get_xlim()[1] == 1.01


def test_no_two_texts_overlap_at_the_size_that_is_advised():
    figure, _ = drawn(make_entry())
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [text.get_window_extent() for text in ax.texts]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
    assert ax.get_window_extent().width / figure.dpi > 2


def test_a_cohort_without_an_area_has_rows_and_no_line():
    entry = make_entry()
    entry["overall"]["auc"] = {"value": None, "low": None, "high": None}
    entry["characteristics"][0]["auc_test"]["p"] = None
    entry["characteristics"][0]["interaction"]["p"] = 1e-6
    _, ax = drawn(entry)
    assert lines_of_text(ax)[2] == ["Age", "–", "<0.001"]
    assert lines_of_text(ax)[1] == ["All patients", "200 (100)", "–"]
    assert len(ax.collections) == 4
