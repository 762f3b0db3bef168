"""A network fitted to one click in each nucleus, held against the classical way.

`axilla nuclei fit` learns from the centroids of the ten NuCLS tiles `train_*` (458 points), whose
outlines it does not see; both ways are then measured on the five `test_*`. Takes about ten minutes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from machine import DATA, seconds
from nuclei import way_of, ways_compared


def centroids(instances: np.ndarray) -> np.ndarray:
    """[n, 2], x and y of each nucleus's middle."""
    from scipy import ndimage

    numbers = np.unique(instances[instances > 0])
    return np.array(ndimage.center_of_mass(instances > 0, instances, numbers))[:, ::-1] + 0.5


def clicks(folder: Path, out: Path) -> list[tuple[Path, Path]]:
    """GeoJSON of the centroids of each training tile, with the tile."""
    pairs = []
    for image in sorted(folder.glob("train_*.png")):
        points = centroids(np.load(image.with_suffix(".npz"))["inst_map"])
        written = out / f"{image.stem}.geojson"
        geometry = {"type": "MultiPoint", "coordinates": points.tolist()}
        written.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}))
        pairs.append((written, image))
    return pairs


def main() -> int:
    """Fit, then compare."""
    if not DATA:
        print("nuclei_fit: left out, AXILLA_DATA is not set")
        return 0
    from axilla.core.progress import Silent
    from axilla.nuclei.training import NucleusTraining
    from axilla.study.nuclei_segmenting import network_segmenter
    from axilla.study.nuclei_training import fit_nuclei

    folder = Path(DATA) / "nuclei" / "nucls"
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "fitted.safetensors"
        pairs = clicks(folder, Path(temporary))
        config = NucleusTraining(steps=900)
        took = seconds(lambda: fit_nuclei(pairs, out, config=config, reporter=Silent()))
        print(f"fitted in {took / 60:.1f} minutes")
        segmenter = network_segmenter(out)
    ways_compared({"fitted": way_of(lambda _: segmenter), "classical": way_of()}, parts=("test",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
