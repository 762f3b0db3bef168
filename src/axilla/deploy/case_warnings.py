"""What stops a case's number from being believed, each with a code for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axilla.core.config_clinical import NumericColumn
from axilla.core.errors import StatisticsError
from axilla.core.types import Slide
from axilla.deploy.asking import PreparedCase
from axilla.mil.clinical import Preprocessor
from axilla.study.reference import SEED, distance_of, patient_vector

FAR_QUANTILE = "0.95"
"""Of the training cohort's distances: what lies beyond is far."""
MPP_RATIO = 1.1
"""Scanners of one magnification differ by less."""
MOST_WHITE = 0.8
"""Share of a slide's patches too white to keep, beyond which its outline is worth a look."""


@dataclass(frozen=True, slots=True)
class CaseWarning:
    """One reason for doubt."""

    code: str
    text: str
    severe: bool
    """Whether the number should not be believed because of it."""
    remedy: str = ""
    """What can be done about it, if anything. It names neither an option nor a field: the same
    warning is read on the command line, in the browser and on paper."""


def case_warnings(case: PreparedCase) -> tuple[CaseWarning, ...]:
    """All of them, the severe ones first."""
    found = [*_tissue(case), *_features(case), *_scale(case), *_clinical(case), *_slides(case)]
    return tuple(sorted(found, key=lambda warning: not warning.severe))


def slide_patches(case: PreparedCase, slide: Slide) -> int:
    """Patches of a slide that are looked at."""
    slides = case.application.fitting.slides
    return 0 if slides is None else len(slides[slide.slide_id])


def _cohort(case: PreparedCase) -> Mapping[str, Any]:
    return case.bundle.record.get("training_cohort") or {}


def _tissue(case: PreparedCase) -> Iterator[CaseWarning]:
    """Too little tumour, or little beside what the training patients had."""
    if case.bundle.network is None:
        return
    total = sum(slide_patches(case, slide) for slide in case.patient.slides)
    bag = case.application.fitting.config.bags.size
    told = f"{total} patch{'es' if total != 1 else ''}"
    if total < bag:
        yield CaseWarning(
            "few_patches",
            f"Too little tumour: {told} in all, fewer than the {bag} of one bag that the model "
            "was trained on.",
            severe=True,
        )
        return
    low = (_cohort(case).get("patches") or {}).get("low")
    if low is not None and total < low:
        yield CaseWarning(
            "fewer_patches_than_training",
            f"Little tumour: {told}; the ten training patients with the least had {low:.0f} on "
            "average.",
            severe=False,
        )


def _features(case: PreparedCase) -> Iterator[CaseWarning]:
    """Slides that do not look like those of the training patients."""
    if case.bundle.network is None:
        return
    reference, features = distance_of(case.bundle.record), case.features
    if reference is None or features is None:
        why = (case.bundle.record.get("reference") or {}).get("reason")
        if reference is not None:
            why = "a patch's features depend on its bag"
        yield CaseWarning(
            "distance_unknown",
            "It cannot be told whether these slides look like those that the model was trained "
            f"on: {why or 'the model does not hold what they would be compared with'}.",
            severe=False,
        )
        return
    slides = [features[slide.slide_id] for slide in case.patient.slides]
    try:
        distance = reference.distance(patient_vector(slides, seed=SEED))
    except StatisticsError as error:
        yield CaseWarning("distance_unknown", f"The {error.problem.cause}", severe=False)
        return
    limit = reference.quantiles[FAR_QUANTILE]
    if distance > limit:
        yield CaseWarning(
            "far_from_training",
            "These slides do not look like those that the model was trained on: their features "
            f"lie at a distance of {distance:.2f}, and 95% of such patients within {limit:.2f}. "
            "Stain, scanner, tissue or magnification may differ.",
            severe=True,
        )


def _scale(case: PreparedCase) -> Iterator[CaseWarning]:
    tiles, config = case.application.tiles, case.application.fitting.config
    if case.bundle.network is None:
        return
    if tiles is None:
        yield CaseWarning(
            "mpp_unknown",
            "Files of features do not say their µm per pixel, so that it cannot be compared.",
            severe=False,
        )
        return
    trained = _cohort(case).get("slide_mpp") or {}
    known = {s.slide_id: tiles.grids[s.slide_id].mpp for s in case.patient.slides}
    silent = [slide for slide, mpp in known.items() if mpp is None]
    if silent:
        yield CaseWarning(
            "mpp_unknown",
            f"The µm per pixel of {_named(silent)} is not known, so that it cannot be told whether "
            "the magnification is that of the training slides.",
            severe=False,
            remedy="Give it, if it is known, and ask again.",
        )
    said = {slide: float(mpp) for slide, mpp in known.items() if mpp is not None}
    target = config.patches.mpp
    if said and target is None and trained.get("median") is None:
        yield CaseWarning(
            "training_mpp_unknown",
            "The model does not tell the µm per pixel of its training slides, so that the "
            f"magnification of {_named(list(said))} cannot be compared.",
            severe=False,
        )
        return
    for slide_id, mpp in said.items():
        if target is not None and mpp > MPP_RATIO * target:
            yield CaseWarning(
                "mpp_differs",
                f"Slide {slide_id} has {mpp:.3g} µm per pixel, and its patches were enlarged to "
                f"{target:g}: they lack the detail that the model was trained on.",
                severe=True,
            )
        elif target is None and _ratio(mpp, trained) > MPP_RATIO:
            yield CaseWarning(
                "mpp_differs",
                f"Slide {slide_id} has {mpp:.3g} µm per pixel, the training slides "
                f"{trained['median']:.3g} in the middle: the model sees tissue at another "
                "magnification than it was trained on.",
                severe=True,
            )


