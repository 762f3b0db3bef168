import numpy as np
from matplotlib.figure import Figure

from axilla.analysis.decision import decision_curve
from axilla.analysis.plots.decision import draw_avoided_against_missed, draw_net_benefit
from axilla.analysis.plots.look import OKABE_ITO
from axilla.analysis.plots.precision_recall import draw_precision_recall
from axilla.analysis.precision_recall import precision_recall

LABELS = np.array([0, 0, 0, 1, 0, 1, 1, 0, 1, 1])
RISKS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.8, 0.9])


def make_axes():
    return Figure(figsize=(4, 4)).subplots()


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_net_benefit_draws_the_model_and_both_strategies():
    ax = make_axes()
    curve = decision_curve(LABELS, RISKS)
    draw_net_benefit(ax, {"DL-CNB": curve})
    everybody, nobody, model = ax.get_lines()
    np.testing.assert_allclose(model.get_xdata(), np.arange(1, 51))
    np.testing.assert_allclose(model.get_ydata(), [p.net_benefit.value for p in curve.points])
    # Half are positive: 0.5 - 0.5 t / (1 - t).
    share = np.arange(1, 51) / 100
    np.testing.assert_allclose(everybody.get_ydata(), 0.5 - 0.5 * share / (1 - share))
    assert set(nobody.get_ydata()) == {0}
    assert legend_of(ax) == ["biopsy for all", "biopsy for none", "DL-CNB"]
    assert model.get_color() == OKABE_ITO[0]
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == max(p.net_benefit.high for p in curve.points)
    assert ax.get_ylim()[1] >= band[:, 1].max()


def test_bands_of_several_models_only_on_request():
    curves = {name: decision_curve(LABELS, RISKS) for name in "ab"}
    ax, other = make_axes(), make_axes()
    draw_net_benefit(ax, curves)
    assert not ax.collections
    assert ax.get_lines()[2].get_linestyle() != ax.get_lines()[3].get_linestyle()
    draw_net_benefit(other, curves, bands=True)
    assert len(other.collections) == 2


def test_avoided_against_missed_marks_thresholds():
    ax = make_axes()
    curve = decision_curve(LABELS, RISKS)
    draw_avoided_against_missed(ax, {"DL-CNB": curve}, marked=(0.1, 0.45, 0.9))
    line = ax.get_lines()[0]
    # Below 45% are five patients of ten, one of them positive.
    at = curve.thresholds.tolist().index(0.45)
    assert line.get_xydata()[at].tolist() == [10, 50]
    dots = [container.lines[0] for container in ax.containers]
    assert [dot.get_xydata()[0].tolist() for dot in dots] == [[0, 10], [10, 50]]
    assert dots[0].get_marker() != dots[1].get_marker()
    assert legend_of(ax) == [
        "DL-CNB", "threshold 10%", "threshold 45%", "threshold 90%", "spared at random",
    ]  # fmt: skip
    chance = ax.get_lines()[-1]
    assert chance.get_xydata().tolist() == [[0, 0], [50, 100]]
    # The interval of the mark stays inside.
    assert ax.get_xlim()[1] >= curve.points[at].spared.missed_per_100.high


def test_precision_recall_draws_steps_over_the_baseline():
    ax = make_axes()
    found = precision_recall(LABELS, RISKS)
    perfect = precision_recall(LABELS, LABELS.astype(float))
    draw_precision_recall(ax, {"DL-CNB": found, "Truth": perfect})
    first, second, chance = ax.get_lines()
    np.testing.assert_array_equal(first.get_xdata(), found.recall)
    np.testing.assert_array_equal(first.get_ydata(), found.precision)
    assert first.get_drawstyle() == "steps-post"
    assert first.get_linestyle() != second.get_linestyle()
    assert set(chance.get_ydata()) == {0.5}
    average = found.average
    assert legend_of(ax) == [
        f"DL-CNB: {average.value:.3f} [{average.low:.3f}, {average.high:.3f}]",
        "Truth: 1.000",
        "chance: 0.500",
    ]
    assert ax.get_aspect() == 1
