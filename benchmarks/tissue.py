"""Tissue search on the three BCNB overviews: how much of the outlined tumour, how much glass.

What is measured against is made without the segmenter's rule. The tumour is what the blue line of
the overview encloses, without the line itself and 3 pixels beside it, where JPEG mixes colours.
Glass is judged pixel by pixel at the overview's full resolution in CIELAB: the glass's own colour
is the median of a frame at the image's edge, and a pixel is glass that is no more than 5 units
darker and less than 5 units off in colour. So the inside of fat cells and of gland lumina counts
as glass too, although a pathologist's outline takes it in.

Pictures to look at are written to `benchmarks/out/tissue/`, for other real slides as well.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from axilla.core.types import Region
from axilla.wsi.masks import inside_mask, polygon_edges
from axilla.wsi.slides import SlideReader, open_slide
from axilla.wsi.tissue import find_tissue

OVERVIEWS = ("351899", "389510", "590960")
OTHERS = (
    "slides/cmu-1-small-region.svs",
    "slides/tcga-cr-7395-01a-01-ts1.svs",
    "ucsb/ytma10_010704_benign1_ccd.png",
    "ucsb/ytma23_022103_malignant1_ccd.png",
    "ucsb/ytma49_111003_malignant3_ccd.png",
)
OUT = Path(__file__).resolve().parent / "out" / "tissue"
LEAST_TUMOUR, MOST_GLASS = 0.98, 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the overview itself shows; all bool [h, w]."""

    tumour: NDArray[np.bool_]
    glass: NDArray[np.bool_]
    line: NDArray[np.bool_]
    """The blue line and 3 pixels beside it, which are neither."""


def read_truth(rgb: NDArray[np.uint8]) -> Truth:
    """Tumour and glass of an overview [h, w, 3], independent of the segmenter."""
    red, green, blue = (rgb[..., i].astype(np.int16) for i in range(3))
    drawn = ((blue - np.maximum(red, green) > 60) & (blue > 120)).astype(np.uint8)
    # JPEG breaks a thin line here and there.
    drawn = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    line = cv2.dilate(drawn, np.ones((7, 7), np.uint8)) > 0
    contours, tree = cv2.findContours(drawn, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    inner = [
        contour
        for contour, (*_, parent) in zip(contours, tree[0], strict=True)
        if parent >= 0 and cv2.contourArea(contour) > 1000
    ]
    filled = np.zeros(drawn.shape, np.uint8)
    cv2.drawContours(filled, inner, -1, 1, cv2.FILLED)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    width = min(rgb.shape[:2]) // 50
    frame = np.ones(drawn.shape, bool)
    frame[width:-width, width:-width] = False
    lightness, *colour = np.moveaxis(lab - np.median(lab[frame], axis=0), 2, 0)
    glass = (lightness > -5) & (np.hypot(*colour) < 5)
    return Truth(tumour=(filled > 0) & ~line, glass=glass, line=line)


def found_mask(regions: tuple[Region, ...], *, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of the image inside the regions, bool [h, w]."""
    mask = np.zeros(size[::-1], np.uint8)
    for region in regions:
        edges = polygon_edges(region.polygon)
        mask |= inside_mask(edges, x=0, y=0, width=size[0], height=size[1])
    return mask > 0


def measure(path: Path) -> tuple[float, float]:
    """Share of the outlined tumour inside the tissue found, and of glass in that tissue."""
    with open_slide(path, slide_id=path.stem, patient_id=path.stem) as reader:
        regions = find_tissue(reader, image=path)
        truth = read_truth(reader.read(0, 0, *reader.size))
        found = found_mask(regions, size=reader.size)
    tumour = float(found[truth.tumour].mean())
    glass = float(truth.glass[found & ~truth.line].mean())
    return tumour, glass


def draw(reader: SlideReader, regions: tuple[Region, ...], *, name: str) -> None:
    """Write the thumbnail with the outlines found in green."""
    rgb, scale = reader.thumbnail(1400)
    rings = [
        np.rint(np.asarray(ring.coords) / scale - 0.5).astype(np.int32)
        for region in regions
        for part in getattr(region.polygon, "geoms", [region.polygon])
        for ring in (part.exterior, *part.interiors)
    ]
    drawn = cv2.polylines(rgb.copy(), rings, isClosed=True, color=(0, 190, 0), thickness=2)
    OUT.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(OUT / f"{name}.png"), drawn[..., ::-1])


def main() -> int:
    """Print a line a slide; 1 where a figure misses its bound."""
    data = os.environ.get("AXILLA_DATA")
    if not data:
        print("tissue: left out, AXILLA_DATA is not set")
        return 0
    missed = 0
    for name in (*(f"bcnb/regions/{patient}.jpg" for patient in OVERVIEWS), *OTHERS):
        path = Path(data) / name
        with open_slide(path, slide_id=path.stem, patient_id=path.stem) as reader:
            start = time.process_time()
            regions = find_tissue(reader, image=path)
            seconds = time.process_time() - start
            draw(reader, regions, name=path.stem)
            share = sum(r.polygon.area for r in regions) / (reader.size[0] * reader.size[1])
        text = f"tissue: {path.stem}: {len(regions)} pieces, {share:.1%} of the image"
        if path.stem in OVERVIEWS:
            tumour, glass = measure(path)
            missed += tumour < LEAST_TUMOUR or glass >= MOST_GLASS
            text += f", {tumour:.2%} of the outlined tumour inside, {glass:.2%} of it glass"
        print(f"{text}; {seconds:.2f} s of one core, decoding not counted")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
