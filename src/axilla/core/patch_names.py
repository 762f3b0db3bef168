"""The name of a patch: `<slide>_<region>_<x>_<y>`, as BCNB's own patch files are called.

`region` counts a slide's regions from 0; `x` and `y` are the patch's left and top edge in pixels of
the region's image (of level 0 where the region lies in a whole slide). That BCNB means just this
follows from the data: all are multiples of 256, `x` stays below the widths and `y` below the
heights of the region images, and the names cut here from two of its patients are the names in its
bag files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(.+)_(\d{1,9})_(\d{1,9})_(\d{1,9})")


@dataclass(frozen=True, slots=True, order=True)
class PatchName:
    """Which patch of which slide."""

    slide_id: str
    region: int
    x: int
    y: int

    def __str__(self) -> str:
        return f"{self.slide_id}_{self.region}_{self.x}_{self.y}"


def parse_patch_name(text: str) -> PatchName | None:
    """Read a name without its ending; None where it is none."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    return PatchName(match[1], int(match[2]), int(match[3]), int(match[4]))
