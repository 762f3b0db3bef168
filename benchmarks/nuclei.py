"""Nuclei: agreement with outlined ones on real tiles, and speed and memory on two cores.

Agreement on the NuCLS tiles (CC0), 256 x 256 pixels each: the five `test_*`, which no setting was
chosen on and no weights saw, and the ten `train_*`, on which the classical way was tuned and the
network trained (so its figures there are no test). Nobody is told the scale. Beside the package's
two ways stands a watershed of ten lines, as tutorials have it.

Speed and memory on real biopsy tissue laid side by side, nuclei of a slide by parts as a stream;
each way in a process of its own, the three in turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from machine import DATA, answer, child_options, in_child, region_files, seconds

Way = Callable[[np.ndarray], np.ndarray]
SIDE = 2048
ROUNDS = 3


class Picture:
    """An image in memory, read by parts; laid side by side `times` times downwards."""

    def __init__(self, pixels: np.ndarray, times: int = 1) -> None:
        self.pixels, self.times = pixels, times
        self.size = (pixels.shape[1], pixels.shape[0] * times)

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """RGB [height, width, 3]."""
        rows = np.arange(y, y + height) % self.pixels.shape[0]
        return np.ascontiguousarray(self.pixels[rows, x : x + width])


def ten_lines(pixels: np.ndarray) -> np.ndarray:
    """A watershed as tutorials have it."""
    from scipy import ndimage
    from skimage.color import rgb2hed
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.morphology import remove_small_objects
    from skimage.segmentation import watershed

    stained = gaussian(rgb2hed(pixels)[..., 0], 1)
    mask = remove_small_objects(stained > threshold_otsu(stained), max_size=30)
    distance = ndimage.distance_transform_edt(ndimage.binary_fill_holes(mask))
    seeds = np.zeros(mask.shape, int)
    peaks = peak_local_max(gaussian(distance, 1), min_distance=5, labels=mask.astype(int))
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=mask)


def way_of(segmenter: Callable[[np.ndarray], Any] | None = None) -> Way:
    """The package's way with an image in memory whose scale nobody knows; classical without one."""
    from axilla.nuclei.classical import fit_classical
    from axilla.nuclei.segmentation import find_zoom, segment_image

    def found(pixels: np.ndarray) -> np.ndarray:
        picture = Picture(pixels)
        own = segmenter(pixels) if segmenter else fit_classical(pixels.reshape(-1, 3)[::4])
        return segment_image(picture, own, zoom=find_zoom(picture, own))

    return found


def ways_compared(ways: Mapping[str, Way], *, parts: Sequence[str]) -> None:
    """Print F1, Dice, AJI and PQ of each way on the NuCLS tiles."""
    from PIL import Image

    from axilla.nuclei.agreement import compare_instances

    folder = Path(DATA or "") / "nuclei" / "nucls"
    for part in parts:
        tiles = sorted(folder.glob(f"{part}_*.png"))
        for name, way in ways.items():
            compared = [
                compare_instances(
                    np.load(tile.with_suffix(".npz"))["inst_map"],
                    way(np.asarray(Image.open(tile).convert("RGB"))),
                )
                for tile in tiles
            ]
            told = []
            for measure in ("f1", "dice", "aji", "pq"):
                values = [getattr(one, measure) for one in compared]
                told.append(f"{measure} {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")
            hits, truths, found = (
                sum(getattr(one, key) for one in compared) for key in ("hits", "truths", "found")
            )
            print(
                f"{part:<5} ({len(tiles)} tiles)  {name:<10} {'  '.join(told)}  "
                f"{hits} of {truths} found, f1 of all together {2 * hits / (truths + found):.3f}",
                flush=True,
            )


def agreement() -> None:
    """The three ways, by tiles for testing and for tuning."""
    from axilla.study.nuclei_segmenting import network_segmenter

    network = network_segmenter()
    ways = {"network": way_of(lambda _: network), "classical": way_of(), "ten lines": ten_lines}
    ways_compared(ways, parts=("test", "train"))


def measured(way: str, times: int) -> dict[str, Any]:
    """Seconds, nuclei and pixels of one way over a stream of tissue."""
    from PIL import Image

    from axilla.nuclei.classical import fit_classical
    from axilla.nuclei.segmentation import part_count, segment_parts
    from axilla.study.nuclei_segmenting import network_segmenter, working

    pixels = np.asarray(Image.open(max(region_files(), key=lambda p: p.stat().st_size)))
    pixels = np.ascontiguousarray(np.tile(pixels, (3, 3, 1))[:SIDE, :SIDE])
    count = 0
    if way == "ten lines":

        def run() -> None:
            nonlocal count
            for _ in range(times):
                for y in range(0, SIDE, 1024):
                    for x in range(0, SIDE, 1024):
                        count += int(ten_lines(pixels[y : y + 1024, x : x + 1024]).max())
    else:
        segmenter = (
            fit_classical(pixels.reshape(-1, 3)[::4]) if way == "classical" else network_segmenter()
        )

        def run() -> None:
            nonlocal count
            picture = Picture(pixels, times)
            with working(segmenter, part_count(picture)) as workers:
                for part in segment_parts(picture, segmenter, workers=workers):
                    count += int(part.instances.max())

    took = seconds(run)
    return {"seconds": took, "nuclei": count, "megapixels": times * SIDE * SIDE / 1e6}


def main() -> int:
    """Agreement, then speed, then memory."""
    options = child_options(way=str, times=int)
    if options is not None:
        return answer(measured(options.way, options.times))
    if not DATA:
        print("nuclei: left out, AXILLA_DATA is not set")
        return 0
    agreement()
    ways = ("network", "classical", "ten lines")
    turns: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            turns[way].append(in_child(__file__, cores=2, way=way, times=1))
    for way in ways:
        rate = median(turn["megapixels"] / turn["seconds"] for turn in turns[way])
        nuclei = median(turn["nuclei"] / turn["seconds"] for turn in turns[way])
        print(f"{way:<10} {rate:5.2f} megapixels/s  {nuclei:6.0f} nuclei/s")
    for way in ways[:2]:
        one, four = (
            in_child(__file__, cores=2, way=way, times=times)["peak_mib"] for times in (1, 4)
        )
        print(f"{way:<10} peak {one:.0f} MiB for {SIDE * SIDE / 1e6:.0f} megapixels, "
              f"{four:.0f} MiB for four times as many")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
