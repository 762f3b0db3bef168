"""The inputs of a study, checked: every problem at once, before any computing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from axilla.core.cohort import without
from axilla.core.cohort_union import Everybody, read_everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, InputProblems, Problem, WriteError
from axilla.core.progress import Reporter
from axilla.core.split import cut_partitions, partitions_of
from axilla.core.types import Cohort, Partition, Slide
from axilla.study.checking import CheckMemory, same_files, write_check
from axilla.study.clinical_checks import unseen_categories
from axilla.study.drawn_classes import several_classes
from axilla.study.given import check_given
from axilla.study.imported import check_imported
from axilla.study.leakage import alike_groups, alike_patients, content_files, duplicate_slides
from axilla.study.mixed_scales import mixed_scales
from axilla.study.nuclei_checks import check_nuclei
from axilla.study.people import check_saved_split
from axilla.study.slide_checks import check_slides, slides_of
from axilla.study.telling import telling_columns
from axilla.study.unannotated import unannotated


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """The patients that can be studied, and everything that is wrong."""

    everybody: Everybody | None
    """None where the table itself cannot be used."""
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    """What may well be right, and somebody should look at; nobody leaves the study for it."""

    @property
    def cohort(self) -> Cohort | None:
        """The patients of any endpoint."""
        return None if self.everybody is None else self.everybody.cohort


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
        everybody = read_everybody(config)
    except AxillaError as error:
        causes = error.problems if isinstance(error, InputProblems) else (error.problem,)
        result = CheckResult(everybody=None, problems=causes)
        return result if slides_only else _written(result, config=config, memory=memory)
    cohort = everybody.cohort
    notes: list[Problem] = list(everybody.notes)
    shared: list[Problem] = []
    # Slides of patients whom the table puts out as well: all that is wrong is told at once.
    patients = (*cohort.patients, *everybody.unusable)
    slides = slides_of(patients) if config.imported is None else []
    if slides:
        found = list(check_slides(patients, config, reporter=reporter, memory=memory))
        shared.extend(problem for own in found for problem in own.problems)
        notes.extend(note for own in found for note in own.notes)
        # What is noted of all slides together is for those who train on them.
        mixed = None if slides_only else mixed_scales((s.mpp for s in found), config=config)
        classes = several_classes((s.classes for s in found), config=config)
        for told in (mixed, classes, unannotated(slides, config=config)):
            if told is not None:
                (shared if told.fatal else notes).append(told)
    for note in notes:
        reporter.say(f"note      {note}")
    if slides_only:
        problems = (*everybody.problems, *shared)
        return CheckResult(everybody.without(shared), problems=problems, notes=tuple(notes))
    shared.extend(alike_patients(cohort, config=config))
    if config.imported is not None:
        everyone = replace(cohort, patients=patients)
        shared.extend(check_imported(everyone, config=config, reporter=reporter)[1])
        made = slides_of(patients)
        files = [file for slide in made for file in content_files(slide)]
        shared.extend(duplicate_slides(made, same_files(files, memory=memory)))
    elif config.uses_slides:
        if config.uses_patches:
            shared.extend(_check_encoder(config))
        shared.extend(_check_reference(config))
        images = [image for slide in slides for image in slide.images]
        same = same_files(images, memory=memory)
        shared.extend(duplicate_slides(slides, same, patches=config.regions == "patches"))
        wrong, unused = _check_bags(everybody.without(shared).cohort, slides, config)
        shared.extend(wrong)
        for note in unused:
            reporter.say(f"note      {note}")
        notes.extend(unused)
        shared.extend(check_nuclei(slides, config=config))
    shared.extend(_check_extras(config))
    problems = (*everybody.problems, *shared)
    everybody = everybody.without(shared)
    if not any(problem.fatal for problem in problems):
        unsplit = _check_split(everybody, config)
        if problems:
            unsplit = [
                replace(p, cause=f"without the patients named above, {p.cause}") for p in unsplit
            ]
        problems = (*problems, *unsplit)
    result = CheckResult(everybody, problems=problems, notes=tuple(notes))
    return _written(result, config=config, memory=memory)


def usable_patients(
    config: StudyConfig, *, exclude_failed: bool, reporter: Reporter, memory: CheckMemory
) -> Everybody:
    """The patients to study, of every endpoint; parameters as of `check_inputs`.

    Raises
    ------
    InputProblems
        Something is wrong that `exclude_failed` cannot leave out, or anything at all without it.
    """
    result = check_inputs(config, reporter=reporter, memory=memory)
    stopping = tuple(p for p in result.problems if p.fatal or not exclude_failed)
    if stopping or result.everybody is None:
        raise InputProblems(stopping)
    return result.everybody


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
    causes: dict[str, list[str]] = {}
    for problem in problems:
        causes.setdefault(str(problem.patient), []).append(problem.cause)
    # Of a patient with several slides each problem is a reason.
    return without(cohort, {p: (step, " ".join(told)) for p, told in causes.items()})


def _written(result: CheckResult, *, config: StudyConfig, memory: CheckMemory) -> CheckResult:
    """The same result, kept in the output folder; that it cannot be written is a problem too."""
    try:
        memory.save()
        write_check(
            config, everybody=result.everybody, problems=result.problems, notes=result.notes
        )
    except WriteError as error:
        return replace(result, problems=(*result.problems, error.problem))
    return result


def _check_bags(
    cohort: Cohort, enrolled: list[Slide], config: StudyConfig
) -> tuple[list[Problem], list[Problem]]:
    """Problems of the given bags, and bags that nobody uses."""
    try:
        return check_given(slides_of(cohort.patients), enrolled=enrolled, config=config)
    except AxillaError as error:
        return [error.problem], []


def _check_split(everybody: Everybody, config: StudyConfig) -> list[Problem]:
    """Whether every endpoint's cohort can be split, and the clinical columns learned from."""
    cohort = everybody.cohort
    try:
        shared = partitions_of(cohort, config=config)
        saved = check_saved_split(cohort, shared, config=config)
    except AxillaError as error:
        return [_of_table(error.problem, config)]
    found = [
        _check_part(part, shared, saved, config=study)
        for study, part in zip(everybody.studies, everybody.parts, strict=True)
    ]
    return everybody.merge(found)


