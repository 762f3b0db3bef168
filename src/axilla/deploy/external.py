"""The external cohort of a validation: read from somebody's study, with the model's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from axilla.core.cohort_union import read_everybody
from axilla.core.config import RandomSplit, StudyConfig, Threshold
from axilla.core.endpoint import class_names
from axilla.core.errors import ConfigError, InputProblems, Problem
from axilla.core.methods import method_spec
from axilla.core.progress import Reporter
from axilla.core.types import Cohort
from axilla.deploy.applying import config_of
from axilla.study.checking import same_files
from axilla.study.leakage import alike_patients, duplicate_slides
from axilla.study.slide_checks import slides_of
from axilla.study.tiling import check_memory

_THRESHOLD: TypeAdapter[Threshold] = TypeAdapter(Threshold)
_OF_THE_MODEL = ("patches", "stain", "bags", "encoder", "aggregator")
_OF_TRAINING = ("split", "training", "published")


@dataclass(frozen=True, slots=True, eq=False)
class External:
    """A cohort that a model is to be measured on, before any slide is looked at."""

    config: StudyConfig
    """The study's inputs with the model's settings, endpoint and method."""
    reading: StudyConfig
    """The same with the endpoint as the study's table has it."""
    cohort: Cohort
    """Its classes are the model's."""
    notes: tuple[Problem, ...]
    told: tuple[str, ...]
    """What the study says and is not done, and what its classes were taken for; a sentence each."""


def parse_classes(given: Sequence[str]) -> dict[str, str]:
    """`NAME=CLASS` of the command line: the model's class by the study's name of it.

    Raises
    ------
    ConfigError
        One is not written so, or names a class that another one names.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, of = (part.strip() for part in text.partition("="))
        if not equals or not name or not of:
            raise ConfigError(f"--class {text} says nothing.", "Write it as NAME=CLASS.")
        if name in found or of in found.values():
            raise ConfigError(f"--class {text} names a class twice.", "Name each class once.")
        found[name] = of
    return found


def external_study(
    study: StudyConfig,
    record: Mapping[str, Any],
    *,
    class_map: Mapping[str, str],
    encoder_weights: Path | None,
    out: Path,
) -> tuple[StudyConfig, StudyConfig, tuple[str, ...]]:
    """The study that measures the model: with its endpoint, and with the table's own; and notes.

    Parameters
    ----------
    study
        The user's.
    record
        Of the bundle.
    class_map
        The model's class by the study's own name of it, where the names differ.
    encoder_weights, out
        As `config_of` takes them.

    Raises
    ------
    AxillaError
        Study and model do not go together.
    """
    own, told = _endpoint_of(study, record, class_map=class_map)
    base = own.model_copy(
        update={"endpoint": record["endpoint"], "endpoints": (), "split": RandomSplit()}
    )
    config = config_of(record, base=base, encoder_weights=encoder_weights, out=out)
    rule = _THRESHOLD.validate_python(record["threshold"]["rule"])
    config = config.model_copy(update={"threshold": rule, "published": ()})
    told = (*told, *overruled(study, config, record))
    reading = config.model_copy(update={"endpoint": own.endpoint})
    return config, reading, told


def _endpoint_of(
    study: StudyConfig, record: Mapping[str, Any], *, class_map: Mapping[str, str]
) -> tuple[StudyConfig, tuple[str, ...]]:
    """The user's study of the one endpoint that the model predicts, and what is to be told."""
    wanted = tuple(map(str, record["classes"]))
    for one in study.studies:
        if [n.casefold() for n in class_names(one.endpoint)] == [n.casefold() for n in wanted]:
            return one, ()
    for one in study.studies:
        names = class_names(one.endpoint)
        if class_map and not isinstance(one.endpoint, str):
            mapped = [class_map.get(name, name) for name in names]
            if mapped == list(wanted):
                pairs = [f"{n} as {w}" for n, w in zip(names, wanted, strict=True) if n != w]
                told = f"Classes of `{one.endpoint.column}` were taken {', '.join(pairs)}."
                return one, (told,)
    raise _other_classes(study, wanted, class_map=class_map)


