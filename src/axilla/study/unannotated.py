"""Slides without an annotation beside slides that have one: searched for tissue, and told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.slide_files import annotations_in, name_key
from axilla.core.types import Slide

_SHOWN = 5
_REMEDY = (
    "Name each annotation as its slide, <slide_id>.json, .geojson or .xml; or set regions: tissue "
    "to treat all slides alike, or regions: annotation to refuse those without."
)


def without_annotation(slides: Sequence[Slide], *, config: StudyConfig) -> list[Slide]:
    """Slides that a study with annotations has none of, and takes otherwise (`regions: auto`)."""
    if config.annotation_folder is None or config.regions != "auto":
        return []
    return [slide for slide in slides if slide.annotation is None]


def unannotated(slides: Sequence[Slide], *, config: StudyConfig) -> Problem | None:
    """What to say of slides without an annotation; None where there is nothing to say.

    Returns
    -------
    A fatal problem where no slide has one, for then the folder is another study's or its files are
    named otherwise; else a note.
    """
    missing = without_annotation(slides, config=config)
    if not missing:
        return None
    near = _near(missing, config.annotation_folder)
    if len(missing) == len(slides):
        return Problem(
            cause=f"none of the {len(slides):,} slides has an annotation here.{near}",
            remedy=_REMEDY.replace("; or set", "; leave `annotations:` out; or set"),
            file=config.annotation_folder,
            code="annotation",
        )
    return Problem(
        cause=f"{_share(missing, slides)}, and all tissue that is found on them is taken, of the "
        f"others what is outlined.{near}",
        remedy=_REMEDY,
        file=config.annotation_folder,
        fatal=False,
        code="annotation",
    )


def unannotated_sentences(slides: Sequence[Slide], *, config: StudyConfig) -> tuple[str, ...]:
    """The same for the report."""
    missing = without_annotation(slides, config=config)
    if not missing:
        return ()
    sentence = (
        f"{_share(missing, slides)}: all tissue that was found on them was cut into patches, of "
        "the others what a pathologist outlined. Where that goes with the outcome, a model may "
        "learn it in place of the tumour."
    )
    return (sentence,)


def _share(missing: Sequence[Slide], slides: Sequence[Slide]) -> str:
    verb = "has" if len(missing) == 1 else "have"
    names = _listed([slide.slide_id for slide in missing])
    return f"{len(missing):,} of {len(slides):,} slides {verb} no annotation ({names})"


def _near(missing: Sequence[Slide], folder: Path | None) -> str:
    """Files whose name begins as that of a slide without annotation, such as A.svs.geojson."""
    files = [path for paths in annotations_in(folder).values() for path in paths]
    ids = tuple(name_key(slide.slide_id).casefold() for slide in missing)
    found = [path.name for path in files if name_key(path.stem).casefold().startswith(ids)]
    return f" Files there are named {_listed(found)}." if found else ""


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
