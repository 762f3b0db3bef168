"""Growing cohorts: `check` and `tile` of 100, 1,000 and 10,000 slides; time and memory a slide.

The slides are generated, small and each of its own content, so that what is measured is what the
cohort's size costs and not the pixels. Each size runs in a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import simplejpeg

from axilla.core.config import StudyConfig
from axilla.study.chain import check, run
from machine import answer, child_options, in_child, peak_mib, seconds

SIZES = (100, 1_000, 10_000)
SIDE = 256


def make_cohort(folder: Path, slides: int) -> StudyConfig:
    """One patient a slide; images of noise on pink, with a serial number in a comment."""
    (folder / "slides").mkdir()
    rng = np.random.default_rng(1)
    shape = (SIDE, SIDE, 3)
    images = [
        simplejpeg.encode_jpeg(rng.integers(120, 240, shape, np.uint8), quality=60)
        for _ in range(10)
    ]
    rows = ["patient_id,nodes"]
    for index in range(slides):
        name = f"p{index:05d}"
        data = images[index % len(images)]
        # A comment (marker FFFE, then its length) right behind the start of the image.
        comment = b"\xff\xfe" + (2 + len(name)).to_bytes(2, "big") + name.encode()
        (folder / "slides" / f"{name}.jpg").write_bytes(data[:2] + comment + data[2:])
        rows.append(f"{name},{index % 3}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return StudyConfig(
        cohort=folder / "cohort.csv",
        slides=folder / "slides",
        regions="whole",
        endpoint="n0-vs-npos",
        patches={"size": 64},
        encoder={"name": "small_cnn", "weights": "none", "trainable": True},
        methods=("dl-cnb",),
        out=folder / "out",
    )


def measure(slides: int) -> int:
    """Check and tile in this process."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_cohort(Path(folder), slides)
        before = peak_mib()
        problems: list[object] = []
        checking = seconds(lambda: problems.extend(check(config)))
        assert not problems
        tiling = seconds(lambda: run(config, until="tile"))
        again = seconds(lambda: run(config, until="tile"))
        return answer({"check": checking, "tile": tiling, "again": again, "before": before})


def main() -> int:
    """Print a line a size."""
    options = child_options(slides=int)
    if options is not None:
        return measure(options.slides)
    for slides in SIZES:
        found = in_child(__file__, cores=2, slides=slides)
        each = {name: 1000 * found[name] / slides for name in ("check", "tile", "again")}
        print(
            f"growth, {slides:,} slides of {SIDE} x {SIDE} px: check {each['check']:.2f} ms a "
            f"slide, tile {each['tile']:.2f} (with its own check), nothing left to do "
            f"{each['again']:.2f}; peak memory {found['peak_mib']:.0f} MiB, of which "
            f"{found['before']:.0f} before the first (one run)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
