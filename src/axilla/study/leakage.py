"""Leakage by identity: one patient, one slide or one site that would stand on two sides."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.types import Cohort, Slide


def alike_patients(cohort: Cohort, *, config: StudyConfig) -> list[Problem]:
    """Patients whose ids differ only by case, space or leading zeros; one problem a patient.

    Every enrolled patient is compared, also those outside the endpoint: if two ids are one person,
    the split may test and train on that person.
    """
    return [
        Problem(
            cause=f"the id is that of patient {', '.join(others)} but for case, space or leading "
            "zeros: if they are one person, training and test may share that person.",
            remedy="Write one person's id always the same; give two people ids that differ more.",
            patient=patient,
            file=config.cohort,
            fatal=False,
            code="alike-patients",
        )
        for names in _alike(map(str, cohort.frame.index))
        for patient in names
        for others in [[name for name in names if name != patient]]
    ]


def alike_groups(cohort: Cohort, *, config: StudyConfig) -> list[Problem]:
    """Sites written in several ways, whose patients would not be kept together."""
    if config.group_column is None:
        return []
    return [
        Problem(
            cause=f"`{config.group_column}` writes one group in several ways "
            f"({', '.join(map(repr, names))}), so it would be split.",
            remedy="Write each group always the same.",
            file=config.cohort,
            code="alike-groups",
        )
        for names in _alike(p.group for p in cohort.patients if p.group is not None)
    ]


def content_files(slide: Slide) -> tuple[Path, ...]:
    """The files that a slide is: its images, else its features made elsewhere."""
    return slide.images if slide.features is None else (slide.features,)


def duplicate_slides(
    slides: Sequence[Slide], same: Iterable[Sequence[Path]], *, patches: bool = False
) -> list[Problem]:
    """Slides that hold the same bytes as another slide; `same` are groups of equal files.

    One problem for every slide of such a group: nobody can tell from here whose slide it is. Of
    ready `patches` most must be another slide's: two patches of one colour may well be equal.
    """
    owner = {file: slide for slide in slides for file in content_files(slide)}
    problems: dict[tuple[str, str], Problem] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for group in same:
        owners = list(dict.fromkeys(owner[image] for image in group))
        for image in group:
            slide = owner[image]
            others = [other for other in owners if other != slide]
            if not others:
                continue  # two equal regions of one slide
            shared[slide.patient_id, slide.slide_id] += 1
            named = ", ".join(f"slide {o.slide_id} of patient {o.patient_id}" for o in others)
            problems.setdefault(
                (slide.patient_id, slide.slide_id),
                Problem(
                    cause=f"the slide {slide.slide_id} holds the same "
                    f"{'image' if slide.images else 'features'}, byte for byte, as {named}.",
                    remedy="Find out whose slide it is and give it to that patient once, or run "
                    "with --exclude-failed.",
                    patient=slide.patient_id,
                    file=image,
                    fatal=False,
                    slide=slide.slide_id,
                    code="duplicate-slide",
                ),
            )
    if patches:
        images = {(slide.patient_id, slide.slide_id): len(slide.images) for slide in slides}
        return [p for who, p in problems.items() if 2 * shared[who] > images[who]]
    return list(problems.values())


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that are one name but for case, space and leading zeros."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(_bare(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _bare(name: str) -> str:
    # NFKC: full-width digits and no-break spaces come in with tables from other programs.
    text = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"\s+", "", text))
