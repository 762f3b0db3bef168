import numpy as np
import pytest
import pyvips
import tifffile

from axilla.core import store
from axilla.core.errors import WriteError

TILE = 32


def levels_of(*shapes, seed=0):
    """Levels of random tiles, every second one empty; and the same put together."""
    rng = np.random.default_rng(seed)
    levels, images = [], []
    for rows, columns in shapes:
        down, across = -(-rows // TILE), -(-columns // TILE)
        tiles = [
            rng.normal(size=(TILE, TILE)).astype("f4") if i % 2 == 0 else None
            for i in range(down * across)
        ]
        blank = np.full((TILE, TILE), np.nan, "f4")
        full = [blank if tile is None else tile for tile in tiles]
        bands = [np.hstack(full[i : i + across]) for i in range(0, len(full), across)]
        images.append(np.vstack(bands)[:rows, :columns])
        levels.append(((rows, columns), tiles))
    return levels, images


def write(path, levels, *, mpp=0.5, identity="a"):
    store.write_overlay(
        path, levels, tile=TILE, channel="Attention", description="Patches of 256 µm & more",
        identity=identity, microns_per_px=mpp,
    )  # fmt: skip


SHAPES = ((150, 201), (75, 101), (38, 51), (19, 26))


def test_it_is_read_back_level_by_level(tmp_path):
    path = tmp_path / "a.ome.tif"
    levels, images = levels_of(*SHAPES)
    write(path, levels)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        (series,) = file.series
        assert (series.axes, series.dtype) == ("YX", np.float32)
        assert [level.shape for level in series.levels] == list(SHAPES)
        for level, image in zip(series.levels, images, strict=True):
            np.testing.assert_array_equal(level.asarray(), image)
        (page,) = file.pages
        pages = [page, *page.pages]
        assert len(page.tags["SubIFDs"].value) == 3, "smaller levels are not further images"
        assert all(p.tile == (TILE, TILE) for p in pages)
        assert {p.compression.name for p in pages} == {"ADOBE_DEFLATE"}
        # 0.5, 1, 2 and 4 µm a pixel.
        assert [p.tags["XResolution"].value[0] / p.tags["XResolution"].value[1] for p in pages] == [
            20_000, 10_000, 5_000, 2_500,
        ]  # fmt: skip


def test_another_library_reads_it_too(tmp_path):
    """libtiff, through pyvips: the tiles that share one place, and the SubIFDs."""
    path = tmp_path / "a.ome.tif"
    levels, images = levels_of(*SHAPES)
    write(path, levels)
    for number, image in enumerate(images):
        which = {} if number == 0 else {"subifd": number - 1}
        found = pyvips.Image.new_from_file(str(path), **which).numpy()
        np.testing.assert_array_equal(found, image)


def test_what_the_header_says(tmp_path):
    levels, _ = levels_of(*SHAPES)
    for mpp in (0.5, None):
        path = tmp_path / f"{mpp}.ome.tif"
        write(path, levels, mpp=mpp)
        with tifffile.TiffFile(path) as file:
            image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = image["Pixels"]
        assert image["Description"] == "Patches of 256 µm & more"
        assert pixels["Channel"]["Name"] == "Attention"
        assert (pixels["SizeX"], pixels["SizeY"], pixels["SizeC"]) == (201, 150, 1)
        assert pixels["Type"] == "float"
        told = [pixels.get(f"PhysicalSize{axis}") for axis in "XY"]
        assert told == [mpp, mpp]
        assert pixels.get("PhysicalSizeXUnit") == (None if mpp is None else "µm")


def test_empty_tiles_are_stored_once(tmp_path):
    """A slide of 100,000 px at level 0 has 38,000 tiles, nearly all of them empty."""
    side = 200 * TILE
    tiles = [None] * 200**2
    tiles[7] = np.ones((TILE, TILE), "f4")
    path = tmp_path / "a.ome.tif"
    write(path, [((side, side), iter(tiles))])
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert len(set(page.dataoffsets)) == 2
        image = page.asarray()
    assert path.stat().st_size < 1_000_000
    assert np.isfinite(image).sum() == TILE**2
    assert (image[:TILE, 7 * TILE : 8 * TILE] == 1).all()


def test_the_same_is_written_byte_for_byte(tmp_path):
    contents = []
    for number, identity in enumerate("aab"):
        path = tmp_path / f"{number}.ome.tif"
        write(path, levels_of(*SHAPES)[0], identity=identity)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2], "each file has an identity of its own"


def test_a_level_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.ome.tif"
    levels, _ = levels_of(*SHAPES)
    write(path, levels)
    before = path.read_bytes()

    def broken():
        yield from levels[0][1][:3]
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="the disk is full"):
        write(path, [(SHAPES[0], broken())])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
