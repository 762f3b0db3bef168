"""Large flat images by strips: the pixels of whole decoding, in a fraction of its memory."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image

from axilla.core.config import Patches
from axilla.core.errors import SlideError
from axilla.core.types import Slide
from axilla.wsi import flat_readers
from axilla.wsi.flat import decode_flat, flat_header
from axilla.wsi.flat_readers import MappedReader, StreamedReader, WholeReader, open_flat
from axilla.wsi.patches import PatchReader, cut_patches
from axilla.wsi.regions import find_regions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from axilla.wsi.slides import SlideReader

WIDTH, HEIGHT = 331, 517


@pytest.fixture
def all_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of any size are read by strips where their format allows it."""
    monkeypatch.setattr(flat_readers, "STREAM_ABOVE_PX", 0)


def opened(path: Path) -> SlideReader:
    return open_flat(path, slide_id="s1", patient_id="p1")


def tissue(drawn: Callable) -> np.ndarray:
    """Smooth blotches with noise: what a JPEG's chroma is subsampled from."""
    noise = drawn(WIDTH, HEIGHT, white=6)
    return cv2.addWeighted(cv2.GaussianBlur(noise, (0, 0), 4), 1.4, noise, 0.2, -90)


def jpeg(subsampling: str) -> Callable[[Path, np.ndarray], None]:
    return lambda path, image: void(
        path.write_bytes(simplejpeg.encode_jpeg(image, 80, colorsubsampling=subsampling))
    )


def pil(mode: str = "RGB", **how: object) -> Callable[[Path, np.ndarray], None]:
    return lambda path, image: Image.fromarray(image).convert(mode).save(path, **how)


def void(_: object) -> None:
    """Nothing."""


def alpha_png(path: Path, image: np.ndarray) -> None:
    alpha = np.where(image[..., 1] > 150, 90, 255).astype(np.uint8)
    Image.fromarray(np.dstack([image, alpha])).save(path)


def deep_png(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), image[..., ::-1].astype(np.uint16) * 256 + 77)


def tiff(rows: int, **how: object) -> Callable[[Path, np.ndarray], None]:
    return lambda path, image: void(
        tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=rows, **how)
    )


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "444.jpg": jpeg("444"), "422.jpg": jpeg("422"), "420.jpg": jpeg("420"), "440.jpg": jpeg("440"),
    "411.jpg": jpeg("411"), "grey.jpg": pil("L"), "restarts.jpg": pil(restart_marker_rows=1),
    "rgb.jpg": pil(keep_rgb=True), "rgb.png": pil(), "grey.png": pil("L"), "palette.png": pil("P"),
    "one-bit.png": pil("1"), "grey-alpha.png": pil("LA"), "alpha.png": alpha_png,
    "16-bit.png": deep_png, "one-strip.tif": tiff(HEIGHT), "strips.tif": tiff(20),

    "long-lzw.tif": pil(compression="tiff_lzw", strip_size=200 * WIDTH * 3),
    "odd-strips.tif": tiff(37, compression="zlib"), "long-strips.tif": tiff(200),
    "lzw.tif": pil(compression="tiff_lzw"), "jpeg.tif": pil(compression="jpeg"),
    "grey.tif": pil("L"), "palette.tif": pil("P"),
}  # fmt: skip
MAPPED = {"one-strip.tif", "strips.tif", "long-strips.tif", "grey.tif"}
"""TIFF without compression: its pixels are read where they lie."""


@pytest.mark.usefixtures("all_stream")
@pytest.mark.parametrize("name", WRITERS)
def test_pixel_for_pixel_the_whole_image(drawn: Callable, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, tissue(drawn))
    whole = decode_flat(path, slide_id="s1", patient_id="p1")
    assert whole.std() > 5
    with opened(path) as reader:
        assert isinstance(reader, MappedReader if name in MAPPED else StreamedReader)
        assert reader.size == (WIDTH, HEIGHT)
        # From top to bottom, a jump ahead, back to the top, over the edges.
        for y, height in ((0, 50), (50, 100), (301, 150), (290, 10), (500, 30), (3, 40), (-9, 600)):
            expected = np.full((height, WIDTH + 20, 3), 255, np.uint8)
            top, bottom = max(y, 0), min(y + height, HEIGHT)
            expected[top - y : bottom - y, 10:-10] = whole[top:bottom]
            np.testing.assert_array_equal(reader.read(-10, y, WIDTH + 20, height), expected)
        assert (reader.read(0, HEIGHT, 8, 8) == 255).all()


