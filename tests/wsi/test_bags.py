from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axilla.core.config import Bags
from axilla.wsi.bags import cover_bags, draw_bags

patches = st.integers(0, 500)
sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)


@given(patches, sizes, seeds)
def test_draw_bags_are_disjoint_and_of_the_papers_number(n: int, size: int, seed: int) -> None:
    bags = draw_bags(n, config=Bags(size=size), rng=np.random.default_rng(seed))
    lengths = [len(bag) for bag in bags]
    if n >= size:
        assert lengths == [size] * (n // size)
    else:
        assert lengths == ([n] if n else [])
    drawn = np.concatenate(bags) if bags else np.array([], dtype=int)
    assert len(np.unique(drawn)) == len(drawn)
    assert set(drawn.tolist()) <= set(range(n))
    assert all(bag.dtype == np.int64 for bag in bags)


@given(patches, sizes, seeds)
def test_cover_bags_hold_every_patch(n: int, size: int, seed: int) -> None:
    bags = cover_bags(n, config=Bags(size=size), rng=np.random.default_rng(seed))
    assert len(bags) == -(-n // size)
    assert all(len(bag) == min(n, size) for bag in bags)
    assert all(len(np.unique(bag)) == len(bag) for bag in bags)
    counts = np.bincount(np.concatenate(bags), minlength=n) if bags else np.zeros(n)
    assert len(counts) == n
    assert ((counts >= 1) & (counts <= 2)).all()


def test_the_generator_decides() -> None:
    first, again = (draw_bags(57, config=Bags(), rng=np.random.default_rng(8888)) for _ in range(2))
    other = draw_bags(57, config=Bags(), rng=np.random.default_rng(1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("left", [50, 57])
def test_left_over_patches_change_with_the_draw(left: int) -> None:
    rng = np.random.default_rng(0)
    seen = {
        int(i) for _ in range(50) for bag in draw_bags(left, config=Bags(), rng=rng) for i in bag
    }
    assert seen == set(range(left))
