from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from axilla.analysis.learning_curve import LearningRun, learning_curve
from axilla.analysis.plots.learning import draw_learning_curves


def test_each_curve_is_drawn_with_its_law_or_without():
    rising = [
        LearningRun(n, r, 0.85 - 1.5 * n**-0.6) for r in range(3) for n in (50, 100, 200, 400)
    ]
    flat = [LearningRun(n, 0, 0.6) for n in (50, 400)]
    curves = {
        "Rising": learning_curve(rising, extrapolate_to=800, seed=0),
        "Flat": learning_curve(flat, extrapolate_to=800, seed=0),
    }
    ax = Figure().subplots()
    draw_learning_curves(ax, curves)
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["Rising", "Flat", "extrapolated, 95% interval"]
    assert ax.get_ylabel() == "AUC, validation cohort (mean ± SD)"
    dots = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    assert len(dots) == 1, "only what has a law is drawn beyond its patients"
    assert dots[0].get_xdata()[0] == 400
    assert dots[0].get_xdata()[-1] == 800
    np.testing.assert_allclose(dots[0].get_ydata()[-1], 0.85 - 1.5 * 800**-0.6, atol=1e-4)


def test_without_a_law_nothing_is_said_of_extrapolation():
    flat = [LearningRun(n, 0, 0.6) for n in (50, 400)]
    ax = Figure().subplots()
    draw_learning_curves(ax, {"Flat": learning_curve(flat, extrapolate_to=800, seed=0)})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Flat"]