@pytest.mark.usefixtures("all_stream")
@pytest.mark.parametrize(
    ("name", "write", "why"),
    [
        ("a.jpg", pil(progressive=True), "progressive"),
        ("a.jpg", pil("CMYK"), "CMYK"),
        ("a.bmp", pil(), "BMP"),
        ("a.tif", pil("RGBA"), "other colours"),
        ("a.tif", pil("CMYK"), "other colours"),
        ("a.tif", lambda path, image: void(
            tifffile.imwrite(path, image.transpose(2, 0, 1), photometric="rgb",
                             planarconfig="separate")), "one after the other"),
    ],
)  # fmt: skip
def test_what_must_be_decoded_whole_says_why(
    drawn: Callable, tmp_path: Path, name: str, write: Callable, why: str
) -> None:
    path = tmp_path / name
    write(path, tissue(drawn))
    header = flat_header(path, slide_id="s1", patient_id="p1")
    assert header.whole is not None
    assert why in header.whole
    with opened(path) as reader:
        assert isinstance(reader, WholeReader)
        assert reader.read(0, 0, WIDTH, HEIGHT).shape == (HEIGHT, WIDTH, 3)


def test_small_images_are_decoded_whole(drawn: Callable, save_png: Callable) -> None:
    with opened(save_png(drawn(61, 47))) as reader:
        assert isinstance(reader, WholeReader)


@pytest.mark.usefixtures("all_stream")
@pytest.mark.parametrize("mode", ["whole", "tissue"])
@pytest.mark.parametrize("mpp", [None, 1.0])
def test_patches_are_those_of_whole_decoding(
    drawn: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, mpp: float | None
) -> None:
    path = tmp_path / "s1.jpg"
    image = np.full((600, 800, 3), 255, np.uint8)
    image[40:260, 60:300] = drawn(240, 220, white=2) // [1, 2, 1]
    image[200:580, 500:780] = drawn(280, 380, seed=1, white=2) // [1, 2, 1]
    path.write_bytes(simplejpeg.encode_jpeg(image.astype(np.uint8), 90))
    slide = Slide("s1", "p1", (path,), table_mpp=None if mpp is None else 0.5)
    config = Patches(size=32, mpp=mpp)

    def cut() -> tuple[np.ndarray, np.ndarray]:
        regions = find_regions(slide, mode=mode)
        grid = cut_patches(slide, regions, config=config)
        with PatchReader(slide, grid, regions, config) as reader:
            return np.column_stack([grid.region, grid.xy]), reader.read_all()

    places, pixels = cut()
    monkeypatch.setattr(flat_readers, "STREAM_ABOVE_PX", 2**26)
    whole_places, whole_pixels = cut()
    assert len(places) > 20
    np.testing.assert_array_equal(places, whole_places)
    np.testing.assert_array_equal(pixels, whole_pixels)


