import matplotlib.patches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from axilla.analysis.heatmaps import draw_heatmap
from axilla.analysis.scale_bar import draw_scale_bar, length_text, round_length


@pytest.mark.parametrize(
    ("width_um", "length", "text"),
    [
        (500, 100, "100 µm"),
        (1_000, 200, "200 µm"),
        (2_400, 500, "500 µm"),
        (5_000, 1_000, "1 mm"),
        (25_000, 5_000, "5 mm"),
        (50_000, 10_000, "10 mm"),
        (12, 2, "2 µm"),
        (2.4, 0.5, "0.5 µm"),
    ],
)
def test_round_lengths(width_um, length, text):
    assert round_length(width_um) == pytest.approx(length)
    assert length_text(round_length(width_um)) == text


@given(st.floats(0.1, 1e6))
def test_about_a_fifth_of_the_width_in_one_digit(width_um):
    length = round_length(width_um)
    assert 0.2 / np.sqrt(2.5) - 1e-9 <= length / width_um <= 0.2 * np.sqrt(2.5) + 1e-9
    assert f"{length:e}"[0] in "125"
    assert length == pytest.approx(float(f"{length:.0e}"))


def rendered(thumbnail, **arguments):
    """A heat map without patches; a thumbnail pixel is one of the figure."""
    height, width = thumbnail.shape[:2]
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    none = {"xy": np.empty((0, 2)), "size_level0": 256, "values": []}
    draw_heatmap(ax, thumbnail, **none, **arguments)
    ax.set_position((0, 0, 1, 1))
    ax.spines[:].set_visible(False)
    figure.axes[1].remove()
    canvas.draw()
    return ax, np.asarray(canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize(("mpp", "scale", "pixels"), [(0.25, 1 / 16, 250), (0.5, 1 / 20, 200)])
@pytest.mark.parametrize("ground", [60, 250])
def test_the_bar_is_as_long_as_it_says(mpp, scale, pixels, ground):
    """1,000 thumbnail pixels of 4 µm are 4 mm, of 10 µm 10 mm: bars of 1 and of 2 mm."""
    thumbnail = np.full((700, 1000, 3), ground, np.uint8)
    ax, image = rendered(thumbnail, mpp=mpp, scale=scale)
    (bar,) = [p for p in ax.patches if isinstance(p, matplotlib.patches.Rectangle)]
    length = round_length(1000 * mpp / scale)
    assert bar.get_width() == pytest.approx(length * scale / mpp)
    assert bar.get_width() == pytest.approx(pixels)
    assert [text.get_text() for text in ax.texts] == [length_text(length)]
    # As drawn: one black run in the lower left corner, white on both of its ends.
    row = image[round(bar.get_y() + bar.get_height() / 2)].max(axis=1)
    black = np.flatnonzero(row < 30)
    assert (black[0], len(black)) == (round(bar.get_x()), pixels)
    assert (np.diff(black) == 1).all()
    assert row[black[0] - 1] > 250
    assert row[black[-1] + 1] > 250
    assert (row[:20] == ground).all()


def test_without_a_scale_there_is_no_bar():
    ax, image = rendered(np.full((70, 100, 3), 200, np.uint8), mpp=None, scale=0.1)
    assert not ax.patches
    assert not ax.texts
    assert (image == 200).all()


def test_the_bar_lies_over_patches_and_outlines():
    ax = Figure().subplots()
    draw_scale_bar(ax, width=100, height=80, microns_per_px=1)
    assert min(ax.patches[0].get_zorder(), ax.texts[0].get_zorder()) > 2
