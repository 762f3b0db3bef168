"""Bags of nucleus features: values of a slide, bins of the training cohort, histograms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from axilla.core.types import MicronsPerPixel
from axilla.nuclei.feature_bags import (
    FEATURES,
    Bins,
    feature_bag,
    feature_values,
    fix_bins,
    patch_nuclei,
)


def squares(*corners: tuple[int, int], side: int = 6, shape: tuple[int, int] = (40, 40)):
    found = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(corners, start=1):
        found[y : y + side, x : x + side] = number
    return found


def slide(values: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(values, dtype=np.float64) for name in FEATURES}


def test_a_nucleus_that_the_edge_cuts_is_not_measured_and_counts_half():
    nuclei, density = patch_nuclei(squares((10, 10), (20, 25), (0, 30)), mpp=MicronsPerPixel(0.5))
    assert nuclei["nucleus"].tolist() == [1, 2]
    # 2.5 nuclei on 20 x 20 µm.
    assert density == pytest.approx(2.5 / 0.0004)
    assert nuclei["area"].tolist() == [9.0, 9.0]


def test_without_a_scale_the_density_is_by_patch():
    _, density = patch_nuclei(squares((10, 10), (20, 25)), mpp=None)
    assert density == 2


@pytest.mark.parametrize("mpp", [None, MicronsPerPixel(0.5)])
def test_an_enlarged_patch_measures_the_same(mpp):
    own = squares((10, 10), (20, 25), (0, 30))
    nuclei, density = patch_nuclei(own, mpp=mpp)
    fine, also = patch_nuclei(np.kron(own, np.ones((4, 4), np.int32)), mpp=mpp, enlarged=4)
    assert also == pytest.approx(density)
    for column in ("major_axis", "minor_axis", "area"):
        assert fine[column] == pytest.approx(nuclei[column], rel=0.01)


def test_an_empty_patch_has_no_density():
    nuclei, density = patch_nuclei(squares(), mpp=None)
    assert (len(nuclei["nucleus"]), density) == (0, 0)


@pytest.mark.parametrize("enlarged", [1, 2])
def test_a_nucleus_that_the_outline_cuts_is_not_measured_and_the_area_is_inside(enlarged):
    # Beside what is outside, a pixel from it, two pixels from it, and far from it.
    own = squares((3, 24), (12, 23), (22, 22), (22, 5))
    inside = np.ones((40, 40), np.uint8)
    inside[:, 30:] = 0
    fine = np.kron(own, np.ones((enlarged, enlarged), np.int32))
    for mpp, area in ((MicronsPerPixel(0.5), 30 * 40 * 0.0005**2), (None, 0.75)):
        nuclei, density = patch_nuclei(fine, mpp=mpp, enlarged=enlarged, inside=inside)
        assert nuclei["nucleus"].tolist() == [3, 4]
        assert density == pytest.approx((2 + 2 / 2) / area)
    everywhere = patch_nuclei(fine, mpp=None, enlarged=enlarged, inside=np.ones_like(inside))
    assert everywhere[0]["nucleus"].tolist() == [1, 2, 3, 4]
    assert everywhere[1] == 4


def test_values_take_the_common_direction_for_the_orientation():
    nuclei, _ = patch_nuclei(squares((10, 10), (20, 25)), mpp=None)
    nuclei["polarity"] = np.array([0.4, 0.2])
    found = feature_values(nuclei, np.array([2.0, 0.0]))
    assert set(found) == set(FEATURES)
    np.testing.assert_array_equal(found["orientation"], nuclei["polarity"])
    np.testing.assert_array_equal(found["density"], [2.0, 0.0])


def test_a_nucleus_without_neighbours_has_no_common_direction():
    nuclei, _ = patch_nuclei(squares((10, 10), (20, 25)), mpp=None)
    nuclei["polarity"] = np.array([np.nan, 0.2])
    assert feature_values(nuclei, np.array([1.0]))["orientation"].tolist() == [0.2]


def test_bins_span_the_training_cohort_and_every_slide_counts_the_same():
    few, many = slide([0.0] * 10), slide([10.0] * 1_000)
    bins = fix_bins([few, many], bins=4)
    np.testing.assert_allclose(bins.edges["area"], [0, 2.5, 5, 7.5, 10])
    # Were each nucleus to count, the few would lie below the first percentile.
    assert bins.edges["area"][0] == 0


def test_outliers_do_not_stretch_the_bins():
    bins = fix_bins([slide([*np.linspace(0, 1, 999), 1e6])], bins=2)
    assert bins.edges["area"][-1] == pytest.approx(0.99, abs=0.01)


def test_a_feature_of_one_value_has_bins_all_the_same():
    bins = fix_bins([slide([3.0, 3.0])], bins=2)
    np.testing.assert_array_equal(bins.edges["area"], [3, 3.5, 4])
    none = fix_bins([slide([])], bins=2)
    np.testing.assert_array_equal(none.edges["area"], [0, 0.5, 1])


def test_a_bag_is_a_histogram_a_feature_with_its_name():
    bins = Bins({name: np.array([0.0, 1.0, 2.0]) for name in FEATURES})
    bag = feature_bag(slide([0.5, 1.5, 1.7, -9.0, 99.0]), bins)
    assert (bag.shape, bag.dtype, bins.length) == ((8, 10), np.float32, 10)
    # What lies outside is in the end bins.
    np.testing.assert_allclose(bag[:, :2], np.tile([[0.4, 0.6]], (8, 1)))
    np.testing.assert_array_equal(bag[:, 2:], np.eye(8))


def test_a_slide_without_nuclei_has_shares_of_nought():
    bins = Bins({name: np.array([0.0, 1.0, 2.0]) for name in FEATURES})
    bag = feature_bag(feature_values(pd.DataFrame(columns=[*FEATURES, "polarity"]), np.zeros(0)),
                      bins)  # fmt: skip
    np.testing.assert_array_equal(bag[:, :2], 0)


def test_edges_go_into_the_record():
    bins = Bins({"area": np.array([0.0, 1.0])})
    assert bins.to_json() == {"area": [0.0, 1.0]}
