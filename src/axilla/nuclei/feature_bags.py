"""A slide as a bag of nucleus features, one instance a feature (paper, section 2.4, figure 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from axilla.nuclei.morphometry import measured_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from axilla.core.types import MicronsPerPixel

FEATURES: dict[str, str] = {
    "major_axis": "Major axis",
    "minor_axis": "Minor axis",
    "area": "Area",
    "orientation": "Common orientation",
    "circumference": "Circumference",
    "density": "Density",
    "circularity": "Circularity",
    "rectangularity": "Rectangularity",
}
"""The paper's eight, by their column, as tables and figures print them.

Orientation is the common orientation of neighbours: the mean of an angle means nothing.
"""
_COLUMNS = {"orientation": "polarity"}
"""Where a feature is another column of `measure_nuclei` than its name."""
_RANGE = (1.0, 99.0)
"""Percentiles of the training cohort between which the bins lie; the end bins take the rest."""
_PER_PATIENT = 2000
"""At most so many values of a patient fix the bins, evenly spaced in their order."""
_GAP_PX = 1
"""Pixels of a patch between a nucleus that the outline cuts and the outline, at most.

Whatever finds nuclei blurs what borders on white: one in five would not touch it (NuCLS tiles).
"""


def patch_nuclei(
    instances: NDArray[np.int32],
    *,
    mpp: MicronsPerPixel | None,
    enlarged: int = 1,
    inside: NDArray[np.uint8] | None = None,
) -> tuple[dict[str, NDArray[Any]], float]:
    """Nuclei of one patch that are seen whole, and the patch's density.

    Parameters
    ----------
    instances
        int32 [h, w], 0 is background.
    mpp
        µm per pixel of the patch; None where nobody knows, and lengths are pixels of the patch.
    enlarged
        Pixels of `instances` that a pixel of the patch is wide.
    inside
        [h / enlarged, w / enlarged] of the patch's own pixels, 1 where they show the slide within
        the outline, 0 where they are white; None where all do.

    Returns
    -------
    tuple
        Columns as of `measured_columns`, [n] each, without those that the patch's edge, the outline
        or the slide's border cuts, since their shape is not theirs, with `x` and `y` in pixels of
        `instances`; and nuclei per mm² inside (of a patch that is all inside where `mpp` is None),
        those that are cut counting half, since their other half is elsewhere.
    """
    found = measured_columns(instances, mpp=(1.0 if mpp is None else mpp) / enlarged)
    cut = np.isin(found["nucleus"], cut_nuclei(instances, enlarged=enlarged, inside=inside))
    share = 1.0 if inside is None else max(float(inside.mean()), 1 / inside.size)
    mm2 = 1.0 if mpp is None else instances.size * (mpp / enlarged / 1000) ** 2
    density = float(((~cut).sum() + cut.sum() / 2) / (mm2 * share))
    return {name: values[~cut] for name, values in found.items()}, density


def cut_nuclei(
    instances: NDArray[np.int32], *, enlarged: int = 1, inside: NDArray[np.uint8] | None = None
) -> NDArray[np.int32]:
    """Numbers of a patch's nuclei that are not seen whole; see `patch_nuclei`."""
    rim = np.concatenate([instances[0], instances[-1], instances[:, 0], instances[:, -1]])
    if inside is not None and not inside.all():
        reach = 2 * (_GAP_PX + 1) + 1
        # Beyond the patch nobody knows: `dilate` takes it to be inside.
        outside = cv2.dilate(1 - inside, np.ones((reach, reach), np.uint8))
        near = outside.repeat(enlarged, axis=0).repeat(enlarged, axis=1) > 0
        rim = np.concatenate([rim, instances[near]])
    found = np.unique(rim)
    return found[found > 0]


def feature_values(
    nuclei: Mapping[str, NDArray[Any]] | pd.DataFrame, densities: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The values of a slide by feature: of each nucleus, and of each patch for the density."""
    found = {
        name: np.asarray(nuclei[_COLUMNS.get(name, name)], np.float64)
        for name in FEATURES
        if name != "density"
    }
    told = {name: values[~np.isnan(values)] for name, values in found.items()}
    return told | {"density": densities}


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Edges of each feature's histogram, fixed on the training cohort."""

    edges: Mapping[str, NDArray[np.float64]]
    """[bins + 1] by feature, rising."""

    @property
    def length(self) -> int:
        """Length of an instance: its histogram, then which feature it is."""
        return len(next(iter(self.edges.values()))) - 1 + len(FEATURES)

    def to_json(self) -> dict[str, list[float]]:
        """Edges by feature."""
        return {name: edges.tolist() for name, edges in self.edges.items()}


def fix_bins(training: Sequence[Mapping[str, NDArray[np.float64]]], *, bins: int) -> Bins:
    """Bins of equal width between the 1st and 99th percentile of the training cohort.

    Every slide counts the same however many nuclei it has.

    Parameters
    ----------
    training
        `feature_values` of each slide of the training cohort.
    bins
    """
    edges = {}
    for name in FEATURES:
        seen = [_thinned(slide[name]) for slide in training if len(slide[name])]
        low, high = _weighted_range(seen) if seen else (0.0, 1.0)
        edges[name] = np.linspace(low, high if high > low else low + 1, bins + 1)
    return Bins(edges)


def feature_bag(values: Mapping[str, NDArray[np.float64]], bins: Bins) -> NDArray[np.float32]:
    """The bag of a slide, float32 [features, bins + features].

    Each row is the feature's histogram as shares, and a one where the feature stands in the order
    of `FEATURES`, so that the attention knows what it weighs. A slide without nuclei has shares
    of 0.
    """
    rows = []
    for name, edges in bins.edges.items():
        clipped = np.clip(values[name], edges[0], edges[-1])
        counts, _ = np.histogram(clipped, edges)
        rows.append(counts / max(1, counts.sum()))
    return np.hstack([np.array(rows), np.eye(len(FEATURES))]).astype(np.float32)


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(values)
    if len(ordered) <= _PER_PATIENT:
        return ordered
    return np.asarray(ordered[np.linspace(0, len(ordered) - 1, _PER_PATIENT).round().astype(int)])


def _weighted_range(seen: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Percentiles of all values, those of a slide weighing one together."""
    values = np.concatenate(seen)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in seen])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    at = np.searchsorted(reached, np.array(_RANGE) / 100).clip(max=len(values) - 1)
    low, high = values[order][at].tolist()
    return low, high
