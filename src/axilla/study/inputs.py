"""The inputs of a study, checked: every problem at once, before any computing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from axilla.core.cohort import read_cohort, without
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, InputProblems, Problem
from axilla.core.progress import Reporter
from axilla.core.split import make_partitions
from axilla.core.types import Cohort, Patient, Region, Slide
from axilla.mil.clinical import fit_preprocessor
from axilla.study.imported import check_imported
from axilla.wsi.annotations import check_regions
from axilla.wsi.regions import find_regions
from axilla.wsi.slides import open_slide


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """The patients that can be studied, and everything that is wrong."""

    cohort: Cohort | None
    """None where the table itself cannot be used."""
    problems: tuple[Problem, ...]


def check_inputs(
    config: StudyConfig, *, reporter: Reporter, known: Callable[[Slide], bool] | None = None
) -> CheckResult:
    """Read the table, open every slide, read every annotation, try the split.

    Parameters
    ----------
    known
        Slides of which it is true were in order before and did not change; they are not opened.

    Returns
    -------
    CheckResult
        `cohort` without the patients that have a problem of their own.
    """
    try:
        reading = read_cohort(config)
    except AxillaError as error:
        return CheckResult(cohort=None, problems=(error.problem,))
    problems = list(reading.problems)
    cohort = reading.cohort
    if config.imported is not None:
        problems.extend(check_imported(cohort, config=config, reporter=reporter)[1])
    elif config.uses_slides:
        problems.extend(_check_encoder(config))
        for patient in reporter.track(cohort.patients, "Checking slides"):
            for slide in patient.slides:
                if known is None or not known(slide):
                    problems.extend(_check_slide(slide, config))
    cohort = without(cohort, _dropped(problems, cohort))
    if not any(problem.fatal for problem in problems):
        found = _check_split(cohort, config)
        if problems:
            found = [
                replace(p, cause=f"without the patients named above, {p.cause}") for p in found
            ]
        problems.extend(found)
    return CheckResult(cohort=cohort, problems=tuple(problems))


def usable_cohort(
    config: StudyConfig,
    *,
    exclude_failed: bool,
    reporter: Reporter,
    known: Callable[[Slide], bool] | None = None,
) -> Cohort:
    """The cohort to study.

    Raises
    ------
    InputProblems
        Something is wrong that `exclude_failed` cannot leave out, or anything at all without it.
    """
    result = check_inputs(config, reporter=reporter, known=known)
    stopping = tuple(p for p in result.problems if p.fatal or not exclude_failed)
    if stopping or result.cohort is None:
        raise InputProblems(stopping)
    return result.cohort


def drop_patients(
    cohort: Cohort, problems: list[Problem], *, step: str, exclude_failed: bool
) -> Cohort:
    """The cohort without patients who failed in a step.

    Raises
    ------
    InputProblems
        There are such patients and the user did not ask to go on without them.
    """
    if problems and not exclude_failed:
        raise InputProblems(tuple(problems))
    return without(cohort, {str(p.patient): (step, p.cause) for p in problems})


def slides_of(patients: tuple[Patient, ...]) -> list[Slide]:
    """All slides, in the patients' order."""
    return [slide for patient in patients for slide in patient.slides]


def excludable(error: AxillaError, slide: Slide) -> Problem:
    """A problem of one slide as a problem of its patient."""
    return Problem(
        cause=error.problem.cause,
        remedy=error.problem.remedy,
        patient=slide.patient_id,
        file=error.problem.file,
        fatal=False,
    )


def _dropped(problems: list[Problem], cohort: Cohort) -> dict[str, tuple[str, str]]:
    """Step and reasons by patient; who is outside the endpoint has left before."""
    outside = {exclusion.patient_id for exclusion in cohort.excluded}
    causes: dict[str, list[str]] = {}
    for problem in problems:
        if problem.patient is not None and not problem.fatal and problem.patient not in outside:
            causes.setdefault(problem.patient, []).append(problem.cause)
    return {patient: ("check", " ".join(found)) for patient, found in causes.items()}


def _check_slide(slide: Slide, config: StudyConfig) -> list[Problem]:
    problems: list[Problem] = []
    regions: tuple[Region, ...] = ()
    try:
        regions = find_regions(slide, mode=config.regions)
    except AxillaError as error:
        problems.append(excludable(error, slide))
    for image in slide.images:
        drawn = tuple(region for region in regions if region.image == image)
        try:
            with open_slide(image, slide_id=slide.slide_id, patient_id=slide.patient_id) as reader:
                size = reader.size
        except AxillaError as error:
            problems.append(excludable(error, slide))
            continue
        problems.extend(
            check_regions(
                drawn, size=size, patient_id=slide.patient_id, file=slide.annotation or image
            )
        )
    # A search for tissue opens the image as well, and then both say the same.
    return list(dict.fromkeys(problems))


def _check_split(cohort: Cohort, config: StudyConfig) -> list[Problem]:
    """Whether the cohort can be split, and the clinical columns can be learned from."""
    try:
        partitions = make_partitions(cohort, config=config)
        if config.uses_clinical:
            for partition in partitions:
                members = set(partition.members("train"))
                training = [p for p in cohort.patients if p.patient_id in members]
                fit_preprocessor(training, config=config.clinical)
    except AxillaError as error:
        problem = error.problem
        return [problem if problem.file is not None else replace(problem, file=config.cohort)]
    return []


def _check_encoder(config: StudyConfig) -> list[Problem]:
    from axilla.features.encoders import check_encoder

    try:
        check_encoder(config.encoder)
    except AxillaError as error:
        return [error.problem]
    return []
