import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from axilla.analysis.plots.classification import (
    draw_confusion,
    draw_roc,
    draw_score_boxes,
    legend_text,
)
from axilla.analysis.plots.look import OKABE_ITO
from axilla.analysis.plots.training import TrainingRun, draw_training
from axilla.analysis.roc import roc_curve
from axilla.core.types import Estimate


def make_axes():
    return Figure(figsize=(4, 4)).subplots()


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_roc_draws_the_curves_corners_in_a_square():
    ax = make_axes()
    curve = roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    other = roc_curve([0, 1, 0, 1], [0.1, 0.2, 0.35, 0.8])
    areas = {"DL-CNB": Estimate(0.816, 0.758, 0.865), "Clinical": Estimate(0.75)}
    draw_roc(ax, {"DL-CNB": curve, "Clinical": other, "Plain": other}, areas=areas)
    chance, first, second, _ = ax.get_lines()
    np.testing.assert_array_equal(chance.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(first.get_xdata(), curve.fpr)
    np.testing.assert_array_equal(first.get_ydata(), curve.tpr)
    assert (first.get_color(), second.get_color()) == OKABE_ITO[:2]
    assert first.get_linestyle() != second.get_linestyle()
    assert legend_of(ax) == ["DL-CNB: 0.816 [0.758, 0.865]", "Clinical: 0.750", "Plain"]
    assert ax.get_aspect() == 1


def test_roc_without_an_area():
    ax = make_axes()
    curve = roc_curve([0, 1], [0.1, 0.4])
    draw_roc(ax, {"a": curve}, areas={"a": Estimate(math.nan, reason="one class")})
    assert legend_of(ax) == ["a: AUC undefined"]


def test_the_legend_of_many_stands_below_and_long_names_are_broken():
    curve = roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    area = Estimate(0.613, 0.545, 0.678)
    long = "Clinical data, gradient boosting"
    for count, below in ((4, None), (5, None), (2, True)):
        ax = make_axes()
        names = [long, *map(str, range(1, count))]
        draw_roc(ax, dict.fromkeys(names, curve), areas=dict.fromkeys(names, area), below=below)
        ax.figure.canvas.draw()
        legend = ax.get_legend()
        outside = legend.get_window_extent().y1 < ax.xaxis.label.get_window_extent().y0
        assert outside == (count == 5 or below is True)
        assert legend.get_title().get_text() == "AUC [95% CI]"
        assert legend_of(ax)[0] == legend_text(long, area) == f"{long}: 0.613\n[0.545, 0.678]"


def test_confusion_prints_counts_and_the_rows_percent():
    ax = make_axes()
    draw_confusion(ax, [[90, 10], [5, 15], [0, 0]][:2], classes=["N0", "N(+)"])
    assert [text.get_text() for text in ax.texts] == [
        "90\n90.0%", "10\n10.0%", "5\n25.0%", "15\n75.0%",
    ]  # fmt: skip
    # White on dark, black on pale.
    assert [text.get_color() for text in ax.texts] == ["white", "black", "black", "white"]
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        "N0\n(n = 95)", "N(+)\n(n = 25)",
    ]  # fmt: skip
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "N0\n(n = 100)", "N(+)\n(n = 20)",
    ]  # fmt: skip
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.9, 0.1], [0.25, 0.75]])


def test_confusion_of_an_absent_class_prints_no_percent():
    ax = make_axes()
    draw_confusion(ax, [[4, 0], [0, 0]], classes=["a", "b"])
    assert [text.get_text() for text in ax.texts][2:] == ["0", "0"]


def make_run(kept=None, **changes):
    figures = {
        "train_loss": np.array([0.9, 0.6, 0.5]), "val_loss": np.array([0.8, 0.7, 0.9]),
        "val_auc": np.array([0.5, 0.7, 0.6]),
    }  # fmt: skip
    return TrainingRun(np.array([1, 2, 3]), **(figures | changes), kept=kept)


def test_training_puts_losses_left_and_areas_right_and_marks_the_epoch_kept():
    losses, areas = Figure().subplots(1, 2)
    draw_training(losses, areas, [make_run(kept=2)])
    drawn = [line.get_xydata().tolist() for line in losses.get_lines()]
    assert drawn == [[[1, 0.9], [2, 0.6], [3, 0.5]], [[1, 0.8], [2, 0.7], [3, 0.9]], [[2, 0.7]]]
    assert [line.get_xydata().tolist() for line in areas.get_lines()] == [
        [[1, 0.5], [2, 0.7], [3, 0.6]], [[2, 0.7]],
    ]  # fmt: skip
    assert legend_of(losses) == ["training", "validation", "epoch kept"]
    assert areas.get_ylim() == (0, 1.02)


def test_several_trainings_share_a_legend_and_those_without_validation_have_one_line():
    losses, areas = Figure().subplots(1, 2)
    nothing = np.full(3, np.nan)
    draw_training(losses, areas, [make_run(kept=1), make_run(val_loss=nothing, val_auc=nothing)])
    assert legend_of(losses) == ["training", "validation", "epoch kept"]
    assert [len(line.get_xdata()) for line in losses.get_lines()] == [3, 3, 1, 3]
    assert [len(line.get_xdata()) for line in areas.get_lines()] == [3, 1]


def test_score_boxes_show_quartiles_and_every_patient():
    ax = make_axes()
    scores = {"N0": np.linspace(0, 0.4, 5), "N(+)": np.array([0.5, 0.7, 0.9]), "none": np.empty(0)}
    draw_score_boxes(ax, scores, threshold=0.45)
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], scores["N0"])
    assert np.abs(points[:, 0]).max() < 0.25
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["N0\n(n = 5)", "N(+)\n(n = 3)", "none\n(n = 0)"]
    medians = [line for line in ax.get_lines() if line.get_linewidth() == 1.4]
    assert [line.get_ydata()[0] for line in medians] == pytest.approx([0.2, 0.7])
    assert ax.texts[0].get_text() == "threshold\n0.45"
    assert to_hex(ax.collections[0].get_facecolor()[0]) == OKABE_ITO[0].lower()


@pytest.mark.parametrize(
    ("p", "groups", "title"),
    [
        (None, "ab", ""), (0.0451, "ab", "Mann–Whitney p = 0.045"),
        (1e-9, "ab", "Mann–Whitney p < 0.001"), (0.2, "abc", "Kruskal–Wallis p = 0.200"),
        (math.nan, "ab", "Mann–Whitney p = –"),
    ],
)  # fmt: skip
def test_score_boxes_print_the_p_they_are_given(p, groups, title):
    ax = make_axes()
    draw_score_boxes(ax, {name: np.array([0.1, 0.2]) for name in groups}, p=p)
    assert ax.get_title() == title
