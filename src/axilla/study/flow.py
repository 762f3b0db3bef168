"""The flow diagram: how many patients each step of the study left, and who went there and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from axilla.core.types import COHORT_TITLES, Exclusion, Patient
from axilla.report.contents import FlowStep
from axilla.study.fitting import Fitting
from axilla.study.slide_checks import slides_of
from axilla.study.split_sentences import folds_title
from axilla.study.tiling import Tiles, why_empty

TABLE_STEPS = {"endpoint": "Part of the endpoint", "check": "Inputs in order"}
SLIDE_STEPS = {
    "tile": "Slides cut into patches",
    "bags": "Bags found in the slides",
    "stain": "Stain of the slides estimated",
}
"""Steps at which patients leave (`Exclusion.step`) in the order of the chain, and their boxes."""
_NAMED = 20
"""So many slides without a patch are named."""


def flow_of(fitting: Fitting, tiles: Tiles | None) -> tuple[FlowStep, ...]:
    """The boxes from the table to the cohorts that were analysed.

    A box stands where somebody left, and always at the table, at the cutting of slides and at the
    end; patients left of each are those of the box above without those who left on the way. Nobody
    is dropped without a box: a step that has no title of its own gets one with its name.
    """
    cohort = fitting.cohort
    left = cohort.enrolled
    steps = [FlowStep(title="Patients in the table", patients=left)]
    last_of_slides = 0
    for step, title in _titles(cohort.excluded).items():
        excluded = _reasons(cohort.excluded, step)
        left -= sum(len(ids) for _, ids in excluded)
        if excluded or (step == "tile" and tiles is not None):
            steps.append(FlowStep(title=title, patients=left, excluded=excluded))
            if step in SLIDE_STEPS:
                last_of_slides = len(steps) - 1
    if tiles is not None:
        # Slides and patches are counted once all have left who leave for their slides.
        steps[last_of_slides] = replace(
            steps[last_of_slides],
            slides=len(tiles.grids),
            patches=sum(len(grid) for grid in tiles.grids.values()),
            lost=_lost(fitting, tiles),
        )
    if fitting.imported is not None:
        facts = fitting.imported.facts.values()
        made = FlowStep(title="Features made elsewhere", patients=left, slides=len(facts))
        steps.append(replace(made, patches=sum(fact.patches for fact in facts)))
    steps.append(FlowStep(title="Analysed", patients=left, branches=_branches(fitting)))
    return tuple(steps)


def _lost(fitting: Fitting, tiles: Tiles) -> tuple[str, ...]:
    """Patches and slides that were left out, of patients who are analysed."""
    white = sum(grid.dropped for grid in tiles.grids.values())
    sentences = [f"{white:,} further patches were too white"] if white else []
    empty = [
        f"{slide.slide_id} of patient {slide.patient_id} ({why_empty(tiles.grids[slide.slide_id])})"
        for slide in slides_of(fitting.cohort.patients)
        if slide.slide_id in tiles.grids and len(tiles.grids[slide.slide_id]) == 0
    ]
    if empty:
        told = "; ".join(empty[:_NAMED])
        more = f"; and {len(empty) - _NAMED:,} more" if len(empty) > _NAMED else ""
        sentences.append(f"Slides that give no patch: {told}{more}")
    return tuple(sentences)


def _titles(excluded: tuple[Exclusion, ...]) -> dict[str, str]:
    """Titles by step, in the order of the chain; steps that only an exclusion names at the end."""
    known = {**TABLE_STEPS, **SLIDE_STEPS}
    others = {e.step: f"After the step '{e.step}'" for e in excluded if e.step not in known}
    return {**known, **others}


def _reasons(excluded: tuple[Exclusion, ...], step: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Patients by reason; one who left for two reasons at once is counted under the first."""
    first: dict[str, str] = {}
    for exclusion in excluded:
        if exclusion.step == step:
            first.setdefault(exclusion.patient_id, exclusion.reason)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for patient, reason in first.items():
        by_reason[reason].append(patient)
    return tuple((reason, tuple(ids)) for reason, ids in by_reason.items())


def _branches(fitting: Fitting) -> tuple[tuple[str, int, str], ...]:
    if len(fitting.partitions) > 1:
        title = folds_title(fitting.config, fitting.partitions)
        patients = fitting.cohort.patients
        return ((title, len(patients), class_mix(patients, fitting.cohort.classes)),)
    return tuple(
        (COHORT_TITLES[name], len(members), class_mix(members, fitting.cohort.classes))
        for name in ("train", "val", "test")
        if (members := fitting.patients(fitting.partitions[0], name))
    )


def class_mix(patients: tuple[Patient, ...], classes: tuple[str, ...]) -> str:
    """Patients by class: '390 N0, 240 N(+)'."""
    counts = (sum(p.label == index for p in patients) for index in range(len(classes)))
    return ", ".join(f"{count} {name}" for count, name in zip(counts, classes, strict=True))
