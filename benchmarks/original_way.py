"""The original code's way of cutting, which several benchmarks hold against axilla."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = 256


def cut_to_files(image_file: Path, folder: Path) -> list[tuple[str, int, int]]:
    """Pad, judge by comparing arrays, write each kept patch as a JPEG of quality 100.

    Returns
    -------
    Region and left, top corner of each patch; its file is `<region>_<x>_<y>.jpg`.
    """
    kept = []
    image = cv2.imread(str(image_file))
    height, width = image.shape[:2]
    image = cv2.copyMakeBorder(
        image, 0, -height % SIZE, 0, -width % SIZE, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    for y in range(0, image.shape[0], SIZE):
        for x in range(0, image.shape[1], SIZE):
            patch = image[y : y + SIZE, x : x + SIZE]
            # The original sums `high`, so that a white value counts a third of a pixel; here
            # it is pixels, the paper's rule, in the cheapest way that gives the same patches.
            high = patch == (255, 255, 255)
            white = np.count_nonzero(high[..., 0] & high[..., 1] & high[..., 2])
            if white / SIZE**2 < 0.3:
                file = f"{folder}/{image_file.stem}_{x}_{y}.jpg"
                cv2.imwrite(file, patch, [int(cv2.IMWRITE_JPEG_QUALITY), 100])
                kept.append((image_file.stem, x, y))
    return kept
