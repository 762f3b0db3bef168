"""Slides of different magnification whose patches are cut alike, told before any is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.types import MicronsPerPixel

_ALIKE = 1.2
"""Scanners of one magnification differ by some percent; 20x and 40x by a factor of two."""
_SHOWN = 4


def mixed_scales(
    scales: Iterable[MicronsPerPixel | None], *, config: StudyConfig
) -> Problem | None:
    """What to note where patches of a study would show tissue at different magnifications.

    Parameters
    ----------
    scales
        µm per level-0 pixel of each slide; None where nobody says it, and then nothing is noted of
        that slide. They are gone through only where patches are cut in pixels.
    """
    if config.patches.mpp is not None:
        return None
    known = sorted(mpp for mpp in scales if mpp is not None)
    if not known or known[-1] <= _ALIKE * known[0]:
        return None
    common = Counter(round(mpp, 2) for mpp in known).most_common()
    told = ", ".join(f"{count:,} of {mpp:g}" for mpp, count in common[:_SHOWN])
    told += f", {len(common) - _SHOWN} more" if len(common) > _SHOWN else ""
    return Problem(
        cause=f"the slides differ in their µm per pixel ({told}), and patches are cut in pixels: "
        f"those of the coarsest show {known[-1] / known[0]:.1f} times as much tissue a side. Where "
        "scanners go with the outcome, a model may learn the scanner.",
        remedy=f"Set `patches: {{mpp: {known[-1]:.2g}}}`, so that all patches are of one scale.",
        fatal=False,
        code="slide",
    )
