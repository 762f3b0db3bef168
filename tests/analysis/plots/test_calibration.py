import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.special import expit

from axilla.analysis.plots.calibration import draw_calibration
from axilla.analysis.plots.look import OKABE_ITO
from axilla.analysis.reliability import reliability_curve


def make_axes():
    return Figure(figsize=(4, 5)).subplots()


def make_cohort(n=200):
    rng = np.random.default_rng(0)
    linear = rng.normal(-0.5, 1.2, size=n)
    return (rng.random(n) < expit(linear)).astype(int), expit(linear)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_groups_smooth_curve_and_diagonal_in_a_square():
    ax = make_axes()
    curve = reliability_curve(*make_cohort(), groups=5)
    draw_calibration(ax, curve, label="slope 0.93")
    diagonal, smooth, points = ax.get_lines()[:3]
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(smooth.get_ydata(), curve.smooth.observed)
    assert points.get_xdata().tolist() == [group.predicted for group in curve.groups]
    assert points.get_ydata().tolist() == [group.observed.value for group in curve.groups]
    assert len(curve.groups) == 5
    bars = ax.containers[0].lines[2][0].get_segments()
    for bar, group in zip(bars, curve.groups, strict=True):
        np.testing.assert_allclose(
            bar,
            [[group.predicted, group.observed.low], [group.predicted, group.observed.high]],
        )
    assert smooth.get_color() == OKABE_ITO[0]
    assert ax.get_aspect() == 1
    assert [text.get_text() for text in ax.texts] == ["slope 0.93"]
    assert legend_of(ax) == ["ideal", "smooth, 95% band", "groups, 95% interval"]
    assert ax.child_axes == []


def test_predictions_are_counted_up_and_down_beneath():
    ax = make_axes()
    labels, probabilities = make_cohort()
    curve = reliability_curve(labels, probabilities)
    predictions = {"N0": probabilities[labels == 0], "N(+)": probabilities[labels == 1]}
    draw_calibration(ax, curve, predictions=predictions)
    (strip,) = ax.child_axes
    below, above = strip.patches
    counts, _ = np.histogram(predictions["N0"], bins=20, range=(0, 1))
    assert below.get_xy()[:, 1].min() == -counts.max()
    counts, _ = np.histogram(predictions["N(+)"], bins=20, range=(0, 1))
    assert above.get_xy()[:, 1].max() == counts.max()
    # Told apart in black and white too.
    assert (below.get_hatch(), above.get_hatch()) == ("", "////")
    assert to_hex(below.get_edgecolor()) != to_hex(above.get_edgecolor())
    assert strip.yaxis.get_major_formatter()(-12, None) == "12"
    assert strip.get_xlabel() == "Predicted probability"
    assert ax.get_xlabel() == ""
    sizes = [len(values) for values in predictions.values()]
    assert legend_of(ax)[-2:] == [f"N0 (n = {sizes[0]})", f"N(+) (n = {sizes[1]})"]


@pytest.mark.parametrize("label", [0, 1])
def test_a_cohort_of_one_class_is_drawn_without_a_smooth_curve(label):
    ax = make_axes()
    labels, probabilities = np.full(30, label), np.linspace(0, 1, 30)
    predictions = {"N0": probabilities[labels == 0], "N(+)": probabilities[labels == 1]}
    draw_calibration(ax, reliability_curve(labels, probabilities), predictions=predictions)
    ax.figure.canvas.draw()
    assert legend_of(ax)[:2] == ["ideal", "groups, 95% interval"]
