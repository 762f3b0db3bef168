"""Outlines enclose the pixels that they are drawn around."""

import numpy as np
import pytest
from scipy import ndimage
from shapely.geometry import Point, Polygon

from axilla.nuclei.outlines import outlines


def test_a_disc_and_a_square():
    instances = np.zeros((60, 80), np.int32)
    rows, columns = np.mgrid[:60, :80]
    instances[(rows - 30) ** 2 + (columns - 20) ** 2 <= 12**2] = 3
    instances[10:20, 50:56] = 7
    found = dict(outlines(instances))
    assert list(found) == [3, 7]
    disc, square = (Polygon(ring) for ring in found.values())
    assert disc.area == pytest.approx((instances == 3).sum(), rel=0.01)
    assert (disc.centroid.x, disc.centroid.y) == pytest.approx((20.5, 30.5), abs=0.05)
    assert square.bounds == (50, 10, 56, 20)
    assert square.area == pytest.approx(60, abs=0.5)  # four corners are cut by an eighth


def test_no_pixel_s_middle_changes_sides():
    rng = np.random.default_rng(5)
    instances, count = ndimage.label(ndimage.gaussian_filter(rng.random((90, 110)), 3) > 0.51)
    found = dict(outlines(instances.astype(np.int32)))
    assert sorted(found) == list(range(1, count + 1))
    for number, ring in found.items():
        own = ndimage.binary_fill_holes(instances == number)
        shape = Polygon(ring).buffer(0)
        x0, y0, x1, y1 = shape.bounds
        for y in range(int(y0), int(y1) + 1):
            for x in range(int(x0), int(x1) + 1):
                inside = x < 110 and y < 90 and bool(own[y, x])
                assert shape.contains(Point(x + 0.5, y + 0.5)) == inside


def test_numbers_may_be_as_large_as_they_like():
    instances = np.zeros((60, 80), np.int32)
    instances[10:20, 50:56], instances[30:40, 5:9] = 2**31 - 1, 2**31 - 2
    found = dict(outlines(instances))
    assert [(n, Polygon(ring).bounds) for n, ring in found.items()] == [
        (2**31 - 2, (5, 30, 9, 40)), (2**31 - 1, (50, 10, 56, 20)),
    ]  # fmt: skip


def test_nothing_has_no_outline():
    assert list(outlines(np.zeros((5, 5), np.int32))) == []
