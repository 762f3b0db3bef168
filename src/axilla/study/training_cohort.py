"""Who a model was trained on, in aggregates that a new case or cohort is compared with.

Every figure is of ten patients or more, and none can be worked out for fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from axilla.core.config import Clinical
from axilla.core.group_means import group_mean, mean_ends
from axilla.core.methods import method_spec
from axilla.core.store.model_record import SMALLEST_GROUP, SMALLEST_RANGE
from axilla.core.types import MicronsPerPixel, Patient
from axilla.study.fitting import Fitting


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What the summary of a cohort tells of each slide."""

    patches: int
    """Kept."""
    mpp: MicronsPerPixel | None
    """µm per level-0 pixel."""


def class_counts(patients: Sequence[Patient], classes: Sequence[str]) -> dict[str, int]:
    """Patients of each class."""
    return {name: sum(p.label == i for p in patients) for i, name in enumerate(classes)}


def cohort_summary(
    patients: Sequence[Patient], *, classes: Sequence[str], config: Clinical
) -> dict[str, Any]:
    """Counts of classes, and mean, SD, range and shares of the clinical columns.

    A group under 10 patients is not told, and neither is the smallest other group of a column in
    which it would follow by subtraction. Columns that the study does not read are left out.
    """
    read = {name for patient in patients for name in patient.clinical}
    return {
        "patients": len(patients),
        "classes": class_counts(patients, classes),
        "slides": sum(len(patient.slides) for patient in patients) or None,
        "slide_mpp": None,
        "patches": None,
        "numbers": {
            name: _number([p.clinical.get(name) for p in patients])
            for name in config.numeric_names
            if name in read
        },
        "categories": {
            name: _category([p.clinical.get(name) for p in patients])
            for name in config.categorical_names
            if name in read
        },
    }


def slide_summary(
    fitting: Fitting, method: str, patients: Sequence[Patient]
) -> dict[str, dict[str, Any] | None]:
    """`slide_mpp` and `patches` of the summary: µm per pixel, and kept patches a patient.

    Every slide's grid is read. Both are None for a method that looks at no slide, and µm per pixel
    where features were made elsewhere: their files do not say it.
    """
    facts_of = _facts_of(fitting, method)
    if facts_of is None:
        return {"slide_mpp": None, "patches": None}
    facts = [[facts_of(slide.slide_id) for slide in patient.slides] for patient in patients]
    patches = _range([float(sum(fact.patches for fact in own)) for own in facts])
    grids_there = fitting.grids is not None
    return {"slide_mpp": _mpp(facts) if grids_there else None, "patches": patches}


def _facts_of(fitting: Fitting, method: str) -> Callable[[str], SlideFacts] | None:
    if not method_spec(method).images:
        return None
    if fitting.grids is not None:
        grids = fitting.grids

        def of_grid(slide_id: str) -> SlideFacts:
            grid = grids[slide_id]
            return SlideFacts(len(grid), grid.mpp)

        return of_grid
    if fitting.imported is None:
        return None
    files = fitting.imported.facts
    return lambda slide_id: SlideFacts(files[slide_id].patches, None)


def _mpp(facts: Sequence[Sequence[SlideFacts]]) -> dict[str, Any]:
    """Of a cohort's slides, listed by patient: it is patients whose groups must not be small."""
    known = [[f.mpp for f in own if f.mpp is not None] for own in facts]
    saying = sum(bool(own) for own in known)
    silent = sum(len(own) < len(every) for own, every in zip(known, facts, strict=True))
    # With the number of all slides, either count gives the other.
    told = not any(0 < group < SMALLEST_GROUP for group in (saying, silent))
    values = [float(value) for own in known for value in own]
    slides = sum(map(len, facts))
    return {
        "known": len(values) if told else None,
        "unknown": slides - len(values) if told else None,
        **_range(values, patients=saying),
    }


def _range(values: Sequence[float], *, patients: int | None = None) -> dict[str, Any]:
    """Means of the lowest, the middle and the highest ten of these values."""
    ordered = sorted(values)
    told = len(ordered) if patients is None else patients
    first = (len(ordered) - SMALLEST_GROUP) // 2
    middle = ordered[max(first, 0) : max(first, 0) + SMALLEST_GROUP]
    low, high = (mean_ends(ordered) if told >= SMALLEST_RANGE else None) or (None, None)
    return {
        "median": group_mean(middle) if told >= SMALLEST_GROUP else None,
        "low": low,
        "high": high,
    }


def _number(values: Sequence[float | str | None]) -> dict[str, Any]:
    known = np.array([float(value) for value in values if value is not None])
    told = len(known) >= SMALLEST_GROUP
    low, high = mean_ends(sorted(known.tolist())) or (None, None)
    return {
        "mean": float(known.mean()) if told else None,
        "sd": float(known.std(ddof=1)) if told else None,
        "missing": _told(len(values) - len(known)),
        "low": low,
        "high": high,
    }


def _category(values: Sequence[float | str | None]) -> dict[str, Any]:
    counts = Counter(str(value) for value in values if value is not None)
    total = sum(counts.values())
    hidden = {name for name, count in counts.items() if count < SMALLEST_GROUP}
    shown = sorted((count, name) for name, count in counts.items() if name not in hidden)
    if len(hidden) == 1 and shown:
        hidden.add(shown[0][1])
    return {
        "shares": {
            name: None if name in hidden else counts[name] / total for name in sorted(counts)
        },
        "missing": _told(len(values) - total),
    }


def _told(count: int) -> int | None:
    return None if 0 < count < SMALLEST_GROUP else count
