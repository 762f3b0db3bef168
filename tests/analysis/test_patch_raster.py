import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axilla.analysis.patch_raster import PATCH_PX, TILE_PX, patch_raster


def whole(raster, level):
    """A level put together from its tiles, and how many of them were empty."""
    rows, columns = raster.shape(level)
    across = -(-columns // TILE_PX)
    tiles = list(raster.tiles(level))
    assert len(tiles) == across * -(-rows // TILE_PX)
    blank = np.full((TILE_PX, TILE_PX), np.nan, np.float32)
    full = [blank if tile is None else tile for tile in tiles]
    bands = [np.hstack(full[i : i + across]) for i in range(0, len(full), across)]
    return np.vstack(bands)[:rows, :columns], sum(tile is None for tile in tiles)


def oracle(xy, values, *, side, size, step):
    """Pixel by pixel, as `PatchRaster` says."""
    width, height = size
    out = np.full((-(-height // step), -(-width // step)), np.nan, np.float32)
    centres = np.asarray(xy, dtype=float) + side / 2
    for row, column in np.ndindex(out.shape):
        low = np.array([column, row]) * step
        if step < side:
            # Of a patch whose centre is between two pixels the second one is nearer.
            distance = np.abs(centres + 1 / 8 - (low + step / 2)).max(axis=1)
            inside = ((xy <= low + step / 2) & (low + step / 2 < xy + side)).all(axis=1)
            if inside.any():
                out[row, column] = values[np.argmin(np.where(inside, distance, np.inf))]
        else:
            here = ((low <= centres) & (centres < low + step)).all(axis=1)
            if here.any():
                out[row, column] = np.mean(values[here], dtype=float)
    return out


@given(seed=st.integers(0, 10_000), side=st.sampled_from([8, 12, 31, 32]), n=st.integers(1, 25))
def test_every_pixel_is_that_of_the_slow_way(seed, side, n):
    rng = np.random.default_rng(seed)
    xy = rng.integers(-side // 2, 60, (n, 2))
    values = rng.normal(size=n).astype(np.float32)
    raster = patch_raster(xy, values=values, size_level0=side, width=70, height=51)
    raster = type(raster)(raster.xy, raster.values, side, 70, 51, (1, 2, 4, 8, 16, 32, 64))
    for level, step in enumerate(raster.downsamples):
        found, _ = whole(raster, level)
        expected = oracle(xy, values, side=side, size=(70, 51), step=step)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_no_edge_is_cut_and_a_patch_has_pixels_enough():
    grid = np.array([(x, y) for x in range(3) for y in range(3)]) * 256
    values = np.arange(9.0)

    def downsamples(xy, size_level0=256, width=90_000):
        raster = patch_raster(
            xy, values=values, size_level0=size_level0, width=width, height=50_000
        )
        return raster.downsamples

    assert downsamples(grid) == (16, 32, 64, 128, 256)
    assert downsamples(grid + 40)[0] == 8
    assert downsamples(grid + np.array([40, 37]))[0] == 1
    assert downsamples(grid // 256 * 240, 240)[0] == 240 // PATCH_PX
    # 513 px, as a target µm/px gives it: 27 is the largest divisor that leaves 16 pixels.
    assert downsamples(grid // 256 * 513, 513)[0] == 27
    assert downsamples(grid // 32, 8)[0] == 1
    # The last level is a tile.
    assert downsamples(grid, width=400 * 16) == (16, 32, 64, 128)
    assert downsamples(np.zeros((9, 2)), width=TILE_PX * 16)[-1] * TILE_PX >= 50_000


def test_the_centre_of_every_patch_has_its_value_at_every_level():
    """Also where the last column was moved inwards over the one before (`edge: shift`)."""
    rng = np.random.default_rng(3)
    columns = np.append(np.arange(0, 5_000, 128), 5_000 - 128 - 19)
    xy = np.array([(x + 19, y + 5) for y in range(0, 3_000, 128) for x in columns])
    values = rng.normal(size=len(xy)).astype(np.float32)
    raster = patch_raster(xy, values=values, size_level0=128, width=5_100, height=3_200)
    assert raster.downsamples == (1, 2, 4, 8, 16)
    x, y = (xy + 64).T
    for level, step in enumerate(raster.downsamples):
        pixels, _ = whole(raster, level)
        own = pixels[y // step, x // step]
        np.testing.assert_array_equal(own, values)


def test_patches_without_a_value_and_tiles_without_a_patch():
    xy = np.array([[0, 0], [256, 0], [40 * 256, 30 * 256]])
    raster = patch_raster(
        xy, values=[1.0, np.nan, 2.0], size_level0=256, width=100_000, height=90_000
    )
    pixels, empty = whole(raster, 0)
    assert raster.shape(0) == (5_625, 6_250)
    assert empty == 11 * 13 - 2
    assert np.isfinite(pixels).sum() == 2 * 16**2
    assert (pixels[:16, :16] == 1).all()
    assert np.isnan(pixels[:16, 16:32]).all()
    nothing = patch_raster(xy, values=[np.nan] * 3, size_level0=256, width=900, height=900)
    assert nothing.downsamples[0] == 16
    assert list(nothing.tiles(0)) == [None]


@pytest.mark.parametrize("side", [16, 20])
def test_patches_smaller_than_a_pixel_are_averaged(side):
    xy = np.array([(x, y) for x in range(0, 80, 20) for y in range(0, 80, 20)])
    values = np.arange(16.0)
    raster = patch_raster(xy, values=values, size_level0=side, width=80, height=80)
    coarse = type(raster)(raster.xy, raster.values, side, 80, 80, (80,))
    pixels, _ = whole(coarse, 0)
    assert pixels.tolist() == [[7.5]]
