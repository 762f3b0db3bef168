"""Cutting patches: axilla against the original's way, on a real biopsy region, in one run.

The original wrote every patch as a JPEG file and read the files again for training; axilla keeps
coordinates and reads pixels from the region. Both ways here start from the region's file and end
with the pixels of all kept patches in memory. The machine's limit is decoding the region once.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from axilla.core.config import Patches
from axilla.core.types import Slide
from axilla.wsi.patches import PatchReader, cut_patches
from axilla.wsi.regions import find_regions

ROUNDS = 5


def ours(path: Path) -> int:
    """Grid, then pixels."""
    slide = Slide(slide_id=path.stem, patient_id=path.stem, images=(path,))
    regions = find_regions(slide, mode="whole")
    config = Patches()
    grid = cut_patches(slide, regions, config=config)
    with PatchReader(slide, grid, regions, config=config) as reader:
        return len(reader.read_all())


def original(path: Path) -> int:
    """Pad, crop, judge, write JPEG files; read them all again."""
    with tempfile.TemporaryDirectory() as folder:
        image = np.asarray(Image.open(path).convert("RGB"))
        height, width = image.shape[:2]
        down, across = -(-height // 256) * 256, -(-width // 256) * 256
        padded = np.full((down, across, 3), 255, np.uint8)
        padded[:height, :width] = image
        for y in range(0, down, 256):
            for x in range(0, across, 256):
                patch = padded[y : y + 256, x : x + 256]
                if (patch == 255).all(axis=2).mean() < 0.3:
                    Image.fromarray(patch).save(Path(folder) / f"{x}_{y}.jpg")
        files = sorted(Path(folder).iterdir())
        return len([np.asarray(Image.open(file)) for file in files])


def limit(path: Path) -> int:
    """Decode the region once."""
    return len(simplejpeg.decode_jpeg(path.read_bytes()))


def main() -> int:
    """Alternate the three and print medians."""
    data = os.environ.get("AXILLA_DATA")
    if not data:
        print("tiling: left out, AXILLA_DATA is not set")
        return 0
    path = Path(data) / "bcnb" / "regions" / "351899_0.jpg"
    ways: dict[str, Callable[[Path], int]] = {"axilla": ours, "original": original, "limit": limit}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    counts = {}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            counts[name] = way(path)
            seconds[name].append(time.perf_counter() - start)
    if counts["axilla"] != counts["original"]:
        print(f"tiling: the two ways keep {counts['axilla']} and {counts['original']} patches")
        return 1
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"tiling: {counts['axilla']} patches of {path.name}: axilla {median['axilla']:.2f} s, the "
        f"original's way {median['original']:.2f} s, {median['original'] / median['axilla']:.1f} "
        f"times as long; decoding alone {median['limit']:.2f} s, so axilla runs at "
        f"{median['limit'] / median['axilla']:.0%} of the limit (medians of {ROUNDS})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
