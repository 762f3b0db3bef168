"""Images to train on, with what lies beside them."""

import cv2
import numpy as np
import pytest
from PIL import Image

from axilla.core.errors import AnnotationError, SlideError
from axilla.nuclei.augmentation import draw_sample
from axilla.nuclei.material import image_of, outlined_files
from axilla.study import nuclei_training
from axilla.study.nuclei_training import read_outlined, read_pixels

SHAPE = (20, 30)


def put(folder, name, *, nuclei=".npz", shape=SHAPE):
    """An image of this name, and an instance map beside it unless that is None."""
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    image = folder / name
    Image.fromarray(pixels).save(image)
    instances = np.zeros(shape, np.uint16)
    instances[4:9, 10:20] = 3
    if nuclei == ".npz":
        np.savez_compressed(image.with_suffix(nuclei), inst_map=instances)
    elif nuclei == ".npy":
        np.save(image.with_suffix(nuclei), instances)
    return image


def test_a_folder_gives_every_image_with_a_map(tmp_path):
    folder = tmp_path / "tiles"
    put(folder, "b.png")
    put(folder, "a.TIF", nuclei=".npy")
    put(folder, "c.jpg")
    put(folder, "lone.png", nuclei=None)
    np.savez(folder / "d.npz", inst_map=np.zeros(SHAPE, int))
    (folder / "notes.txt").write_text("none", encoding="utf-8")
    assert outlined_files([folder]) == [
        (folder / "a.TIF", folder / "a.npy"),
        (folder / "b.png", folder / "b.npz"),
        (folder / "c.jpg", folder / "c.npz"),
    ]


def test_images_and_folders_in_the_order_given(tmp_path):
    one, two = put(tmp_path / "z", "one.png"), put(tmp_path / "a", "two.tiff")
    found = outlined_files([one, tmp_path / "a"])
    assert found == [(one, one.with_suffix(".npz")), (two, two.with_suffix(".npz"))]
    assert outlined_files([]) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lone/lone.png", "has no instance map beside it. Lay <name>.npz"),
        ("lone", "has no outlined image"),
        ("empty", "has no outlined image"),
        ("lost.png", "has no outlined image"),
        ("good/one.npz", "has no instance map beside it"),
    ],
)
def test_what_has_no_map_is_a_sentence(tmp_path, name, said):
    put(tmp_path / "lone", "lone.png", nuclei=None)
    good = put(tmp_path / "good", "one.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match=said) as raised:
        outlined_files([good, tmp_path / name])
    assert raised.value.problem.file == tmp_path / name


def test_an_outlined_image_is_read(tmp_path):
    image = put(tmp_path, "one.png")
    found = read_outlined(*outlined_files([image])[0])
    np.testing.assert_array_equal(found.image, np.asarray(Image.open(image)))
    assert found.instances.dtype == np.int32
    assert (found.instances == 3).sum() == 50
    assert found.radius_px == pytest.approx((50 / np.pi) ** 0.5)


def test_numbers_of_nuclei_may_be_as_large_as_they_like(tmp_path):
    image = put(tmp_path, "one.png")
    instances = np.zeros(SHAPE, np.int64)
    # As float32 both would be one number, and a table by number 16 GiB.
    instances[2:8, 2:8], instances[2:8, 9:15] = 2**31 - 1, 2**31 - 2
    np.savez(image.with_suffix(".npz"), inst_map=instances)
    found = read_outlined(image, image.with_suffix(".npz"))
    assert np.unique(found.instances).tolist() == [0, 1, 2]
    assert found.radius_px == pytest.approx((36 / np.pi) ** 0.5)
    distance = draw_sample(found, side=48, rng=np.random.default_rng(0))[2]
    assert distance.max() == 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_any_picture_is_rgb(tmp_path, mode):
    path = tmp_path / "one.png"
    Image.fromarray(np.full((*SHAPE, 3), 255, np.uint8)).convert(mode).save(path)
    found = read_pixels(path)
    assert (found.shape, found.dtype) == ((*SHAPE, 3), np.uint8)
    assert found.min() == 255


def test_what_is_transparent_is_white_and_16_bits_become_8(tmp_path):
    clear = np.zeros((*SHAPE, 4), np.uint8)
    clear[:10] = (10, 20, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    found = read_pixels(tmp_path / "clear.png")
    assert (found[:10] == (10, 20, 30)).all()
    assert (found[10:] == 255).all()
    assert cv2.imwrite(str(tmp_path / "deep.png"), np.full((*SHAPE, 3), 100 * 257, np.uint16))
    assert (read_pixels(tmp_path / "deep.png") == 100).all()


def test_what_does_not_go_together_or_open_is_a_sentence(tmp_path, monkeypatch):
    image = put(tmp_path, "one.png")
    nuclei = image.with_suffix(".npz")
    np.savez(tmp_path / "small.npz", inst_map=np.zeros((3, 4), int))
    with pytest.raises(AnnotationError, match=r"has the shape \(3, 4\), the image \(20, 30\)"):
        read_outlined(image, tmp_path / "small.npz")
    whole = image.read_bytes()
    for content in (b"", b"notes", whole[: len(whole) // 2]):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(SlideError) as caught:
            read_outlined(tmp_path / "bad.png", nuclei)
        assert caught.value.problem.file == tmp_path / "bad.png"
    with pytest.raises(SlideError):
        read_outlined(tmp_path / "lost.png", nuclei)
    monkeypatch.setattr(nuclei_training, "MAX_PX", 599)
    with pytest.raises(SlideError, match=r"has 600 pixels, at most 599 are read. Cut it into"):
        read_outlined(image, nuclei)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".jpg", ".jpeg"])
def test_the_image_beside_points(tmp_path, suffix):
    points = tmp_path / "slide one.geojson"
    points.write_text("[]", encoding="utf-8")
    with pytest.raises(AnnotationError, match="has no image beside it") as raised:
        image_of(points)
    assert raised.value.problem.file == points
    assert "--image" in str(raised.value)
    image = put(tmp_path, "slide one" + suffix, nuclei=None)
    assert image_of(points) == image
