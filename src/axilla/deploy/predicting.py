"""Predict one case: a patient whom the model's study never saw, on a page of two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from axilla import __version__
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import InputProblems, Problem
from axilla.core.memory import available_memory
from axilla.core.private_folder import private_folder, sweep_private_folders
from axilla.core.progress import Reporter, Silent
from axilla.core.types import Slide
from axilla.deploy.applying import apply_model
from axilla.deploy.asking import PreparedCase, prepare, reference_values
from axilla.deploy.case_inputs import CaseInput, ReadCase, read_case
from axilla.deploy.case_maps import SlideMaps, map_notes, slide_maps
from axilla.deploy.case_page import page_of
from axilla.deploy.case_reasons import reasons
from axilla.deploy.case_record import (
    CaseRecord,
    ClinicalValue,
    Doubt,
    ModelFacts,
    Patch,
    SlideFacts,
)
from axilla.deploy.case_scores import case_scores
from axilla.deploy.case_warnings import case_warnings, slide_patches
from axilla.deploy.loading import LoadedModel
from axilla.mil.clinical import Preprocessor
from axilla.report.case_html import render_case
from axilla.report.html import USE_NOTICE
from axilla.study.heat_drawing import THUMBNAIL_PX
from axilla.study.held_patches import HeldPatches

RECORD, PAGE = "case.json", "case.html"
_HELD_SHARE = 4
"""A part of the memory that is left, for the pixels of one slide's patches."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseResult:
    """What a model says of a case."""

    record: CaseRecord
    """As `case.json` holds it."""
    page: str
    """The text of `case.html`."""
    maps: tuple[SlideMaps, ...]
    """Each slide's grid, patch values and pictures."""
    prepared: PreparedCase
    """To ask again, with other clinical values: `asking.probability`."""

    @property
    def doubtful(self) -> bool:
        """Whether a warning says not to believe the number."""
        return self.record.doubtful

    @property
    def json(self) -> str:
        """The text of `case.json`."""
        return store.as_json(self.record.model_dump(mode="json", by_alias=True)) + "\n"

    @property
    def tiles(self) -> Mapping[str, str]:
        """GeoJSON for QuPath by file name."""
        return {name: text for own in self.maps for name, text in own.tiles.items()}


def predict_case(
    model: LoadedModel,
    case: CaseInput,
    *,
    reporter: Reporter | None = None,
    work: Path | None = None,
) -> CaseResult:
    """Ask a model about one patient; nothing is written but in a temporary folder.

    What killed processes left in such folders is removed before.

    Parameters
    ----------
    model
        Of `load_model`: loaded once, asked about many cases.
    case
        Slides, outlines and clinical values.
    reporter
        Is told of the progress.
    work
        A folder of the caller's for grids and features while it is worked on, in place of a
        temporary one that is removed at the end.

    Returns
    -------
    CaseResult
        `write_case` writes it.

    Raises
    ------
    InputProblems
        Files or values are wrong; all problems are in it.
    AxillaError
        Another mistake of the user's.

    Examples
    --------
    >>> model = load_model(Path("out/models/dl-cnb+c"))  # doctest: +SKIP
    >>> case = CaseInput(slides=(Path("P7.svs"),), clinical={"age": 47})  # doctest: +SKIP
    >>> predict_case(model, case).record.probability["N(+)"]  # doctest: +SKIP
    """
    if work is not None:
        return _predict(model, case, reporter or Silent(), work)
    sweep_private_folders()
    with private_folder("case") as folder:
        return _predict(model, case, reporter or Silent(), folder)