def _other_classes(
    study: StudyConfig, wanted: tuple[str, ...], *, class_map: Mapping[str, str]
) -> ConfigError:
    found = [class_names(one.endpoint) for one in study.studies]
    cause = (
        f"the model predicts {' against '.join(wanted)}, but the study asks for "
        f"{'; '.join(' against '.join(names) for names in found)}"
    )
    first = found[0]
    if sorted(first) == sorted(wanted):
        return ConfigError(
            f"{cause}: the same classes in another order.",
            f"Write them in the model's order: classes: [{', '.join(wanted)}], or negative: "
            f"{wanted[0]}, positive: {wanted[-1]}.",
        )
    if class_map:
        said = ", ".join(f"{name}={of}" for name, of in class_map.items())
        return ConfigError(
            f"{cause}, which --class {said} does not turn into the model's classes in their order.",
            "Name each class of the endpoint's column once, in the model's order; the endpoints "
            "made from the nodes cannot be renamed.",
        )
    if isinstance(study.studies[0].endpoint, str) or len(first) != len(wanted):
        return ConfigError(
            f"{cause}.",
            "Set `endpoint:` to what the model predicts, or take a model of the study's endpoint.",
        )
    pairs = " ".join(f"--class {n}={w}" for n, w in zip(first, wanted, strict=True))
    return ConfigError(
        f"{cause}.",
        f"If these mean the same, say so with {pairs}; the report will tell it.",
    )


def overruled(study: StudyConfig, config: StudyConfig, record: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on settings of the user's study that are the model's to decide, or nobody's."""
    given = study.model_fields_set
    method = str(record["method"])
    if method_spec(method).images:
        for key in _OF_THE_MODEL:
            if key in given:
                yield from _differing(key, getattr(study, key), getattr(config, key))
    if method_spec(method).clinical:
        theirs, ours = set(study.clinical.names), set(config.clinical.names)
        if "clinical" in given and theirs != ours:
            yield (
                f"clinical: the study names {', '.join(study.clinical.names)}; the model reads "
                f"{', '.join(config.clinical.names)}."
            )
        if "clinical" in given:
            names = {"missing", "unseen"} & study.clinical.model_fields_set
            yield from _differing("clinical", study.clinical, config.clinical, names=names)
    if "threshold" in given and study.threshold != config.threshold:
        yield "threshold: the study's rule is not used; the threshold is locked in the model."
    if "methods" in given and set(study.methods) != {method}:
        yield f"methods: the study names {', '.join(study.methods)}; the model is of {method}."
    unused = [key for key in _OF_TRAINING if key in given]
    if unused:
        yield f"{', '.join(unused)}: not used, as nothing is trained and everybody is measured."


def _differing(key: str, theirs: Any, ours: Any, *, names: set[str] | None = None) -> Iterator[str]:
    """What a part of the user's study says otherwise than the model."""
    if not isinstance(theirs, BaseModel) or not isinstance(ours, BaseModel):
        if theirs != ours:
            said = ["none" if one is None else _shown(one.model_dump(mode="json"))
                    for one in (theirs, ours)]  # fmt: skip
            yield f"{key}: the study says {said[0]}; the model's is used ({said[1]})."
        return
    own, models = theirs.model_dump(mode="json"), ours.model_dump(mode="json")
    for name in sorted(theirs.model_fields_set if names is None else names):
        if (key, name) == ("encoder", "weights") or (key, name) == ("bags", "file"):
            continue  # a file of weights is told from the model's by its digest
        if own[name] != models[name]:
            yield (
                f"{key}.{name}: the study says {_shown(own[name])}; the model's is used "
                f"({_shown(models[name])})."
            )


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(own)}" for name, own in value.items())
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def read_external(
    config: StudyConfig,
    reading: StudyConfig,
    *,
    classes: tuple[str, ...],
    told: tuple[str, ...],
    exclude_failed: bool,
    reporter: Reporter,
) -> External:
    """Read the table, and look for people and slides that are there twice.

    Parameters
    ----------
    config, reading, told
        Of `external_study`.
    classes
        The model's.

    Raises
    ------
    InputProblems
        Something is wrong that `exclude_failed` cannot leave out, or anything at all without it.
    """
    everybody = read_everybody(reading)
    shared = list(alike_patients(everybody.cohort, config=reading))
    if config.uses_slides and config.imported is None:
        slides = slides_of(everybody.cohort.patients)
        images = [image for slide in slides for image in slide.images]
        same = same_files(images, memory=check_memory(config))
        shared += duplicate_slides(slides, same, patches=config.regions == "patches")
    problems = tuple(map(_for_a_validation, (*everybody.problems, *shared)))
    for note in (*everybody.notes, *told):
        reporter.say(f"note      {note}")
    stopping = tuple(p for p in problems if p.fatal or not exclude_failed)
    if stopping:
        raise InputProblems(stopping)
    cohort = replace(everybody.without(shared).cohort, classes=classes)
    return External(config, reading, cohort, everybody.notes, told)


def _for_a_validation(problem: Problem) -> Problem:
    """The remedy of a problem, where the study's own would change what is the model's."""
    if "clinical.missing" not in problem.remedy:
        return problem
    remedy = (
        "Fill it in, or run with --exclude-failed: the model was trained on patients who lacked "
        "nothing, and does not say what to put there."
    )
    return replace(problem, remedy=remedy)
