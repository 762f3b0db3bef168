"""The inputs of a study, checked: every problem at once, before any computing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from axilla.core.cohort import read_cohort, without
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, InputProblems, Problem, WriteError
from axilla.core.progress import Reporter
from axilla.core.split import make_partitions
from axilla.core.types import Cohort
from axilla.study.checking import CheckMemory, same_files, write_check
from axilla.study.clinical_checks import unseen_categories
from axilla.study.given import check_given
from axilla.study.imported import check_imported
from axilla.study.leakage import alike_groups, alike_patients, duplicate_slides
from axilla.study.people import check_saved_split
from axilla.study.slide_checks import check_slides, slides_of
from axilla.study.telling import telling_columns


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """The patients that can be studied, and everything that is wrong."""

    cohort: Cohort | None
    """None where the table itself cannot be used."""
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    """What may well be right, and somebody should look at; nobody leaves the study for it."""


def check_inputs(
    config: StudyConfig, *, reporter: Reporter, memory: CheckMemory, slides_only: bool = False
) -> CheckResult:
    """Read the table, open every slide, read every annotation, try the split, look for leakage.

    Parameters
    ----------
    memory
        Slides that it knows were in order before and did not change; they are not opened.
    slides_only
        Leave out what only training needs: the encoder's weights, the split, copied slides; and
        leave no trace in the output folder.

    Returns
    -------
    CheckResult
        `cohort` without the patients that have a problem of their own.
    """
    try:
        reading = read_cohort(config)
    except AxillaError as error:
        result = CheckResult(cohort=None, problems=(error.problem,))
        return result if slides_only else _written(result, config=config, memory=memory)
    problems = list(reading.problems)
    notes: list[Problem] = list(reading.notes)
    cohort = reading.cohort
    slides = slides_of(cohort.patients) if config.imported is None else []
    if config.uses_slides:
        patients = cohort.patients if slides else ()
        for found in check_slides(patients, config, reporter=reporter, memory=memory):
            problems.extend(found.problems)
            notes.extend(found.notes)
    for note in notes:
        reporter.say(f"note      {note}")
    if slides_only:
        cohort = without(cohort, _dropped(problems, cohort))
        return CheckResult(cohort=cohort, problems=tuple(problems), notes=tuple(notes))
    problems.extend(alike_patients(cohort, config=config))
    if config.imported is not None:
        problems.extend(check_imported(cohort, config=config, reporter=reporter)[1])
    elif config.uses_slides:
        problems.extend(_check_encoder(config))
        problems.extend(_check_reference(config))
        images = [image for slide in slides for image in slide.images]
        same = same_files(images, memory=memory)
        problems.extend(duplicate_slides(slides, same, patches=config.regions == "patches"))
        problems.extend(_check_bags(without(cohort, _dropped(problems, cohort)), config))
    cohort = without(cohort, _dropped(problems, cohort))
    if not any(problem.fatal for problem in problems):
        unsplit = _check_split(cohort, config)
        if problems:
            unsplit = [
                replace(p, cause=f"without the patients named above, {p.cause}") for p in unsplit
            ]
        problems.extend(unsplit)
    result = CheckResult(cohort=cohort, problems=tuple(problems), notes=tuple(notes))
    return _written(result, config=config, memory=memory)


def usable_cohort(
    config: StudyConfig, *, exclude_failed: bool, reporter: Reporter, memory: CheckMemory
) -> Cohort:
    """The cohort to study; parameters as of `check_inputs`.

    Raises
    ------
    InputProblems
        Something is wrong that `exclude_failed` cannot leave out, or anything at all without it.
    """
    result = check_inputs(config, reporter=reporter, memory=memory)
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


def _dropped(problems: list[Problem], cohort: Cohort) -> dict[str, tuple[str, str]]:
    """Step and reasons by patient; who is outside the endpoint has left before."""
    outside = {exclusion.patient_id for exclusion in cohort.excluded}
    causes: dict[str, list[str]] = {}
    for problem in problems:
        if problem.patient is not None and not problem.fatal and problem.patient not in outside:
            causes.setdefault(problem.patient, []).append(problem.cause)
    return {patient: ("check", " ".join(found)) for patient, found in causes.items()}


def _written(result: CheckResult, *, config: StudyConfig, memory: CheckMemory) -> CheckResult:
    """The same result, kept in the output folder; that it cannot be written is a problem too."""
    try:
        memory.save()
        write_check(config, cohort=result.cohort, problems=result.problems)
    except WriteError as error:
        return replace(result, problems=(*result.problems, error.problem))
    return result


def _check_bags(cohort: Cohort, config: StudyConfig) -> list[Problem]:
    try:
        return check_given(slides_of(cohort.patients), config=config)
    except AxillaError as error:
        return [error.problem]


def _check_split(cohort: Cohort, config: StudyConfig) -> list[Problem]:
    """Whether the cohort can be split, and the clinical columns can and may be learned from."""
    try:
        partitions = make_partitions(cohort, config=config)
        leaks = [
            *alike_groups(cohort, config=config),
            *check_saved_split(cohort, partitions, config=config),
            *telling_columns(cohort, partitions, config=config),
        ]
        if config.uses_clinical:
            leaks += unseen_categories(cohort, partitions, config=config)
    except AxillaError as error:
        problem = error.problem
        return [problem if problem.file is not None else replace(problem, file=config.cohort)]
    return leaks


def _check_encoder(config: StudyConfig) -> list[Problem]:
    from axilla.features.encoders import check_encoder

    try:
        check_encoder(config.encoder)
    except AxillaError as error:
        return [error.problem]
    return []


def _check_reference(config: StudyConfig) -> list[Problem]:
    """Whether the reference image of the stain can be used."""
    if config.stain is None or config.stain.reference is None:
        return []
    from axilla.study.staining import reference_stain

    try:
        reference_stain(config.stain)
    except AxillaError as error:
        return [error.problem]
    return []
