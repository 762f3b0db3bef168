from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from axilla.core.errors import SlideError
from axilla.wsi import flat, resize, slides
from axilla.wsi.flat_readers import WholeReader
from axilla.wsi.slides import open_slide, slide_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def opened(path: Path) -> slides.SlideReader:
    return open_slide(path, slide_id="s1", patient_id="p1")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_flat_pixels_come_back(drawn: Callable, save_png: Callable, suffix: str) -> None:
    image = drawn(61, 47)
    path = save_png(image, f"image.{suffix}")
    with opened(path) as reader:
        assert reader.size == (61, 47) == slide_size(path, slide_id="s1", patient_id="p1")
        assert reader.mpp is None
        np.testing.assert_array_equal(reader.read(0, 0, 61, 47), image)
        np.testing.assert_array_equal(reader.read(10, 5, 20, 7), image[5:12, 10:30])


def test_jpeg_equals_opencvs(drawn: Callable, save_png: Callable) -> None:
    path = save_png(drawn(61, 47), "image.JPG")
    with opened(path) as reader:
        np.testing.assert_array_equal(reader.read(0, 0, 61, 47), cv2.imread(path)[..., ::-1])


@pytest.mark.parametrize("kind", ["flat", "pyramid"])
def test_outside_is_white(
    drawn: Callable, save_png: Callable, save_pyramid: Callable, kind: str
) -> None:
    image = drawn(300, 280)
    with opened(save_png(image) if kind == "flat" else save_pyramid(image)) as reader:
        got = reader.read(-20, 270, 400, 40)
        expected = np.full((40, 400, 3), 255, np.uint8)
        expected[:10, 20:320] = image[270:]
        np.testing.assert_array_equal(got, expected)
        assert (reader.read(5000, 5000, 8, 8) == 255).all()
        assert (reader.read(-900, -900, 8, 8) == 255).all()


def test_what_is_read_cannot_change_the_slide(drawn: Callable, save_png: Callable) -> None:
    image = drawn(40, 40)
    with opened(save_png(image)) as reader:
        with pytest.raises(ValueError, match="read-only"):
            reader.read(0, 0, 40, 40)[:] = 0
        reader.read(-1, 0, 40, 40)[:] = 0
        reader.thumbnail(100)[0][:] = 0
        np.testing.assert_array_equal(reader.read(0, 0, 40, 40), image)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    bgra = np.zeros((2, 3, 4), np.uint8)
    bgra[..., 0] = 200
    bgra[0, :, 3] = (0, 255, 128)
    bgra[1, :, 3] = 255
    cv2.imwrite(str(tmp_path / "a.png"), bgra)
    with opened(tmp_path / "a.png") as reader:
        got = reader.read(0, 0, 3, 2)
    assert got[0].tolist() == [[255, 255, 255], [0, 0, 200], [127, 127, 227]]
    assert got[1].tolist() == [[0, 0, 200]] * 3


@pytest.mark.parametrize(
    ("dtype", "bits", "said"),
    [(np.uint16, 12, "has 12 bits a colour"), (np.float32, 32, "has 32 bits a colour")],
)
def test_colours_of_other_depths_are_refused(tmp_path, dtype, bits, said):
    """As they are stored, 12 bits of 16 would be nearly black."""
    path = tmp_path / "deep.tif"
    pixels = np.full((40, 30), 2000 if bits == 12 else 0.5, dtype)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    if bits == 12:
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags["BitsPerSample"].overwrite(12)
    with pytest.raises(SlideError, match=said):
        open_slide(path, slide_id="s", patient_id="p")


