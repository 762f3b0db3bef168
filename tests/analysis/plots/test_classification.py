import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from axilla.analysis.plots.classification import draw_confusion, draw_roc, draw_score_boxes
from axilla.analysis.plots.look import OKABE_ITO
from axilla.analysis.plots.training import draw_training
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


def test_confusion_prints_counts_and_the_rows_percent():
    ax = make_axes()
    draw_confusion(ax, [[90, 10], [5, 15], [0, 0]][:2], classes=["N0", "N(+)"])
    assert [text.get_text() for text in ax.texts] == [
        "90\n90.0%", "10\n10.0%", "5\n25.0%", "15\n75.0%",
    ]  # fmt: skip
    # White on dark, black on pale.
    assert [text.get_color() for text in ax.texts] == ["white", "black", "black", "white"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.9, 0.1], [0.25, 0.75]])


def test_confusion_of_an_absent_class_prints_no_percent():
    ax = make_axes()
    draw_confusion(ax, [[4, 0], [0, 0]], classes=["a", "b"])
    assert [text.get_text() for text in ax.texts][2:] == ["0", "0"]


def test_training_puts_losses_left_and_areas_right():
    ax = make_axes()
    history = {"epoch": [0, 1, 2], "train_loss": [0.9, 0.6, 0.5], "val_auc": [0.5, 0.7, 0.6]}
    draw_training(ax, history, best_epoch=1)
    right = ax.figure.axes[1]
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), [[0, 0.9], [1, 0.6], [2, 0.5]])
    np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), [0.5, 0.7, 0.6])
    assert legend_of(ax) == ["train loss", "val AUC", "kept: epoch 1"]
    assert right.get_ylim() == (0, 1.02)


def test_training_of_losses_only_has_one_axis_and_counts_from_one():
    ax = make_axes()
    draw_training(ax, {"loss": [0.9, 0.6]})
    assert len(ax.figure.axes) == 1
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), [1, 2])


def test_score_boxes_show_quartiles_and_every_patient():
    ax = make_axes()
    scores = {"N0": np.linspace(0, 0.4, 5), "N(+)": np.array([0.5, 0.7, 0.9]), "none": np.empty(0)}
    draw_score_boxes(ax, scores, threshold=0.45)
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], scores["N0"])
    assert np.abs(points[:, 0]).max() < 0.25
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["N0\n(n = 5)", "N(+)\n(n = 3)", "none\n(n = 0)"]
    medians = [line for line in ax.get_lines() if line.get_linewidth() == 1.8]
    assert [line.get_ydata()[0] for line in medians] == pytest.approx([0.2, 0.7])
    assert ax.texts[0].get_text() == "threshold\n0.45"
    assert to_hex(ax.collections[0].get_facecolor()[0]) == OKABE_ITO[0].lower()
