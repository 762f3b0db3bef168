"""Morphometry against drawn ellipses and rectangles of known shape, to 2%."""

import math

import numpy as np
import pytest
from scipy.special import ellipe

from axilla.core.errors import StatisticsError
from axilla.nuclei import drawn_shapes
from axilla.nuclei.morphometry import measure_nuclei, polarity
from axilla.nuclei.rectangularity import standards

SIZE = 160


def turned(angle, centre):
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    x, y = x - centre[0], y - centre[1]
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return x * cosine + y * sine, -x * sine + y * cosine


def ellipse(a, b, angle, centre=(80.0, 80.0)):
    u, v = turned(angle, centre)
    return ((u / a) ** 2 + (v / b) ** 2 <= 1).astype(np.int32)


def rectangle(length, width, angle, centre=(80.0, 80.0)):
    u, v = turned(angle, centre)
    return ((np.abs(u) <= length / 2) & (np.abs(v) <= width / 2)).astype(np.int32)


def mean_of(draw, *, seed=0, draws=24):
    """Columns averaged over places of a pixel and directions: what a drawn grid does is noise."""
    rng = np.random.default_rng(seed)
    frames = [
        measure_nuclei(draw(angle, 80 + rng.uniform(-0.5, 0.5, 2)), mpp=0.25)
        for angle in rng.uniform(0, 180, draws)
    ]
    assert all(len(frame) == 1 for frame in frames)
    return {name: np.mean([frame[name][0] for frame in frames]) for name in frames[0]}


@pytest.mark.parametrize(("a", "b"), [(12, 9), (20, 10), (26, 18), (40, 25)])
def test_ellipses(a, b):
    found = mean_of(lambda angle, centre: ellipse(a, b, angle, centre))
    length = 4 * a * ellipe(1 - (b / a) ** 2)
    assert found["major_axis"] == pytest.approx(2 * a * 0.25, rel=0.02)
    assert found["minor_axis"] == pytest.approx(2 * b * 0.25, rel=0.02)
    assert found["area"] == pytest.approx(math.pi * a * b * 0.25**2, rel=0.02)
    assert found["circumference"] == pytest.approx(length * 0.25, rel=0.02)
    assert found["circularity"] == pytest.approx(4 * math.pi**2 * a * b / length**2, rel=0.02)
    assert found["rectangularity"] == pytest.approx(math.pi / 4, rel=0.02)


@pytest.mark.parametrize(("length", "width"), [(30, 20), (44, 20), (60, 40)])
def test_rectangles(length, width):
    found = mean_of(lambda angle, centre: rectangle(length, width, angle, centre))
    assert found["area"] == pytest.approx(length * width * 0.25**2, rel=0.02)
    assert found["circumference"] == pytest.approx(2 * (length + width) * 0.25, rel=0.02)
    # Second moments of a rectangle: an ellipse of axes 2 / sqrt(3) times its sides.
    assert found["major_axis"] == pytest.approx(2 * length / math.sqrt(3) * 0.25, rel=0.02)
    assert found["rectangularity"] == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("a", [6, 8, 11])
@pytest.mark.parametrize("slenderness", [1.0, 1.25, 1.75])
def test_rectangularity_of_small_nuclei_depends_on_neither_size_nor_slenderness(a, slenderness):
    b = a / slenderness
    round_one = mean_of(lambda angle, centre: ellipse(a, b, angle, centre), draws=60)
    assert round_one["rectangularity"] == pytest.approx(math.pi / 4, rel=0.015)
    square_one = mean_of(lambda angle, centre: rectangle(2 * a, 2 * b, angle, centre), draws=60)
    assert square_one["rectangularity"] == pytest.approx(1, abs=0.04 if a == 6 else 0.02)


def test_rectangularity_of_bars_is_a_share():
    bar, askew, corner = (np.zeros((90, 90), np.int32) for _ in range(3))
    bar[40, 10:70] = 1
    np.fill_diagonal(askew[20:60, 20:60], 1)
    corner[20:60, 20:22] = corner[58:60, 20:60] = 1
    shares = [measure_nuclei(drawn)["rectangularity"][0] for drawn in (bar, askew, corner)]
    assert shares[0] > 0.9
    assert 0.5 < shares[1] <= 1
    assert 0 <= shares[2] < 0.3


def test_shapes_beyond_the_drawn_ones_are_read_by_the_largest():
    assert measure_nuclei(np.ones((900, 700), np.int32))["rectangularity"][0] > 0.99


