import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from axilla.analysis.heatmaps import draw_gallery, draw_heatmap

THUMBNAIL = np.full((40, 60, 3), 255, dtype=np.uint8)


def render(thumbnail, **arguments):
    """Draw so that a thumbnail pixel is 4 x 4 figure pixels, and return those as RGB."""
    height, width = thumbnail.shape[:2]
    figure = Figure(figsize=(width * 4 * 1.5 / 100, height * 4 / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    draw_heatmap(ax, thumbnail, **arguments)
    ax.set_position((0, 0, 2 / 3, 1))
    ax.spines[:].set_visible(False)
    figure.axes[1].remove()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, : width * 4, :3]


def test_patches_lie_on_the_pixel():
    # Level 0 is 10 times the thumbnail: patches of 80 px are 8 thumbnail pixels, 32 drawn ones.
    image = render(
        THUMBNAIL, xy=[[80, 40], [160, 40], [400, 240]], size_level0=80,
        values=[0.0, 0.5, 1.0], scale=0.1, opacity=1.0,
    )  # fmt: skip
    expected = np.full((160, 240, 3), 255, dtype=np.uint8)
    for (x, y), value in zip([(8, 4), (16, 4), (40, 24)], (0.0, 0.5, 1.0), strict=True):
        colour = np.array(colormaps["cividis"](value, bytes=True))[:3]
        expected[y * 4 : (y + 8) * 4, x * 4 : (x + 8) * 4] = colour
    # Mixing with the ground rounds a colour by at most one; an edge off by one would be 255.
    np.testing.assert_allclose(image.astype(int), expected, atol=1)


def test_thumbnail_shows_through_and_is_not_moved():
    thumbnail = THUMBNAIL.copy()
    thumbnail[10:20, 30:50] = (200, 30, 90)
    image = render(thumbnail, xy=np.empty((0, 2)), size_level0=80, values=[], scale=0.1)
    np.testing.assert_array_equal(image, thumbnail.repeat(4, axis=0).repeat(4, axis=1))


def test_half_opaque_neighbours_leave_no_seam():
    image = render(
        THUMBNAIL, xy=[[0, 0], [70, 0], [140, 0]], size_level0=70,
        values=[1, 1, 1], scale=0.1, limits=(0, 1), opacity=0.5,
    )  # fmt: skip
    strip = image[:28, :84].reshape(-1, 3)
    assert len(np.unique(strip, axis=0)) == 1
    full = np.array(colormaps["cividis"](1.0, bytes=True))[:3].astype(int)
    np.testing.assert_allclose(strip[0], (full + 255) / 2, atol=1)


def test_outline_is_closed_and_scaled():
    ax = Figure().subplots()
    ring = [[100, 100], [300, 100], [300, 200]]
    draw_heatmap(
        ax, THUMBNAIL, xy=[[100, 100]], size_level0=80, values=[0.2], scale=0.1, outlines=[ring]
    )
    (line,) = ax.get_lines()
    np.testing.assert_allclose(line.get_xydata(), [[10, 10], [30, 10], [30, 20], [10, 10]])
    assert ax.get_ylim() == (40, 0)
    assert ax.figure.axes[1].get_ylabel() == "Attention"


def test_limits_hold_the_colours_of_several_slides_together():
    ax = Figure().subplots()
    draw_heatmap(
        ax, THUMBNAIL, xy=[[0, 0]], size_level0=80, values=[0.2], scale=0.1, limits=(0, 0.5)
    )
    assert ax.collections[0].get_clim() == (0, 0.5)


def test_gallery_has_a_row_a_title_and_a_value_a_patch():
    figure = Figure(figsize=(4, 3))
    patch = np.zeros((8, 8, 3), dtype=np.uint8)
    draw_gallery(
        figure, [[patch, patch, patch], [patch]],
        values=[[0.9, 0.8, 0.7], [0.001]], titles=["Highest", "Lowest"],
    )  # fmt: skip
    assert [band.get_suptitle() for band in figure.subfigs] == ["Highest", "Lowest"]
    titles = [[ax.get_title() for ax in band.axes] for band in figure.subfigs]
    assert titles == [["0.900", "0.800", "0.700"], ["0.001", "", ""]]
    assert [len(ax.images) for ax in figure.subfigs[1].axes] == [1, 0, 0]


def test_gallery_of_no_patches_stays_empty():
    figure = Figure()
    draw_gallery(figure, [[], []], values=[[], []], titles=["Highest", "Lowest"])
    assert len(figure.subfigs) == 0


def test_gallery_refuses_rows_that_do_not_match():
    patch = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="zip"):
        draw_gallery(Figure(), [[patch]], values=[[0.1]], titles=["a", "b"])