def _named(slides: Sequence[str]) -> str:
    return f"slide{'s' if len(slides) > 1 else ''} {', '.join(slides)}"


def _ratio(mpp: float, trained: Mapping[str, Any]) -> float:
    """How far off, as a ratio of 1 or more, from what the training slides had."""
    middle = float(trained["median"])
    low, high = trained.get("low"), trained.get("high")
    low, high = (middle if low is None else low), (middle if high is None else high)
    return max(mpp / high, low / mpp, 1.0)


def _clinical(case: PreparedCase) -> Iterator[CaseWarning]:
    """Values out of the trained range, unseen, or filled in."""
    reads = [m.reads for m in case.bundle.members if isinstance(m.reads, Preprocessor)]
    if not reads:
        return
    filled = {cell.column: cell for one in reads for cell in one.filled([case.patient])}
    first = reads[0]
    used = {
        **{name: f"{mean:.3g}" for name, mean in zip(first.numeric, first.means, strict=True)},
        **dict(zip(first.categorical, first.modes, strict=True)),
    }
    for column, cell in filled.items():
        if cell.value is None:
            yield CaseWarning(
                "imputed",
                f"`{column}` is not given: {used[column]} stands in its place, the training "
                f"patients' {'mean' if column in first.numeric else 'most frequent'}.",
                severe=True,
                remedy="Give it, if it is known, and ask again.",
            )
        else:
            yield CaseWarning(
                "unseen_category",
                f"`{column}` is {cell.value!r}, which no training patient had: the model takes it "
                "for none of those it knows.",
                severe=True,
            )
    yield from _ranges(case, first)


def _ranges(case: PreparedCase, reads: Preprocessor) -> Iterator[CaseWarning]:
    numbers = _cohort(case).get("numbers") or {}
    ranges = dict(zip(reads.numeric, reads.ranges, strict=False))
    units = dict(zip(reads.numeric, reads.units, strict=False))
    # A model of few patients tells no range: what is known of the column's name is left.
    known = {c.name: c for c in case.application.fitting.config.clinical.numeric}
    for column in reads.numeric:
        value = case.patient.clinical[column]
        if value is None:
            continue
        told = numbers.get(column) or {}
        low, high = told.get("low"), told.get("high")
        what = "the lowest and the highest ten training patients are at"
        if low is None or high is None:
            low, high = ranges.get(column) or (None, None)
            what = reads.ends
        unit = f" {units[column]}" if units.get(column) else ""
        doubt = _untypical(known.get(column), float(value))
        if low is None or high is None:
            yield CaseWarning(
                "range_unknown",
                f"The model does not tell the range of `{column}` that it was trained on.",
                severe=False,
            )
            if doubt:
                yield CaseWarning(
                    "untypical", f"`{column}` is {float(value):g}{unit}, {doubt}", severe=True
                )
        elif not low <= float(value) <= high:
            yield CaseWarning(
                "out_of_range",
                f"`{column}` is {float(value):g}{unit}; {what} {low:.3g} to {high:.3g}{unit}, so "
                f"the model knows little of such patients.{f' It is {doubt}' if doubt else ''}",
                severe=True,
            )


def _untypical(column: NumericColumn | None, value: float) -> str:
    """What is odd about a number that is more than a patient usually has; empty if nothing."""
    if column is None or column.typical is None or value <= column.typical[1]:
        return ""
    asked = "is it in mm?" if column.name.endswith("_cm") else "is it right?"
    return f"more than {column.typical[1]:g}: {asked}"


def _slides(case: PreparedCase) -> Iterator[CaseWarning]:
    """What is odd about the slides and their outlines."""
    application = case.application
    tiles, config = application.tiles, application.fitting.config
    if tiles is None:
        return
    drawn = config.regions in {"auto", "tissue"}
    for slide in case.patient.slides:
        grid = tiles.grids[slide.slide_id]
        cut_regions = len(slide.images) > 1
        outlined = case.bundle.record.get("outlined") == "all"
        if drawn and outlined and slide.annotation is None and not cut_regions:
            yield CaseWarning(
                "annotation_missing",
                f"Slide {slide.slide_id} has no outline of its tumour, and the model was trained "
                "on outlined tumour: here it looks at all tissue.",
                severe=True,
                remedy="Outline the tumour and ask again.",
            )
        total = len(grid) + grid.dropped
        if total and grid.dropped > MOST_WHITE * total:
            yield CaseWarning(
                "mostly_white",
                f"Of slide {slide.slide_id} {grid.dropped:,} of {total:,} patches were too white "
                "to be looked at: is its outline where the tissue is?",
                severe=False,
            )
        if not len(grid):
            yield CaseWarning(
                "slide_without_patches",
                f"No patch of slide {slide.slide_id} was kept: it has no part in the number.",
                severe=False,
            )
    stains = application.fitting.stains
    for slide_id in () if stains is None else stains.kept:
        yield CaseWarning(
            "stain_kept",
            f"The stain of slide {slide_id} could not be estimated: it keeps its own colours.",
            severe=False,
        )
    for note in application.notes:
        yield CaseWarning("annotation_fit", _capital(note.cause), severe=False)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