@pytest.mark.parametrize("kind", ["ellipse", "rectangle"])
def test_the_shipped_standards_are_those_that_the_command_draws(kind):
    surface, shares = standards()
    drawn = drawn_shapes.measured_shapes(kind, 3000, seed=1)
    nodes, weights = surface.corners(drawn[:, 0], drawn[:, 1])
    own = shares[["ellipse", "rectangle"].index(kind)]
    beyond = drawn[:, 2] - (own[nodes] * weights).sum(axis=1)
    assert abs(beyond.mean()) < 4 * beyond.std() / math.sqrt(len(beyond)) < 0.003
    anew = drawn_shapes.fitted_surface(drawn).ravel() - own
    assert np.abs((anew[nodes] * weights).sum(axis=1)).mean() < 0.01


@pytest.mark.parametrize("angle", [0, 17, 45, 90, 123, 179])
def test_orientation_runs_from_the_x_axis_towards_the_y_axis(angle):
    found = measure_nuclei(ellipse(24, 10, angle))["orientation"][0]
    assert abs((found - angle + 90) % 180 - 90) < 1


def test_without_a_scale_lengths_are_pixels_and_density_is_the_count():
    image = ellipse(12, 9, 30, (40.0, 40.0)) + 5 * ellipse(12, 9, 60, (110.0, 100.0))
    plain, scaled = measure_nuclei(image), measure_nuclei(image, mpp=0.5)
    assert plain["nucleus"].tolist() == [1, 5]
    assert plain["density"].tolist() == [2, 2]
    assert scaled["density"][0] == pytest.approx(2 / (SIZE * 0.5 / 1000) ** 2)
    for name, power in {"major_axis": 1, "circumference": 1, "area": 2, "circularity": 0}.items():
        assert scaled[name].to_numpy() == pytest.approx(plain[name].to_numpy() * 0.5**power)
    assert plain["x"].tolist() == pytest.approx([40, 110])
    assert plain["y"].tolist() == pytest.approx([40, 100])


def test_what_touches_the_edge_is_told():
    image = ellipse(12, 9, 0, (2.0, 80.0)) + 2 * ellipse(12, 9, 0)
    assert measure_nuclei(image)["touches_edge"].tolist() == [True, False]


def test_polarity_is_one_where_all_point_one_way_also_across_the_turn():
    xy = np.random.default_rng(0).uniform(0, 100, (30, 2))
    assert polarity(xy, np.where(np.arange(30) % 2, 179.5, 0.5)) == pytest.approx(1, abs=1e-3)
    # A mean angle would be 90 degrees: across all of them.
    chance = polarity(
        np.random.default_rng(1).uniform(0, 1000, (4000, 2)),
        np.random.default_rng(2).uniform(0, 180, 4000),
    )
    assert chance.mean() == pytest.approx(math.sqrt(math.pi / 36), abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_of_too_few_nuclei_there_is_no_polarity(count):
    # By chance alone it would be 1, 0.64, 0.31 in the mean, all above that of nine.
    found = polarity(np.random.default_rng(count).uniform(0, 9, (count, 2)), np.zeros(count))
    assert np.isnan(found).tolist() == [True] * count
    image = ellipse(12, 9, 30, (40.0, 40.0)) + 5 * ellipse(12, 9, 60, (110.0, 100.0))
    assert measure_nuclei(image)["polarity"].isna().all()
    assert measure_nuclei(image, neighbours=1)["polarity"].notna().all()


def test_nothing_and_specks_have_no_rows():
    speck = np.zeros((20, 20), np.int32)
    speck[3, 3:5] = 1
    for image in (np.zeros((20, 20), np.int32), speck):
        frame = measure_nuclei(image, mpp=0.5)
        assert len(frame) == 0
        assert "polarity" in frame.columns


@pytest.mark.parametrize(("image", "mpp"), [(np.zeros((3, 3)), None), (np.zeros((3, 3), int), 0.0)])
def test_what_cannot_be_measured_is_a_sentence(image, mpp):
    with pytest.raises(StatisticsError):
        measure_nuclei(image, mpp=mpp)


def test_numbers_of_nuclei_may_be_as_large_as_they_like():
    image = ellipse(12, 9, 30, (40.0, 40.0)) + 5 * ellipse(12, 9, 60, (110.0, 100.0))
    plain = measure_nuclei(image)
    large = measure_nuclei(np.where(image == 5, 2**31 - 1, image))
    assert large["nucleus"].tolist() == [1, 2**31 - 1]
    assert large.drop(columns="nucleus").equals(plain.drop(columns="nucleus"))
