"""Numbers of nuclei as large as files like, and tables by number as small as the map."""

import numpy as np
import pytest

from axilla.nuclei.numbering import numbered

LARGE = 2**31 - 1


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64])
def test_large_numbers_become_small_ones_in_their_order(kind):
    instances = np.zeros((30, 40), kind)
    instances[2:8, 2:8], instances[2:8, 20:26], instances[20:26, 2:8] = LARGE, 7, LARGE - 1
    found, names = numbered(instances)
    assert names.tolist() == [0, 7, LARGE - 1, LARGE]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(names[found], instances)


def test_small_numbers_stay_as_they_are():
    instances = np.zeros((30, 40), np.int32)
    instances[2:8, 2:8] = 75  # 1,200 pixels over 16
    found, names = numbered(instances)
    assert found is instances
    assert names.tolist() == list(range(76))
    instances[2:8, 2:8] = 76
    found, names = numbered(instances)
    assert (found.max(), names.tolist()) == (1, [0, 76])


def test_what_nobody_knows_stays_unknown():
    instances = np.full((6, 6), -1, np.int32)
    instances[2:4, 2:4] = LARGE
    found, names = numbered(instances)
    assert np.unique(found).tolist() == [-1, 1]
    assert names.tolist() == [0, LARGE]


def test_nothing_has_no_numbers():
    for shape in ((0, 0), (4, 4)):
        found, names = numbered(np.zeros(shape, np.int32))
        assert found.shape == shape
        assert names.tolist() == [0]
