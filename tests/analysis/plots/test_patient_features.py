"""The figure of one patient's features: each where it belongs, and nothing of a small group."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from axilla.analysis.plots.patient_features import PatientFeature, draw_patient_features
from axilla.analysis.reference_ranges import ReferenceRange

RANGES = (
    ReferenceRange("N0", 20, (10.0, 12.0, 14.0, 16.0, 18.0)),
    ReferenceRange("N(+)", 30, (14.0, 20.0, 24.0, 28.0, 30.0)),
)
AREA = PatientFeature("Area", 20.0, RANGES, attention=1.5, contribution=-0.2)


def drawn(*features: PatientFeature) -> Figure:
    figure = Figure()
    draw_patient_features(figure, features, positive="N(+)")
    return figure


def marked(figure: Figure) -> list[tuple[float, float, str]]:
    """Where the patient's values are, and as what."""
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    return [(*line.get_xydata()[0].tolist(), line.get_marker()) for line in lines]


def test_a_value_lies_among_its_ranges() -> None:
    far = replace(AREA, title="Density", value=100.0)
    figure = drawn(AREA, far, replace(far, value=-100.0))
    # From 10, the lowest 10th percentile, to 30, the highest 90th.
    assert marked(figure) == [
        (pytest.approx(0.5), 0, "D"), (pytest.approx(1.3), 1, ">"), (pytest.approx(-0.3), 2, "<"),
    ]  # fmt: skip
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "This patient", "N0", "N(+)",
    ]  # fmt: skip
    boxes = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].patches[:2]]
    assert boxes == [pytest.approx((0.1, 0.2)), pytest.approx((0.5, 0.4))]
    assert [bar.get_width() for bar in figure.axes[1].patches] == [1.5] * 3
    assert [bar.get_width() for bar in figure.axes[2].patches] == [-0.2] * 3
    assert "no evidence" in figure.axes[1].get_xlabel()


def test_nothing_is_drawn_of_what_is_withheld() -> None:
    figure = drawn(replace(AREA, ranges=()))
    assert marked(figure) == []
    assert "Too few training patients" in figure.axes[0].texts[0].get_text()


def test_contributions_that_are_not_told_have_no_panel() -> None:
    assert len(drawn(replace(AREA, contribution=None)).axes) == 2


def test_a_feature_that_is_the_same_everywhere_has_no_place() -> None:
    same = ReferenceRange("N0", 20, (5.0,) * 5)
    assert marked(drawn(replace(AREA, ranges=(same, replace(same, group="N(+)"))))) == []
