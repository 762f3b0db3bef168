"""Nuclei of a whole image part by part, and its scale, with segmenters that see drawn discs."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from scipy import ndimage

from axilla.core.errors import StatisticsError
from axilla.nuclei.agreement import compare_instances
from axilla.nuclei.segmentation import (
    PART_PX,
    TYPICAL_RADIUS_PX,
    WORKING_MPP,
    ToolSegmenter,
    find_zoom,
    segment_image,
    segment_parts,
    segment_patches,
    segment_pixels,
    working_zoom,
)
from axilla.wsi.flat_readers import WholeReader


def read(pixels):
    return WholeReader(pixels, mpp=None)


def drawn_discs(places, *, radius, shape):
    """Dark discs on white, and their instance map."""
    pixels = np.full((*shape, 3), 240, np.uint8)
    instances = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(places, start=1):
        cv2.circle(pixels, (int(x), int(y)), radius, (70, 40, 110), -1)
        cv2.circle(instances, (int(x), int(y)), radius, number, -1)
    return pixels, instances


def on_a_grid(*, radius, shape):
    """Discs that do not touch, each a little beside the grid's place."""
    rng = np.random.default_rng(7)
    step = round(3.5 * radius)
    rows, columns = np.mgrid[step : shape[0] - step : step, step : shape[1] - step : step]
    places = np.stack([rows.ravel(), columns.ravel()], axis=1)
    places += rng.integers(-radius // 3, radius // 3 + 1, places.shape)
    return drawn_discs(places, radius=radius, shape=shape)


@dataclass
class Seeing:
    """A segmenter that is a function."""

    see: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    zooms: tuple[float, ...] = (1.0, 0.5, 2.0)
    own_zoom: float | None = None

    def __call__(self, pixels):
        return self.see(pixels)

    glance = __call__


@Seeing
def dark(pixels):
    """Dark is nuclear, and as deep as a nucleus of 10 pixels' radius."""
    nuclear = (pixels.mean(axis=2) < 150).astype(np.uint8)
    return nuclear.astype(np.float32), cv2.distanceTransform(nuclear, cv2.DIST_L2, 5) / 10


@Seeing
def believes_in_ten(pixels):
    """Sure of discs of about 10 pixels only: overlooks small ones, sees crumbs in large ones."""
    dark_pixels = pixels.mean(axis=2) < 150
    distance = cv2.distanceTransform(dark_pixels.astype(np.uint8), cv2.DIST_L2, 5)
    pieces, count = ndimage.label(dark_pixels)
    radii = np.concatenate([[1], ndimage.maximum(distance, pieces, np.arange(1, count + 1))])
    radius = radii[pieces].astype(np.float32)
    belief = np.exp(-8 * np.log(radius / 10) ** 2)
    seen = dark_pixels & (radius > 6) & ((radius < 15) | (distance > radius - 4))
    nuclear = np.where(seen, 0.5 + 0.5 * belief, 0)
    return nuclear.astype(np.float32), np.where(seen, distance / radius, 0).astype(np.float32)


@pytest.fixture(scope="module")
def large():
    """Discs on all borders of the four parts of an image, and pairs that overlap across them."""
    width, height = PART_PX + 400, PART_PX + 120
    x, y = width // 2, height // 2
    rng = np.random.default_rng(3)
    places = [(y, x), (y, x - 300), (y - 1, x + 300), (y - 250, x), (y + 250, x - 1)]
    places += [(y + 120, x - 6), (y + 120, x + 8), (y - 8, x + 150), (y + 8, x + 150)]
    places += [(0, 0), (0, x), (height - 1, width - 1), (y, width - 1)]
    for place in rng.integers((20, 20), (height - 20, width - 20), (800, 2)):
        if np.hypot(*(np.array(places) - place).T).min() > 23:
            places.append(tuple(place))
    return drawn_discs(places, radius=10, shape=(height, width))


@pytest.fixture(scope="module")
def whole(large):
    return segment_pixels(large[0], dark)


def test_the_discs_are_found_whole(large, whole):
    agreement = compare_instances(large[1], whole, radius_px=3)
    assert agreement.hits == agreement.truths == agreement.found
    assert agreement.aji > 0.98


@pytest.fixture(scope="module")
def by_parts(large):
    return segment_image(read(large[0]), dark)


def test_parts_give_each_nucleus_once_and_whole(whole, by_parts):
    assert (by_parts.dtype, by_parts.shape) == (np.int32, whole.shape)
    agreed = compare_instances(whole, by_parts)
    assert agreed.hits == agreed.truths == agreed.found
    # A pixel as near to one of two touching nuclei as to the other may go to either.
    assert agreed.aji > 0.9999
    np.testing.assert_array_equal(np.unique(by_parts), np.arange(whole.max() + 1))


def test_two_workers_give_the_same_map(large, by_parts):
    found = segment_image(read(large[0]), dark, workers=2)
    np.testing.assert_array_equal(found, by_parts)


def test_a_part_has_the_nuclei_whose_centre_it_has(large, whole):
    parts = list(segment_parts(read(large[0]), dark))
    assert sum(int(part.instances.max()) for part in parts) == whole.max()
    assert [(part.x, part.y) for part in parts] == sorted(
        ((part.x, part.y) for part in parts), key=lambda corner: corner[::-1]
    )
    height, width = whole.shape
    for part, (left, right, top, bottom) in zip(
        parts,
        [
            (0, width / 2, 0, height / 2),
            (width / 2, width, 0, height / 2),
            (0, width / 2, height / 2, height),
            (width / 2, width, height / 2, height),
        ],
        strict=True,
    ):
        centres = ndimage.center_of_mass(
            part.instances > 0, part.instances, np.arange(1, part.instances.max() + 1)
        )
        y, x = np.add(centres, (part.y + 0.5, part.x + 0.5)).T
        assert (left <= x).all()
        assert (x < right).all()
        assert (top <= y).all()
        assert (y < bottom).all()


def test_patches_come_in_order():
    patches = [on_a_grid(radius=10, shape=(size, 200))[0] for size in (120, 200, 160, 240)]
    found = list(segment_patches(iter(patches), dark, workers=2))
    for pixels, instances in zip(patches, found, strict=True):
        np.testing.assert_array_equal(instances, segment_pixels(pixels, dark))
        assert instances.max() > 0


@pytest.mark.parametrize(("mpp", "zoom"), [(0.25, 0.625), (0.4, 1.0), (1.0, 2.5), (0.05, 0.25)])
def test_the_working_zoom_makes_usual_nuclei_ten_pixels(mpp, zoom):
    assert working_zoom(mpp) == pytest.approx(zoom)


@pytest.mark.parametrize("mpp", [0.0, -0.25, float("nan"), float("inf")])
def test_no_scale_is_a_sentence(mpp):
    with pytest.raises(StatisticsError, match=r"is no scale. Give a number above 0"):
        working_zoom(mpp)


@pytest.mark.parametrize("mpp", [1.7, 20.0])
def test_what_is_too_coarse_is_a_sentence(mpp):
    assert working_zoom(1.6) == pytest.approx(4)
    with pytest.raises(StatisticsError, match=r"Give an image of at most 1.6 µm per pixel"):
        working_zoom(mpp)


@pytest.mark.parametrize("radius", [5, 10, 20])
def test_an_unknown_scale_is_told_from_the_nuclei(radius):
    pixels, instances = on_a_grid(radius=radius, shape=(360, 700))
    zoom = find_zoom(read(pixels), believes_in_ten)
    assert radius * zoom == pytest.approx(TYPICAL_RADIUS_PX, rel=0.08)
    found = segment_image(read(pixels), believes_in_ten, zoom=zoom)
    assert compare_instances(instances, found, radius_px=1).f1 == 1


@pytest.mark.parametrize(("radius", "zoom"), [(60, 0.25), (14, 12 / 14)])
def test_the_zoom_stays_within_bounds(radius, zoom):
    pixels, _ = on_a_grid(radius=radius, shape=(700, 700))
    assert find_zoom(read(pixels), dark) == pytest.approx(zoom, rel=0.05)


def test_a_segmenter_of_one_magnification_is_believed():
    pixels, _ = on_a_grid(radius=20, shape=(300, 300))
    assert find_zoom(read(pixels), Seeing(dark.see, own_zoom=1.7)) == 1.7


def test_without_nuclei_nothing_is_enlarged():
    blank = np.full((300, 200, 3), 240, np.uint8)
    assert find_zoom(read(blank), believes_in_ten) == 1
    assert segment_image(read(blank), dark, zoom=2).max() == 0


@pytest.mark.parametrize(
    ("radius", "zoom", "overlap"), [(5, 2.0, 0.85), (10, 1.0, 0.98), (20, 0.5, 0.93)]
)
def test_a_zoom_keeps_positions(radius, zoom, overlap):
    pixels, instances = on_a_grid(radius=radius, shape=(PART_PX + 100, 360))
    found = segment_image(read(pixels), dark, zoom=zoom)
    agreement = compare_instances(instances, found, radius_px=0.3)
    assert agreement.hits == agreement.truths == agreement.found
    assert agreement.aji > overlap


def labelled(pixels):
    """What is dark, each piece a nucleus, numbered as no tool of ours would."""
    pieces, _ = ndimage.label(pixels.mean(axis=2) < 150)
    return pieces.astype(np.uint16) * 7


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("mpp", [WORKING_MPP, 0.25, 0.5])
def test_a_tool_sees_its_own_magnification_and_answers_at_the_image_s(mpp, zoom):
    pixels, truth = on_a_grid(radius=12, shape=(200, 300))
    seen = []

    def find(image):
        seen.append(image.shape[:2])
        return labelled(image)

    found = segment_pixels(pixels, ToolSegmenter(find, mpp=mpp, scale=dark), zoom=zoom)
    own = zoom * WORKING_MPP / mpp
    assert seen == [pytest.approx((200 * own, 300 * own), abs=0.5)]
    assert (found.dtype, found.shape) == (np.int32, truth.shape)
    np.testing.assert_array_equal(np.unique(found), np.arange(truth.max() + 1))
    agreed = compare_instances(truth, found, radius_px=1)
    assert agreed.hits == agreed.truths
    assert agreed.aji > 0.88


def test_another_segmenter_tells_a_tool_the_scale():
    image = read(on_a_grid(radius=20, shape=(500, 500))[0])
    tool = ToolSegmenter(labelled, mpp=0.5, scale=believes_in_ten)
    assert find_zoom(image, tool) == find_zoom(image, believes_in_ten)


def test_a_tool_may_find_nothing_or_nothing_else():
    pixels = np.zeros((30, 40, 3), np.uint8)
    nothing = ToolSegmenter(lambda p: np.zeros(p.shape[:2], int), mpp=WORKING_MPP, scale=dark)
    assert not segment_pixels(pixels, nothing).any()
    everything = ToolSegmenter(lambda p: np.full(p.shape[:2], 9), mpp=WORKING_MPP, scale=dark)
    assert (segment_pixels(pixels, everything) == 1).all()


@dataclass
class Streamed:
    """An image that is decoded as it is read: by one thread, from top to bottom."""

    pixels: np.ndarray
    reader: int
    top: int = 0

    @property
    def size(self):
        return self.pixels.shape[1], self.pixels.shape[0]

    def read(self, x, y, width, height):
        assert threading.get_ident() == self.reader
        assert y >= self.top
        self.top = y
        return self.pixels[y : y + height, x : x + width]


def test_an_image_that_streams_is_read_by_one_thread_whatever_the_workers(large, by_parts):
    streamed = Streamed(large[0], threading.get_ident())
    np.testing.assert_array_equal(segment_image(streamed, dark, workers=2), by_parts)


def test_the_scale_is_told_from_where_there_is_tissue():
    pixels, _ = on_a_grid(radius=5, shape=(2048, 2048))
    pixels[:, :512] = 240
    assert find_zoom(read(pixels), believes_in_ten) == pytest.approx(12 / 5, rel=0.15)