@pytest.mark.usefixtures("all_stream")
def test_a_grid_is_read_in_one_pass(
    drawn: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s1.jpg"
    path.write_bytes(simplejpeg.encode_jpeg(drawn(640, 512, white=0), 90))
    slide = Slide("s1", "p1", (path,))
    regions = find_regions(slide, mode="whole")
    opens: Counter[str] = Counter()
    load = flat_readers.StripReader._open

    def counting(self: flat_readers.StripReader) -> object:
        opens["opened"] += 1
        return load(self)

    monkeypatch.setattr(flat_readers.StripReader, "_open", counting)
    grid = cut_patches(slide, regions, config=Patches(size=64))
    assert (len(grid), opens["opened"]) == (80, 1)
    with PatchReader(slide, grid, regions, Patches(size=64)) as reader:
        mixed = np.random.default_rng(0).permutation(80)
        pixels = reader.read(mixed)
        assert opens["opened"] == 2
    x, y = grid.xy[mixed[7]]
    whole = decode_flat(path, slide_id="s1", patient_id="p1")
    np.testing.assert_array_equal(pixels[7], whole[y : y + 64, x : x + 64])


@pytest.mark.usefixtures("all_stream")
@pytest.mark.parametrize("name", ["420.jpg", "rgb.png", "grey.tif"])
def test_thumbnail_by_strips(
    drawn: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    WRITERS[name](path, tissue(drawn))
    whole = WholeReader(decode_flat(path, slide_id="s1", patient_id="p1"), mpp=None)
    monkeypatch.setattr("axilla.wsi.resize._BAND_PX", WIDTH * 47)
    with opened(path) as reader:
        for side in (1000, 517, 100):
            got, scale = reader.thumbnail(side)
            expected, same = whole.thumbnail(side)
            assert scale == same
            assert got.shape == expected.shape
            # The rows at the bands' edges are split at whole rows.
            assert np.abs(got.astype(int) - expected).mean() < 1.0


@pytest.mark.usefixtures("all_stream")
@pytest.mark.parametrize("name", ["420.jpg", "rgb.png", "strips.tif", "odd-strips.tif"])
@pytest.mark.parametrize("kept", [0.3, 0.98])
def test_cut_short(drawn: Callable, tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    WRITERS[name](path, tissue(drawn))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SlideError, match=r"patient p1.*damaged, cut short") as caught:
        opened(path)
    assert caught.value.problem.file == path


@pytest.mark.usefixtures("all_stream")
@pytest.mark.parametrize("name", ["420.jpg", "rgb.png"])
def test_damage_in_the_midst_is_an_error_when_read(
    drawn: Callable, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    WRITERS[name](path, tissue(drawn))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = b"\xff\xd7\x00\x11" * 75
    path.write_bytes(data)
    with opened(path) as reader:
        reader.read(0, 0, 10, 10)
        with pytest.raises(SlideError, match=r"patient p1.*damaged, cut short"):
            reader.read(0, 0, WIDTH, HEIGHT)


MEASURE = """
import sys
from pathlib import Path
from axilla.core.config import Patches
from axilla.core.types import Slide
from axilla.wsi.patches import cut_patches
from axilla.wsi.regions import find_regions
# Not getrusage: a new process begins with its parent's peak there.
status = Path("/proc/self/status")
peak = lambda: int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
before = peak()
slide = Slide("s1", "p1", (Path(sys.argv[1]),))
grid = cut_patches(slide, find_regions(slide, mode="whole"), config=Patches())
print(len(grid), peak() - before)
"""


def test_peak_memory_of_a_large_jpeg(drawn: Callable, tmp_path: Path) -> None:
    """67.2 megapixels are 202 MB decoded; cut by strips they take less than a third."""
    tile = cv2.GaussianBlur(drawn(820, 820, white=0), (0, 0), 3)
    path = tmp_path / "large.jpg"
    path.write_bytes(simplejpeg.encode_jpeg(np.tile(tile, (10, 10, 1)), 70))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True
    )
    patches, megabytes = done.stdout.split()
    assert int(patches) == 32 * 32
    assert float(megabytes) < 60


@pytest.mark.real_data
@pytest.mark.usefixtures("all_stream")
@pytest.mark.parametrize("name", ["351899_2", "389510_1", "389510_2"])
def test_real_regions_pixel_for_pixel(data_dir: Path, name: str) -> None:
    path = data_dir / "bcnb" / "regions" / f"{name}.jpg"
    with opened(path) as reader:
        assert isinstance(reader, StreamedReader)
        width, height = reader.size
        got = np.concatenate(
            [reader.read(0, y, width, min(256, height - y)) for y in range(0, height, 256)]
        )
    np.testing.assert_array_equal(got, decode_flat(path, slide_id="s1", patient_id="p1"))
