from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon

from axilla.wsi.masks import inside_mask, patch_mask, polygon_edges

coordinate = st.floats(-20, 60, allow_nan=False, width=32)


def by_shapely(
    polygon: Polygon | MultiPolygon, *, x: int, y: int, width: int, height: int, step: float
) -> np.ndarray:
    across = x + (np.arange(width) + 0.5) * step
    down = y + (np.arange(height) + 0.5) * step
    return shapely.contains_xy(polygon, *np.meshgrid(across, down))


@given(
    st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9),
    st.integers(-9, 9),
    st.sampled_from([0.5, 1.0, 2.25]),
)
def test_mask_equals_shapely_at_pixel_centres(
    points: list[tuple[float, float]], x: int, step: float
) -> None:
    polygon = Polygon(points).buffer(0.3713)
    mask = inside_mask(polygon_edges(polygon), x=x, y=-3, width=31, height=23, step=step)
    expected = by_shapely(polygon, x=x, y=-3, width=31, height=23, step=step)
    centres = np.meshgrid(x + (np.arange(31) + 0.5) * step, -3 + (np.arange(23) + 0.5) * step)
    clear = shapely.distance(polygon.boundary, shapely.points(*centres)) > 1e-9
    np.testing.assert_array_equal(mask[clear] == 1, expected[clear])


def test_a_square_covers_just_its_pixels() -> None:
    mask = inside_mask(polygon_edges(shapely.box(2, 3, 5, 7)), x=0, y=0, width=8, height=9)
    expected = np.zeros((9, 8), np.uint8)
    expected[3:7, 2:5] = 1
    np.testing.assert_array_equal(mask, expected)


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    cut = [(0.0, 0.0), (13.0, 9.0), (4.0, 20.0), (20.0, 31.0)]
    left = Polygon([*cut, (0, 31)])
    right = Polygon([*reversed(cut), (31, 0), (31, 31)])
    masks = [
        inside_mask(polygon_edges(part), x=0, y=0, width=31, height=31) for part in (left, right)
    ]
    assert (masks[0] + masks[1] == 1).all()


@pytest.mark.parametrize("x", [0, 5, 17, -4])
def test_a_windows_mask_is_that_part_of_the_whole(x: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 77, endpoint=False)
    hole = np.column_stack([20 + 5 * np.cos(angle), 20 + 4 * np.sin(angle)])
    shell = np.column_stack([20 + 19 * np.cos(angle), 20 + 17.3 * np.sin(angle)])
    edges = polygon_edges(MultiPolygon([Polygon(shell, [hole]), shapely.box(44, 0, 50, 50)]))
    whole = inside_mask(edges, x=-10, y=-10, width=80, height=80)
    part = inside_mask(edges, x=x, y=7, width=30, height=11)
    np.testing.assert_array_equal(part, whole[17:28, x + 10 : x + 40])


@pytest.mark.parametrize("polygon", [None, Polygon([(-4, 3), (50, 12), (31, 70)])])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (-5, 7), (30, 21)])
@pytest.mark.parametrize("side", [16, 40])
def test_a_patch_s_mask_ends_with_the_image_too(
    polygon: Polygon | None, x: int, y: int, side: int
) -> None:
    edges = None if polygon is None else polygon_edges(polygon)
    found = patch_mask(edges, x=x, y=y, side=side, size=16, image_size=(45, 33))
    middles = (np.arange(16) + 0.5) * side / 16
    for row, column in np.ndindex(16, 16):
        at = (x + middles[column], y + middles[row])
        expected = 0 <= at[0] < 45 and 0 <= at[1] < 33
        if polygon is not None:
            expected = expected and polygon.contains(shapely.Point(at))
        assert found[row, column] == expected