def _predict(model: LoadedModel, case: CaseInput, reporter: Reporter, work: Path) -> CaseResult:
    config = model.config(work).model_copy(update={"regions": case.regions})
    read = read_case(case, model=model, config=config)
    held = HeldPatches(available_memory() // _HELD_SHARE, overview_px=THUMBNAIL_PX)
    try:
        application = apply_model(
            model.bundle, read.cohort, config=config, reporter=reporter, ready=model.ready,
            held=held,
        )  # fmt: skip
    except InputProblems as error:
        told = tuple(_of_a_case(problem, table=config.cohort) for problem in error.problems)
        raise InputProblems(told) from error
    prepared = prepare(application)
    seen = [s for s in prepared.patient.slides if slide_patches(prepared, s)]
    maps = tuple(slide_maps(prepared, slide) for slide in reporter.track(seen, "Drawing maps"))
    record = _record(model, read, prepared, maps, config=config)
    page = render_case(page_of(record, maps))
    reporter.done("case", f"patient {record.patient_id}")
    return CaseResult(record, page, maps, prepared)


def _of_a_case(problem: Problem, *, table: Path) -> Problem:
    """A problem with what one can do about it here: neither the patient nor the model goes.

    A case has no `table` of patients: the file is none that anybody could look at.
    """
    remedy = re.sub(r"[,;]? or run with --exclude-failed", "", problem.remedy)
    if "`mpp`" in remedy or "slide_mpp" in remedy:
        remedy = "Give the µm per pixel that the slide was scanned with, or export it again."
    elif "patches." in remedy:
        remedy = "Look at the slide and its outline; how the model cuts patches is its own."
    file = None if problem.file == table else problem.file
    return replace(problem, remedy=remedy, file=file)


def write_case(result: CaseResult, out: Path) -> tuple[Path, ...]:
    """Write page, record and tiles into a folder, each whole or not at all, the record last.

    Returns
    -------
    tuple
        The files; the record is the last one, so that it tells that the others are there.
    """
    files = [out / PAGE]
    store.write_text(out / PAGE, result.page)
    for name, text in result.tiles.items():
        store.write_text(out / name, text)
        files.append(out / name)
    store.write_text(out / RECORD, result.json)
    return (*files, out / RECORD)


def _record(
    model: LoadedModel,
    read: ReadCase,
    case: PreparedCase,
    maps: tuple[SlideMaps, ...],
    *,
    config: StudyConfig,
) -> CaseRecord:
    warnings, scores = case_warnings(case), case_scores(case)
    of_slide = {own.slide.slide_id: own for own in maps}
    slides = [_slide(case, slide, of_slide.get(slide.slide_id)) for slide in case.patient.slides]
    fields = {
        "patient_id": case.patient.patient_id,
        "model": _model(model),
        "doubtful": any(warning.severe for warning in warnings),
        "warnings": tuple(
            Doubt(code=w.code, severe=w.severe, text=w.text, remedy=w.remedy) for w in warnings
        ),
        **scores,
        "reasons": reasons(case, scores),
        "clinical": _clinical(case, config=config),
        "slides": tuple(slides),
        "notes": (*read.notes, *map_notes(config, maps)),
        "files": (PAGE, *(name for own in maps for name in own.tiles)),
        "notice": USE_NOTICE,
    }
    return CaseRecord.model_validate(fields)


def _model(model: LoadedModel) -> ModelFacts:
    record = model.record
    return ModelFacts(
        study=record.get("study") or "",
        method=record["method"],
        endpoint=record["endpoint"],
        classes=model.bundle.classes,
        weights_sha256=record["weights_sha256"],
        encoder=(record.get("encoder") or {}).get("name"),
        members=len(model.bundle.members),
        generated=bool(record.get("generated")),
        axilla=__version__,
    )


def _clinical(case: PreparedCase, *, config: StudyConfig) -> dict[str, ClinicalValue]:
    """Each column as it was given, and as the first member took it."""
    if case.bundle.preprocessor is None:
        return {}
    units = {column.name: column.shown_unit for column in config.clinical.numeric}
    reads = case.bundle.preprocessor
    taken: dict[str, float | str | None] = dict(case.patient.clinical)
    if isinstance(reads, Preprocessor):
        usual = reference_values(reads) or {}
        for cell in reads.filled([case.patient]):
            unknown = cell.value is not None
            taken[cell.column] = None if unknown else usual[cell.column]
    return {
        name: ClinicalValue(value=value, used=taken[name], unit=units.get(name))
        for name, value in case.patient.clinical.items()
    }


def _slide(case: PreparedCase, slide: Slide, own: SlideMaps | None) -> SlideFacts:
    tiles = case.application.tiles
    grid = None if tiles is None else tiles.grids[slide.slide_id]
    files = slide.images if slide.features is None else (slide.features,)
    return SlideFacts(
        slide_id=slide.slide_id,
        images=tuple(path.name for path in files),
        annotation=None if slide.annotation is None else slide.annotation.name,
        patches=slide_patches(case, slide),
        dropped=None if grid is None else grid.dropped,
        mpp=None if grid is None else grid.mpp,
        patch_size_level0=None if grid is None else grid.size_level0,
        top_patches=()
        if own is None
        else tuple(
            Patch(
                image=patch.image,
                x=patch.x,
                y=patch.y,
                attention=patch.attention,
                contribution=patch.contribution,
            )
            for patch in own.top
        ),
        files=() if own is None else tuple(own.tiles),
    )
