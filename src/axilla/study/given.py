"""Bags given by a file: every patch found among the slide's, or said to be missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.given_bags import GivenBags, read_bags
from axilla.core.patch_names import PatchName
from axilla.core.types import PatchGrid, Slide
from axilla.wsi.ready import ready_patches

BagIndices = Mapping[str, Sequence[NDArray[np.int64]]]
"""Given bags by slide id, as places in the slide's grid."""


def bags_record(config: StudyConfig) -> dict[str, Any]:
    """The bags' settings; a file by its name and content, not by its place."""
    record = config.bags.model_dump(mode="json", exclude_none=False)
    del record["file"]
    if config.bags.file is not None:
        record["file"] = config.bags.file.name
        record["file_sha256"] = store.file_identity(config.bags.file, content=True)
    return record


def check_given(
    slides: Iterable[Slide], *, enrolled: Iterable[Slide], config: StudyConfig
) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the file of bags, as far as it can be told before slides are cut; notes.

    Parameters
    ----------
    slides
        Of the patients in order so far: each needs its bags.
    enrolled
        Of all patients of the table: bags of other slides are noted.

    Raises
    ------
    CohortError
        The file cannot be read.
    """
    file = config.bags.file
    if file is None:
        return [], []
    bags = read_bags(file)
    problems = []
    for slide in slides:
        known = ready_patches(slide) if config.regions == "patches" else None
        problems.extend(_missing(slide, bags, known, file=file))
    return problems, _unused(bags, enrolled, file=file)


def _unused(bags: GivenBags, enrolled: Iterable[Slide], *, file: Path) -> list[Problem]:
    """A note on bags of slides that nobody has."""
    known = {slide.slide_id for slide in enrolled}
    extra = [slide for slide in bags if slide not in known]
    if not extra:
        return []
    named = ", ".join(extra[:3]) + (", ..." if len(extra) > 3 else "")
    return [
        Problem(
            cause=f"the file has bags of {len(extra):,} slides that no patient of this study has "
            f"({named}); they are not used.",
            remedy="Nothing, where they belong to patients outside the endpoint.",
            file=file,
            fatal=False,
        )
    ]


def find_given(
    slides: Iterable[Slide], grids: Mapping[str, PatchGrid], *, config: StudyConfig
) -> tuple[BagIndices | None, list[Problem]]:
    """The given bags as places in the grids (None where the study draws its bags), and problems.

    Raises
    ------
    CohortError
        The file cannot be read.
    """
    file = config.bags.file
    if file is None:
        return None, []
    bags = read_bags(file)
    indices: dict[str, Sequence[NDArray[np.int64]]] = {}
    problems: list[Problem] = []
    for slide in slides:
        place = _places(grids[slide.slide_id])
        missing = list(_missing(slide, bags, place, file=file))
        problems += missing
        if not missing:
            indices[slide.slide_id] = [
                np.array([place[name] for name in bag], dtype=np.int64)
                for bag in bags[slide.slide_id]
            ]
    return indices, problems


def _places(grid: PatchGrid) -> dict[PatchName, int]:
    """Where each patch stands in the grid."""
    rows = zip(grid.region.tolist(), grid.xy.tolist(), strict=True)
    return {
        PatchName(grid.slide_id, region, x, y): place for place, (region, (x, y)) in enumerate(rows)
    }


def _missing(
    slide: Slide, bags: GivenBags, known: Iterable[PatchName] | None, *, file: Path
) -> list[Problem]:
    """What a slide lacks: its bags, or patches of them."""
    if slide.slide_id not in bags:
        return [
            Problem(
                cause=f"slide {slide.slide_id} has no bag.",
                remedy="Add its bags to the file, or run with --exclude-failed.",
                patient=slide.patient_id,
                file=file,
                fatal=False,
            )
        ]
    if known is None:
        return []
    there = set(known)
    wanted = dict.fromkeys(name for bag in bags[slide.slide_id] for name in bag)
    gone = [name for name in wanted if name not in there]
    if not gone:
        return []
    return [
        Problem(
            cause=f"the patch {gone[0]} of a bag is not among the patches of slide "
            f"{slide.slide_id} ({len(gone)} of the {len(wanted)} in its bags are missing).",
            remedy="Add the patches, correct the file of bags, or run with --exclude-failed.",
            patient=slide.patient_id,
            file=file,
            fatal=False,
        )
    ]