def _check_part(
    cohort: Cohort,
    shared: Sequence[Partition],
    saved: Sequence[Problem],
    *,
    config: StudyConfig,
) -> list[Problem]:
    """The same for one endpoint; `saved` is what is wrong with the split that all share."""
    try:
        partitions = cut_partitions(shared, cohort, config=config)
        leaks = [
            *alike_groups(cohort, config=config),
            *saved,
            *telling_columns(cohort, partitions, config=config),
        ]
        if config.uses_clinical:
            leaks += unseen_categories(cohort, partitions, config=config)
    except AxillaError as error:
        return [_of_table(error.problem, config)]
    return leaks


def _of_table(problem: Problem, config: StudyConfig) -> Problem:
    return problem if problem.file is not None else replace(problem, file=config.cohort)


def _check_encoder(config: StudyConfig) -> list[Problem]:
    from axilla.features.encoders import check_encoder

    try:
        check_encoder(config.encoder)
    except AxillaError as error:
        return [error.problem]
    return []


def _check_extras(config: StudyConfig) -> list[Problem]:
    """Whether the libraries are there that training needs beside those that are always there."""
    from axilla.mil.history import check_tensorboard
    from axilla.mil.zoo import check_zoo

    found: list[Problem] = []
    many = len(config.zoo_methods) > 1
    try:
        if config.zoo_methods:
            check_zoo(f"{'each of ' if many else ''}{', '.join(config.zoo_methods)}")
    except AxillaError as error:
        found.append(error.problem)
    try:
        if config.training.tensorboard and config.uses_slides:
            check_tensorboard()
    except AxillaError as error:
        found.append(error.problem)
    return found


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
