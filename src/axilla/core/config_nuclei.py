"""How nuclei are found and told, for the method `dl-cnb-nuclei`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from axilla.core.config_base import Strict
from axilla.core.nucleus_tools import NucleusTool


class Nuclei(Strict):
    """Nuclei of the patches, and the histograms of their features (paper, section 2.4)."""

    bins: Annotated[int, Field(ge=2, le=1000)] = 20
    """Of each feature's histogram, fixed on the training cohort."""
    classical: bool = False
    """Find them by colour and watershed, without the network."""
    weights: Path | None = None
    """Of `tool`, or what `axilla nuclei train` or `fit` wrote; null is the shipped network."""
    tool: NucleusTool | None = None
    """Find them by another network, whose weights are a local file (`weights`)."""
    tool_mpp: Annotated[float, Field(gt=0)] | None = None
    """µm per pixel that the tool's network was trained at; null is what its own models were."""
    geojson: bool = True
    """Write the nuclei of every slide for QuPath, under 1 kB each."""
