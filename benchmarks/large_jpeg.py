"""Cutting a large flat JPEG: by strips against decoding it whole, each in a process of its own.

The image is one real biopsy region laid side by side to 20,000 x 10,000 pixels (600 MB decoded).
Both ways judge every patch and read every kept one, in batches as features are computed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 20_000, 10_000
AT_ONCE = 64


def make(source: Path, path: Path) -> None:
    """Lay a region side by side and save it as one JPEG, 4:2:0 as BCNB's."""
    import simplejpeg

    tile = simplejpeg.decode_jpeg(source.read_bytes())
    times = (-(-HEIGHT // tile.shape[0]), -(-WIDTH // tile.shape[1]), 1)
    image = np.ascontiguousarray(np.tile(tile, times)[:HEIGHT, :WIDTH])
    path.write_bytes(simplejpeg.encode_jpeg(image, quality=85, colorsubsampling="420"))


def peak_mb() -> float:
    """Most memory this process ever held, in MB.

    Not `resource.getrusage`: a new process begins with its parent's peak there.
    """
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def measure(way: str, path: Path) -> None:
    """Cut and read; print seconds, MB above what the libraries take, patches, their digest."""
    import hashlib

    from axilla.core.config import Patches
    from axilla.core.types import Slide
    from axilla.wsi import flat_readers
    from axilla.wsi.patches import PatchReader, cut_patches
    from axilla.wsi.regions import find_regions

    if way == "whole":
        flat_readers.STREAM_ABOVE_PX = 2**40
    slide = Slide(slide_id="s", patient_id="s", images=(path,))
    regions = find_regions(slide, mode="whole")
    before, start = peak_mb(), time.perf_counter()
    grid = cut_patches(slide, regions, config=Patches())
    digest = hashlib.sha256()
    with PatchReader(slide, grid, regions, config=Patches()) as reader:
        for first in range(0, len(grid), AT_ONCE):
            last = min(first + AT_ONCE, len(grid))
            digest.update(reader.read(np.arange(first, last)).tobytes())
    seconds = time.perf_counter() - start
    print(f"{seconds:.2f} {peak_mb() - before:.0f} {len(grid)} {digest.hexdigest()}")


def main() -> int:
    """Measure both ways and check that they give the same patches."""
    data = os.environ.get("AXILLA_DATA")
    if not data:
        print("large_jpeg: left out, AXILLA_DATA is not set")
        return 0
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.jpg"
        make(Path(data) / "bcnb" / "regions" / "351899_1.jpg", path)
        for way in ("strips", "whole"):
            call = [sys.executable, __file__, way, str(path)]
            done = subprocess.run(call, check=True, capture_output=True, text=True)
            seconds, megabytes, patches, found[way] = done.stdout.split()
            print(f"{way}: {seconds} s, {megabytes} MB, {patches} patches")
    assert found["strips"] == found["whole"]
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(main())
