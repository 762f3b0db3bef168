"""Which colours show patch values: of the slide alone, by rank, or the same on all slides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from axilla.analysis.heatmaps import COLOURS, SIGNED_COLOURS

Scale = Literal["slide", "rank", "cohort"]
_LEAST = 1e-9
"""A map of contributions that are all zero still has two ends."""


_NO_EVIDENCE = "Attention: where the model looks, no evidence"


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Patch values with the colours that show them."""

    values: NDArray[np.float64]
    """[n], NaN where a patch has none."""
    label: str
    limits: tuple[float, float]
    colours: str
    ranked: bool = False
    """Whether they are ranks within the slide."""


@dataclass(frozen=True, slots=True)
class CohortLimits:
    """Extremes over all slides that are shown."""

    attention: tuple[float, float]
    contribution: float
    """The largest either way, above 0."""


def read_values(path: Path) -> pd.DataFrame:
    """The table of a slide's patches, as `explain` wrote it."""
    return pd.read_csv(path)


def cohort_limits(paths: Iterable[Path]) -> CohortLimits:
    """Limits of all slides, from their tables of patches; one of these is held at a time."""
    low, high, most = np.inf, -np.inf, _LEAST
    for path in paths:
        table = read_values(path)
        own = _extent(table["attention"].to_numpy())
        low, high = min(low, own[0]), max(high, own[1])
        if "contribution" in table:
            most = max(most, _most(table["contribution"].to_numpy()))
    return CohortLimits(attention=(low, high), contribution=most)


def attention_rank(attention: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each patch's rank as a share of the patches that have attention; 1 is the highest."""
    rank = rankdata(attention, method="average", nan_policy="omit")
    return np.asarray(rank / np.isfinite(attention).sum())


def shown_attention(
    attention: NDArray[np.float64], *, scale: Scale, limits: CohortLimits | None
) -> Shown:
    """Attention in its colours; `limits` where the scale is `cohort`."""
    if scale == "rank":
        label = f"{_NO_EVIDENCE}\nrank within the slide (1 = the slide's most)"
        return Shown(attention_rank(attention), label, (0.0, 1.0), COLOURS, ranked=True)
    ends = _extent(attention) if limits is None else limits.attention
    label = f"{_NO_EVIDENCE}\n1 = as if all patches weighed the same\n{_ends(limits)}"
    return Shown(attention, label, ends, COLOURS)


def shown_contribution(
    contribution: NDArray[np.float64], *, limits: CohortLimits | None, positive: str
) -> Shown:
    """Contributions in their colours, pale in the middle; `limits` where the scale is `cohort`.

    As far below zero as above, so that the pale middle is no contribution.
    """
    most = _most(contribution) if limits is None else limits.contribution
    label = (
        f"Contribution to the log-odds of {positive}:\n"
        f"with the patch, less without it\n{_ends(limits)}"
    )
    return Shown(contribution, label, (-most, most), SIGNED_COLOURS)


def _ends(limits: CohortLimits | None) -> str:
    return "colours: this slide's range" if limits is None else "colours: range of all slides shown"


def _extent(values: NDArray[np.float64]) -> tuple[float, float]:
    seen = values[np.isfinite(values)]
    return float(seen.min()), float(seen.max())


def _most(values: NDArray[np.float64]) -> float:
    return max(_LEAST, float(np.abs(values[np.isfinite(values)]).max(initial=0.0)))
