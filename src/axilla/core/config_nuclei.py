"""How nuclei are found and told, for the method `dl-cnb-nuclei`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from axilla.core.config_base import Strict


class Nuclei(Strict):
    """Nuclei of the patches, and the histograms of their features (paper, section 2.4)."""

    bins: Annotated[int, Field(ge=2, le=1000)] = 20
    """Of each feature's histogram, fixed on the training cohort."""
    classical: bool = False
    """Find them by colour and watershed, without the network."""
    weights: Path | None = None
    """Of a network that `axilla nuclei train` or `fit` wrote; null is the shipped one."""