def test_strips_without_rows_are_damage(tmp_path):
    path = tmp_path / "none.tif"
    tifffile.imwrite(path, np.zeros((40, 30, 3), np.uint8), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["RowsPerStrip"].overwrite(0)
    with pytest.raises(SlideError, match="p"):
        open_slide(path, slide_id="s", patient_id="p")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_of_8_and_16_bits(tmp_path: Path, dtype: type) -> None:
    grey = np.array([[0, 100, 255]], np.uint8)
    cv2.imwrite(str(tmp_path / "g.png"), grey.astype(dtype) * (257 if dtype is np.uint16 else 1))
    with opened(tmp_path / "g.png") as reader:
        assert reader.read(0, 0, 3, 1)[0].tolist() == [[0] * 3, [100] * 3, [255] * 3]


def test_pyramid_says_its_scale(drawn: Callable, save_pyramid: Callable) -> None:
    image = drawn(768, 512)
    path = save_pyramid(image, mpp=0.25)
    with opened(path) as reader:
        assert reader.size == (768, 512) == slide_size(path, slide_id="s1", patient_id="p1")
        assert reader.mpp == pytest.approx(0.25, rel=1e-3)
        np.testing.assert_array_equal(reader.read(100, 90, 300, 260), image[90:350, 100:400])


def test_a_printers_resolution_is_no_scale(drawn: Callable, save_pyramid: Callable) -> None:
    with opened(save_pyramid(drawn(300, 300), mpp=25400 / 72)) as reader:
        assert reader.mpp is None


@pytest.mark.parametrize(
    ("kind", "side"),
    [("flat", 512), ("flat", 96), ("pyramid", 512), ("pyramid", 256), ("pyramid", 128)],
)
def test_resized_is_the_mean_of_its_area(
    drawn: Callable, save_png: Callable, save_pyramid: Callable, kind: str, side: int
) -> None:
    image = drawn(768, 512, white=0)
    with opened(save_png(image) if kind == "flat" else save_pyramid(image)) as reader:
        got = reader.read_resized(64, 0, side, 32)
    step = side // 32
    blocks = image[:side, 64 : 64 + side].reshape(32, step, 32, step, 3)
    # The pyramid's own level was rounded once already.
    assert np.abs(got - blocks.mean(axis=(1, 3))).max() <= 1


def test_resized_reads_the_coarsest_level_that_is_fine_enough(
    drawn: Callable, save_pyramid: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    read_level = slides._OpenSlideReader._read_level

    def spy(self: slides._OpenSlideReader, *window: int) -> np.ndarray:
        levels.append(window[2:])
        return read_level(self, *window)

    monkeypatch.setattr(slides._OpenSlideReader, "_read_level", spy)
    with opened(save_pyramid(drawn(1024, 1024), levels=3)) as reader:
        for side in (64, 127, 128, 200, 256, 512):
            assert reader.read_resized(0, 0, side, 64).shape == (64, 64, 3)
    assert levels == [
        (0, 64, 64), (1, 64, 64), (1, 64, 64), (1, 100, 100), (2, 64, 64), (2, 128, 128),
    ]  # fmt: skip


def test_thumbnail_spans_the_slide(drawn: Callable, save_pyramid: Callable) -> None:
    image = drawn(1000, 600, white=0)
    with opened(save_pyramid(image)) as reader:
        rgb, scale = reader.thumbnail(100)
        assert rgb.shape == (60, 100, 3)
        assert scale == 10
        expected = image.reshape(60, 10, 100, 10, 3).mean(axis=(1, 3))
        assert np.abs(rgb - expected).max() <= 2
        whole, one = reader.thumbnail(5000)
        assert one == 1
        np.testing.assert_array_equal(whole, image)


def test_thumbnail_by_bands_is_the_same(
    drawn: Callable, save_pyramid: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(save_pyramid(drawn(1000, 600))) as reader:
        whole, _ = reader.thumbnail(100)
        monkeypatch.setattr(resize, "_BAND_PX", 500 * 50)
        bands, _ = reader.thumbnail(100)
    assert np.abs(bands.astype(int) - whole).max() <= 1


def check_error(path: Path, *words: str) -> None:
    with pytest.raises(SlideError) as caught:
        opened(path)
    problem = caught.value.problem
    assert problem.patient == "p1"
    assert problem.file == path
    assert problem.remedy
    text = str(caught.value)
    assert "slide s1" in text
    assert all(word in text for word in words)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.98])
def test_cut_short(drawn: Callable, save_png: Callable, suffix: str, kept: float) -> None:
    path = save_png(drawn(301, 201), f"image.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    check_error(path, "Copy or export it again")


@pytest.mark.parametrize("suffix", ["svs", "ndpi", "mrxs", "txt", "jpg", "png", "tif"])
def test_not_an_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slide.{suffix}"
    path.write_text("patient,age\n1,47\n")
    check_error(path)


def test_missing_and_folder(tmp_path: Path) -> None:
    check_error(tmp_path / "none.svs", "does not exist", "`slides:`")
    (tmp_path / "folder.svs").mkdir()
    check_error(tmp_path / "folder.svs", "is a folder")


def test_too_large_to_be_decoded_whole(
    drawn: Callable, save_png: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_png(drawn(61, 47), "image.bmp")
    monkeypatch.setattr(flat, "MAX_WHOLE_PX", 61 * 47 - 1)
    check_error(path, "61 x 47", "it is a BMP", "pyramidal TIFF")


@pytest.mark.parametrize("kind", ["png", "pyramid"])
def test_a_declared_limit_of_pixels(
    drawn: Callable, save_png: Callable, save_pyramid: Callable, kind: str
) -> None:
    image = drawn(300, 280)
    path = save_png(image) if kind == "png" else save_pyramid(image)
    with open_slide(path, slide_id="s1", patient_id="p1", max_px=300 * 280) as reader:
        assert reader.size == (300, 280)
    with pytest.raises(SlideError, match=r"300 x 280 pixels, more than the 83,999 of `max_slide"):
        open_slide(path, slide_id="s1", patient_id="p1", max_px=300 * 280 - 1)


def test_an_image_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """A PNG of 57 bytes that says it has 4 * 10^18 pixels."""
    side = (2**31 - 1).to_bytes(4, "big")
    path = tmp_path / "bomb.png"
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in (
        (b"IHDR", side + side + bytes([8, 2, 0, 0, 0])), (b"IDAT", b""), (b"IEND", b""),
    ):  # fmt: skip
        crc = zlib.crc32(kind + content).to_bytes(4, "big")
        data += len(content).to_bytes(4, "big") + kind + content + crc
    path.write_bytes(data)
    check_error(path, "2,147,483,647 x 2,147,483,647", "`max_slide_px`")


def test_too_wide(drawn: Callable, save_png: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_png(drawn(61, 47))
    monkeypatch.setattr(flat, "MAX_WIDTH_PX", 60)
    check_error(path, "61 pixels wide")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "svs", "ndpi", "dcm", "mrxs"])
def test_an_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slide.{suffix}"
    path.touch()
    check_error(path, "an empty file", "Copy or export it again")


@pytest.mark.parametrize(
    ("dpi", "unit", "mpp"),
    [(50_800, "INCH", 0.5), (10_000, "CENTIMETER", 1.0), (72, "INCH", None), (600, "INCH", None),
     (50_800, "NONE", None), (0, "INCH", None)],
)  # fmt: skip
def test_scale_of_a_flat_tiff(
    drawn: Callable, tmp_path: Path, dpi: int, unit: str, mpp: float | None
) -> None:
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, drawn(40, 30), photometric="rgb", resolution=(dpi, dpi),
                     resolutionunit=unit)  # fmt: skip
    with opened(path) as reader:
        assert isinstance(reader, WholeReader)
        assert reader.mpp == (mpp if mpp is None else pytest.approx(mpp))


def test_a_jpegs_density_is_no_scale(drawn: Callable, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(drawn(40, 30)).save(path, dpi=(50_800, 50_800))
    with opened(path) as reader:
        assert reader.mpp is None


@pytest.mark.real_data
def test_aperio_with_and_without_scale(data_dir: Path) -> None:
    with opened(data_dir / "slides" / "cmu-1-small-region.svs") as reader:
        assert (reader.size, reader.mpp) == ((2220, 2967), 0.499)
    with opened(data_dir / "slides" / "tcga-cr-7395-01a-01-ts1.svs") as reader:
        assert (reader.size, reader.mpp) == ((4443, 3567), None)
        far = reader.read_resized(1000, 1000, 512, 256)
        off = {}
        for x, y in itertools.product(range(996, 1005, 2), repeat=2):
            near = reader.read(x, y, 512, 512).reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
            off[x, y] = np.abs(near - far).mean()
        # The second level is compressed anew, but it lies where the first one does.
        assert min(off, key=off.__getitem__) == (1000, 1000)


@pytest.mark.real_data
def test_broken_slide(data_dir: Path) -> None:
    check_error(data_dir / "slides" / "broken.svs", "does not open")


@pytest.mark.real_data
def test_headers_say_the_size(data_dir: Path) -> None:
    for path in sorted((data_dir / "bcnb" / "regions").glob("389510*.jpg")):
        with opened(path) as reader:
            assert reader.size == slide_size(path, slide_id="s1", patient_id="p1")
    path = data_dir / "ucsb" / "ytma10_010704_benign1_ccd.png"
    assert slide_size(path, slide_id="s1", patient_id="p1") == (896, 768)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_damaged_pyramid_is_an_error_when_opened_or_when_read(
    drawn: Callable, save_pyramid: Callable, kept: float
) -> None:
    path = save_pyramid(drawn(1024, 1024))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with (
        pytest.raises(SlideError, match="patient p1") as caught,
        opened(path) as reader,
    ):
        reader.read(0, 0, 1024, 1024)
    assert caught.value.problem.file == path


def test_a_slide_cut_short_is_found_when_opened(drawn: Callable, save_pyramid: Callable) -> None:
    """OpenSlide opens it: the directories are there, the last tiles are not."""
    path = save_pyramid(drawn(1536, 1536), levels=1)
    data = path.read_bytes()
    path.write_bytes(data[:-1000])
    assert openslide.OpenSlide(path).dimensions == (1536, 1536)
    check_error(path, "its last tiles are missing")


@pytest.mark.real_data
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["cmu-1-small-region", "tcga-cr-7395-01a-01-ts1"])
def test_a_real_slide_cut_short(data_dir: Path, tmp_path: Path, name: str, kept: float) -> None:
    data = (data_dir / "slides" / f"{name}.svs").read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(data[: int(len(data) * kept)])
    check_error(path, "does not open", "incomplete")
