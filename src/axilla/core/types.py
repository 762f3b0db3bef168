"""The values that flow between rooms, and the units they are measured in.

All are frozen. Those that hold arrays compare by identity (`eq=False`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NewType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

Microns = NewType("Microns", float)
MicronsPerPixel = NewType("MicronsPerPixel", float)
SlidePixels = NewType("SlidePixels", int)
"""A length in pixels of the slide's level 0 (of the region image where regions come cut)."""

CohortName = Literal["train", "val", "test"]
COHORT_TITLES: Mapping[str, str] = {
    "train": "Training",
    "val": "Validation",
    "test": "Independent test",
}
"""How tables and figures print the cohorts; files hold the short names."""
FOLD_TITLES: Mapping[str, str] = {**COHORT_TITLES, "test": "Out-of-fold test"}
"""The same in cross-validation, where no patient is independent of every model."""

SANE_MPP = (0.02, 20.0)
"""µm/px outside these are no microscope's: 600 dpi, a printer's resolution, is 42 µm/px."""
MAX_SLIDE_PX = 50_000_000_000
"""Most pixels of a slide's level 0, unless the study says otherwise: a whole mount at 40x has 45
billion, and what claims more is a header made to exhaust the machine."""


@dataclass(frozen=True, slots=True)
class Slide:
    """One slide of one patient: a whole-slide image, or the regions already cut from it."""

    slide_id: str
    patient_id: str
    images: tuple[Path, ...]
    """One whole-slide image, the cut region images in the order of their number, or patches."""
    annotation: Path | None = None
    table_mpp: MicronsPerPixel | None = None
    """µm per level-0 pixel as the cohort's table says (column `mpp`)."""
    study_mpp: MicronsPerPixel | None = None
    """µm per level-0 pixel as the study says of slides that do not (`slide_mpp`)."""
    max_px: int = MAX_SLIDE_PX
    """Most pixels an image may have (`max_slide_px`)."""
    features: Path | None = None
    """File of features made elsewhere; then there are no images."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A part of a slide that patches are cut from.

    `polygon` is in level-0 pixels of `image`; None means the whole image. Whatever lies outside
    the polygon counts as white (paper, section 2.2; DESIGN, Regions).
    """

    index: int
    image: Path
    polygon: Polygon | MultiPolygon | None
    source: Literal["annotation", "tissue", "whole", "patches"]
    repaired: bool = False
    """Its outline, or one cut out of it, crossed itself, and `polygon` is our reading of it."""
    drawn_as: str | None = None
    """The class that the annotation gives it, where it gives one."""
    files: Mapping[tuple[int, int], Path] | None = None
    """Ready patches by their (x, y), where patches come as files; `image` is the first of them."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchGrid:
    """The kept patches of one slide: coordinates, never pixels.

    `region` int32 [n]; `xy` int32 [n, 2], the patch's top left corner in level-0 pixels of its
    region's image; `white_share` float32 [n], the share of pure white pixels (255, 255, 255 after
    whitening outside the polygon; see `patches.white_level`).
    """

    slide_id: str
    region: NDArray[np.int32]
    xy: NDArray[np.int32]
    white_share: NDArray[np.float32]
    size_level0: SlidePixels
    """Side of a patch in level-0 pixels; differs from the patch's own size where µm/px is set."""
    dropped: int
    """Patches of the grid that were too white to keep."""
    mpp: MicronsPerPixel | None
    """µm per level-0 pixel, None where the slide does not say."""
    repaired: int = 0
    """Regions whose outline crossed itself and was repaired."""

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A patient, slide or group of patches that left the study, and why."""

    step: str
    reason: str
    patient_id: str
    slide_id: str | None = None


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient of the endpoint's cohort."""

    patient_id: str
    label: int
    """Index into `Cohort.classes`."""
    slides: tuple[Slide, ...]
    clinical: Mapping[str, float | str | None]
    """Raw values of the declared clinical columns: numbers, category names, None if missing."""
    split: CohortName | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The patients a study is about, in the order of the table."""

    classes: tuple[str, ...]
    """Names of the classes, negative first."""
    patients: tuple[Patient, ...]
    excluded: tuple[Exclusion, ...]
    enrolled: int
    """Patients in the table, before any exclusion."""
    frame: pd.DataFrame
    """All columns of the table by `patient_id` (index), for the cohort's description only."""
    strata: Mapping[str, str] = field(default_factory=dict)
    """Node stage (class, for a column's endpoint) of every enrolled patient who has one.

    Also of those outside the endpoint and of those with a problem: the split is theirs as well.
    """

    def labels(self) -> dict[str, int]:
        """Class index by patient id."""
        return {patient.patient_id: patient.label for patient in self.patients}


@dataclass(frozen=True, slots=True)
class Partition:
    """Who trains, who validates, who is tested: one random split, or one fold of one repeat."""

    name: str
    cohort_of: Mapping[str, CohortName]
    repeat: int = 0
    fold: int = 0
    seed: int = 0
    held_out: str | None = None
    """The group that is tested, where each fold leaves one out."""
    within_groups: bool = False
    """Groups stay whole, but too few are left: validation patients are of the training groups."""

    def members(self, cohort: CohortName) -> tuple[str, ...]:
        """Patient ids of one cohort, in the table's order."""
        return tuple(p for p, c in self.cohort_of.items() if c == cohort)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% confidence interval, full precision; shares as fractions.

    `value` is NaN, and `reason` says why, where it cannot be computed.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of a two-class cross table at one threshold."""

    tp: int
    fn: int
    tn: int
    fp: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """One patient's score by one method: the mean over all the patient's bags (DESIGN, Merging)."""

    patient_id: str
    method: str
    cohort: str
    label: int
    scores: tuple[float, ...]
    """Probability of each class; sums to 1."""
    repeat: int = 0
    fold: int = 0
    spread: float | None = None
    """SD over an ensemble's members of the probability of the positive class (with more than two,
    of the likeliest class); None where one model scored."""
    imputed: tuple[str, ...] | None = None
    """Clinical columns whose value was missing and imputed, or a category unknown to the model;
    None where the method reads no clinical data."""
    extra: Mapping[str, float] = field(default_factory=dict)
