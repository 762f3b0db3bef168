"""Cutting patches: axilla against the original's way, on real biopsy regions, in one run.

The original wrote every patch as a JPEG file and read the files again for training; axilla keeps
coordinates and reads pixels from the region. Both ways here start from the regions' files and end
with the pixels of all kept patches in memory, and both must keep the same patches. The machine's
limit is decoding every region once. The original's script has one thread; axilla has as many as
there are cores, a region each.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from axilla.core.config import Patches
from axilla.core.types import Slide
from axilla.wsi.patches import PatchReader, cut_and_read, cut_patches
from axilla.wsi.regions import find_regions
from machine import DATA, answer, child_options, core_counts, in_child, region_files, seconds
from original_way import cut_to_files

ROUNDS = 9
Kept = list[tuple[str, int, int]]


def _slide(path: Path) -> Slide:
    return Slide(slide_id=path.stem, patient_id=path.stem, images=(path,))


def at_once(path: Path) -> Kept:
    """Grid and pixels together, as for one case."""
    slide = _slide(path)
    grid, pixels = cut_and_read(slide, find_regions(slide, mode="whole"), config=Patches())
    assert len(pixels) == len(grid)
    return [(path.stem, x, y) for x, y in grid.xy.tolist()]


def in_steps(path: Path) -> Kept:
    """Grid, and later the pixels, as the steps of a study do."""
    slide = _slide(path)
    regions = find_regions(slide, mode="whole")
    grid = cut_patches(slide, regions, config=Patches())
    with PatchReader(slide, grid, regions, config=Patches()) as reader:
        assert len(reader.read_all()) == len(grid)
    return [(path.stem, x, y) for x, y in grid.xy.tolist()]


def original(path: Path) -> Kept:
    """Pad, judge by comparing arrays, write JPEG files of quality 100; read them all again."""
    with tempfile.TemporaryDirectory() as folder:
        kept = cut_to_files(path, Path(folder))
        files = sorted(Path(folder).iterdir())
        assert len([np.asarray(Image.open(file).convert("RGB")) for file in files]) == len(kept)
    return kept


def limit(path: Path) -> Kept:
    """Decode the region once."""
    simplejpeg.decode_jpeg(path.read_bytes())
    return []


def measure(cores: int) -> int:
    """Alternate the ways and answer with their medians."""
    files = region_files()
    ways: dict[str, Callable[[Path], Kept]] = {
        "at_once": at_once, "in_steps": in_steps, "original": original, "limit": limit,
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Kept] = {}
    with ThreadPoolExecutor(cores) as pool:

        def run(name: str) -> None:
            run_all = map if name == "original" else pool.map
            # The largest first, so that no core waits for the other's last one.
            order = sorted(files, key=lambda path: -path.stat().st_size)
            found[name] = sorted(patch for part in run_all(ways[name], order) for patch in part)

        for _ in range(ROUNDS):
            for name in ways:
                times[name].append(seconds(lambda name=name: run(name)))
    same = found["at_once"] == found["in_steps"] == found["original"]
    return answer(
        {name: statistics.median(values) for name, values in times.items()}
        | {"patches": len(found["original"]), "files": len(files), "same": same}
    )


def main() -> int:
    """Print medians on one core and on two."""
    options = child_options()
    if options is not None:
        return measure(options.cores)
    if not DATA:
        print("tiling: left out, AXILLA_DATA is not set")
        return 0
    for cores in core_counts():
        found = in_child(__file__, cores=cores)
        if not found["same"]:
            print("tiling: the two ways do not keep the same patches")
            return 1
        ours, theirs, steps = found["at_once"], found["original"], found["in_steps"]
        print(
            f"tiling, {cores} core{'s' * (cores > 1)}: the same {found['patches']} patches of "
            f"{found['files']} real regions: axilla {1000 * ours:.0f} ms, the original's way "
            f"{1000 * theirs:.0f} ms, {theirs / ours:.1f} times as long; decoding alone "
            f"{1000 * found['limit']:.0f} ms, so axilla runs at {found['limit'] / ours:.0%} of the "
            f"limit. Cut and read as two steps, each decoding: {1000 * steps:.0f} ms, "
            f"{theirs / steps:.1f} times (medians of {ROUNDS})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
