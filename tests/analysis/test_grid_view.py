import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from axilla.analysis.grid_view import DROPPED, KEPT, draw_grid


def render(**arguments):
    """A white thumbnail of 60 x 40 pixels, each 4 x 4 drawn ones, as RGB."""
    figure = Figure(figsize=(2.4, 1.6), dpi=100)
    canvas = FigureCanvasAgg(figure)
    draw_grid(
        figure.add_axes((0, 0, 1, 1)), np.full((40, 60, 3), 255, np.uint8), scale=0.1, **arguments
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def shaded(colour, share):
    return np.round(255 * (share * np.array(to_rgb(colour)) + 1 - share))


def test_kept_patches_are_framed_and_dropped_ones_shaded():
    image = render(kept=[[80, 40]], dropped=[[160, 40], [400, 240]], size_level0=80)
    assert (image[17:47, 33:63] == 255).all(axis=2).mean() > 0.9, "the tissue stays in sight"
    blue = np.round(255 * np.array(to_rgb(KEPT)))
    frame = image[16:48, 31:34].reshape(-1, 3).astype(float)
    assert np.abs(frame - blue).max(axis=1).min() < 40
    for x, y in ((16, 4), (40, 24)):
        inside = image[y * 4 + 8 : y * 4 + 24, x * 4 + 8 : x * 4 + 24]
        assert np.abs(inside - shaded(DROPPED, 0.30)).max() <= 2
    assert (image[100:, :100] == 255).all()


def test_fine_patches_are_tinted_without_lines():
    kept = [[x, y] for x in range(0, 300, 20) for y in range(0, 400, 20)]
    image = render(kept=kept, dropped=[[400, 200]], size_level0=20)
    assert np.abs(image[10:150, 10:110] - shaded(KEPT, 0.25)).max() <= 2


def test_regions_are_outlined():
    ring = [[100, 100], [300, 100], [300, 300], [100, 300]]
    image = render(kept=[], dropped=[], size_level0=80, outlines=[ring])
    assert image[80, 38:43].min() < 60, "the left side, at 10 thumbnail pixels"
    assert (image[80, 60:100] == 255).all()
