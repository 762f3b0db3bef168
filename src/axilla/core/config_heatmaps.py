"""`heatmaps:` of a study."""

from __future__ import annotations

from typing import Literal

from axilla.core.config_base import Strict


class Heatmaps(Strict):
    """How attention and contributions are drawn; no figure of the study depends on it."""

    scale: Literal["slide", "rank", "cohort"] = "slide"
    """slide: colours from the slide's least to its most. rank: attention by its rank within the
    slide; contributions, whose sign a rank would lose, as with slide. cohort: one colour means one
    value on all slides of the study."""
    ome_tiff: bool = False
    """Write the maps as pyramidal OME-TIFF too, which QuPath lays over the slide."""
