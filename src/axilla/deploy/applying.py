"""Apply: a finished model to slides that its study never saw, by the study's very own steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from axilla.core.config import StudyConfig, Training
from axilla.core.config_choices import ENDPOINT, UNIONS
from axilla.core.config_clinical import (
    KNOWN_NUMBERS,
    CategoricalColumn,
    Clinical,
    NumericColumn,
)
from axilla.core.config_sentences import sentences
from axilla.core.endpoint import class_names
from axilla.core.errors import AxillaError, CohortError, ConfigError, Problem, StoreError
from axilla.core.methods import method_names, method_spec
from axilla.core.progress import Reporter
from axilla.core.types import Cohort, Partition, Prediction
from axilla.deploy.encoding import encoder_for, load_encoder
from axilla.mil.bundle import Bundle
from axilla.mil.clinical import Preprocessor
from axilla.mil.devices import denormals_flushed
from axilla.mil.ensemble import EnsembleScore
from axilla.study.embedding import ReadyEncoder, embed_slides
from axilla.study.fitting import Fitting
from axilla.study.given import find_given
from axilla.study.held_patches import HeldPatches
from axilla.study.imported import check_imported, refuse_other_features
from axilla.study.inputs import drop_patients
from axilla.study.instances import imported_arrays, slide_arrays
from axilla.study.scoring import predictions_of, score_patients
from axilla.study.slide_checks import check_slides, slides_of
from axilla.study.staining import estimate_stains, fit_stains, stain_of_record
from axilla.study.tiling import Tiles, check_memory, keep_patients, tile_slides

PARTITION = "elsewhere"
"""Name of the partition in which everybody is tested and nobody trained."""
_NUCLEI = (
    "the model {method} looks at nuclei, and its folder does not hold how they were found: neither "
    "the size of the patches nor the network's weights."
)


@dataclass(frozen=True, slots=True, eq=False)
class Application:
    """A bundle with patients that its study never saw, ready to be asked."""

    bundle: Bundle
    fitting: Fitting
    """With the patients that could be used; all of them are tested."""
    tiles: Tiles | None
    """None where no slide was cut: a clinical model, or features made elsewhere."""
    notes: tuple[Problem, ...] = ()
    """What of the slides may well be right, and somebody should look at."""

    @property
    def cohort(self) -> Cohort:
        """The patients; those who left stand in `excluded`, each with a reason."""
        return self.fitting.cohort

    @property
    def partition(self) -> Partition:
        """The only one: everybody is tested."""
        return self.fitting.partitions[0]

    def scores(self) -> dict[str, EnsembleScore]:
        """Probability of each class by patient, and the members' spread."""
        with denormals_flushed():
            return score_patients(self.fitting, self.bundle, self.cohort.patients)

    def predictions(self) -> list[Prediction]:
        """The same as `predictions.csv` holds it, cohort `test`."""
        with denormals_flushed():
            return predictions_of(self.fitting, self.bundle, self.partition, "test")


def config_of(
    record: Mapping[str, Any],
    *,
    base: StudyConfig | None,
    encoder_weights: Path | None,
    out: Path,
) -> StudyConfig:
    """The study that applies a model: how it computes from the model, on what from the user.

    Patches, stain, bags, encoder, aggregator, the clinical columns and what is done where one is
    missing, seed, method and endpoint are the model's. Cohort, slides, annotations, features,
    regions, µm/px, heat maps and what is measured are the user's, and so are the ranges and values
    that the user's study declares of the model's clinical columns.

    Parameters
    ----------
    record
        Of the bundle, `model.json`.
    base
        The user's study; None for cases without one, whose patients the caller makes.
    encoder_weights
        File of the frozen encoder's weights, where these came from a file. A study whose
        `encoder.weights` names a file gives it too.
    out
        Where everything is written.

    Raises
    ------
    StoreError
        The record's settings do not fit this version.
    ConfigError
        The model and the user's study do not go together.
    WeightsError
        The encoder's weights were a file, and none is given.
    """
    method = str(record["method"])
    if method not in method_names():
        raise StoreError(
            f"this axilla knows no method {method}, which the model is of.", "Update axilla."
        )
    if method_spec(method).nuclei:
        raise ConfigError(_NUCLEI.format(method=method), "Take a model of patches, such as dl-cnb.")
    base = None if base is None else _one_endpoint(base, record)
    own = _own_settings(record, method, base=base, encoder_weights=encoder_weights)
    if base is None:
        told: dict[str, Any] = {"cohort": out / "cohort.csv", "endpoint": record["endpoint"]}
        imported = bool((record.get("encoder") or {}).get("imported"))
        told |= {"features": {"folder": out}} if imported else {"slides": out}
    else:
        told = base.model_dump()
    try:
        return StudyConfig.model_validate({**told, **own, "methods": (method,), "out": out})
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        if base is None or wrong & own.keys():
            raise _unfit(error) from error
        raise ConfigError(
            f"the model and the study do not go together: {_told(error)}.",
            "Change the study; what the model was trained with cannot be changed.",
        ) from error


def _own_settings(
    record: Mapping[str, Any],
    method: str,
    *,
    base: StudyConfig | None,
    encoder_weights: Path | None,
) -> dict[str, Any]:
    """What the model says of itself, as keys of a study."""
    try:
        own: dict[str, Any] = {"clinical": _clinical(record, base=base)}
        ENDPOINT.validate_python(record["endpoint"])
        if not method_spec(method).images:
            return own | {"stain": None}
        # Of the training only the seed says how a patient's bags are drawn.
        drawn = {n: v for n, v in (record.get("training") or {}).items() if n == "seed"}
        own |= {"training": Training.model_validate(drawn)}
        own |= {"aggregator": dict(record["aggregator"] or {})}
        own["bags"] = _bags(record, base=base)
        imported = bool(record["encoder"].get("imported"))
        features = None if base is None else base.features
        if imported and base is not None and features is None:
            raise ConfigError(
                "the model takes features made elsewhere"
                + (f", by {record['encoder']['name']}" if record["encoder"].get("name") else "")
                + ", not slides.",
                "Name the folder of such features in the study: `features: FOLDER`.",
            )
        if imported or features is not None:
            if record["architecture"]["end_to_end"]:
                raise ConfigError(
                    "the model encodes patches itself, so features made elsewhere are of no use "
                    "to it.",
                    "Give slides in the study in place of `features:`.",
                )
            own |= {"stain": None, "encoder": {}}
            return own
        if encoder_weights is None and base is not None:
            encoder_weights = _named_file(base)
        own["encoder"] = encoder_for(record, encoder_weights)
        own["patches"] = dict(record["patches"])
        stain = record.get("stain")
        own["stain"] = None if stain is None else stain_of_record(stain)[0]
    except ValidationError as error:
        raise _unfit(error) from error
    return own


def _unfit(error: ValidationError) -> StoreError:
    return StoreError(
        f"the settings of the model's record do not fit this version of axilla ({_told(error)}).",
        "Update axilla, or train the model again with this one.",
    )


def _told(error: ValidationError) -> str:
    return "; ".join(sentences(error, StudyConfig, unions=UNIONS))


def _one_endpoint(base: StudyConfig, record: Mapping[str, Any]) -> StudyConfig:
    """The user's study of the endpoint that the model predicts.

    A column may be called otherwise in another hospital; the classes may not.

    Raises
    ------
    ConfigError
        The study has no endpoint of these classes.
    """
    wanted = tuple(record["classes"])
    for study in base.studies:
        if class_names(study.endpoint) == wanted:
            return study
    theirs = "; ".join(" against ".join(class_names(s.endpoint)) for s in base.studies)
    raise ConfigError(
        f"the model predicts {' against '.join(wanted)}, but the study asks for {theirs}.",
        "Set `endpoint:` to what the model predicts, or take a model of the study's endpoint.",
    )


def _clinical(record: Mapping[str, Any], *, base: StudyConfig | None) -> Clinical:
    """The columns that the model reads, as the user declares them where it is declared."""
    read = record.get("clinical")
    declared = Clinical() if base is None else base.clinical
    if read is None:
        return declared
    known = {column.name: column for column in declared.columns}
    units = read.get("units") or [None] * len(read["numeric"])
    numbers, categories = [], []
    for name, unit in zip(read["numeric"], units, strict=True):
        column = known.get(name)
        if not isinstance(column, NumericColumn):
            column = NumericColumn(name=name, unit=None if name in KNOWN_NUMBERS else unit)
        numbers.append(column)
    original = read.get("kind") == "original"
    for name in read["statuses"] if original else read["categorical"]:
        column = known.get(name)
        if not isinstance(column, CategoricalColumn):
            column = CategoricalColumn(name=name)
        if original and column.values is None:
            column = CategoricalColumn(name=name, values=("positive", "negative"))
        categories.append(column)
    return Clinical(
        numeric=tuple(numbers),
        categorical=tuple(categories),
        missing="refuse" if original else read["missing"],
        unseen="error" if original else read.get("unseen", "error"),
    )


def _bags(record: Mapping[str, Any], *, base: StudyConfig | None) -> dict[str, Any]:
    """How the model draws bags; those that the user's study gives by name are used as they are."""
    own = {n: v for n, v in (record["bags"] or {}).items() if n not in {"file", "file_sha256"}}
    given = None if base is None else base.bags.file
    return own if given is None else own | {"file": given, "redraw": False}


def _named_file(base: StudyConfig) -> Path | None:
    """The file that the user's study names as its encoder's weights."""
    path = Path(base.encoder.weights)
    return path if path.is_absolute() and path.is_file() else None


def apply_model(
    bundle: Bundle,
    cohort: Cohort,
    *,
    config: StudyConfig,
    reporter: Reporter,
    exclude_failed: bool = False,
    ready: ReadyEncoder | None = None,
    held: HeldPatches | None = None,
) -> Application:
    """Check the slides, cut them, bring them to the model's stain and embed them.

    What is done already under `config.out` is not done again.

    Parameters
    ----------
    bundle
        The model.
    cohort
        The patients; a `label` of -1 is of nobody's concern here.
    config
        Of `config_of`.
    exclude_failed
        Go on without the patients whose inputs are wrong, each named in the cohort's `excluded`.
    ready
        The frozen encoder of `load_encoder`, where it is loaded already.
    held
        Where patches are kept as they are cut, so that the images of one case are decoded once.

    Raises
    ------
    InputProblems
        Patients, slides or annotations are wrong; all problems are in it.
    FeaturesError
        Features made elsewhere are not of the encoder that the model was trained with.
    WeightsError
        The encoder's weights are not those that the model was trained with.
    """
    problems = _unreadable(bundle, cohort, file=config.cohort)
    drop = partial(drop_patients, exclude_failed=exclude_failed)
    with denormals_flushed():
        if not config.uses_slides:
            cohort = drop(cohort, problems, step="check")
            _refuse_nobody(cohort, config)
            return Application(bundle, _fitting(cohort, config), None)
        if config.imported is not None:
            return _with_features(
                bundle, cohort, problems, config=config, reporter=reporter, drop=drop
            )
        ready = ready or load_encoder(bundle.record, config=config)
        memory = check_memory(config)
        notes: list[Problem] = []
        for found in check_slides(cohort.patients, config, reporter=reporter, memory=memory):
            problems.extend(found.problems)
            notes.extend(found.notes)
        memory.save()
        cohort = drop(cohort, problems, step="check")
        _refuse_nobody(cohort, config)
        made = _with_slides(
            bundle, cohort, config=config, reporter=reporter, exclude_failed=exclude_failed,
            ready=ready, held=held,
        )  # fmt: skip
        return replace(made, notes=tuple(notes))


def everybody_tested(cohort: Cohort, *, seed: int) -> Partition:
    """The partition of a place where nobody trains."""
    return Partition(PARTITION, {p.patient_id: "test" for p in cohort.patients}, seed=seed)


def _fitting(cohort: Cohort, config: StudyConfig, **more: Any) -> Fitting:
    return Fitting(
        config=config,
        cohort=cohort,
        partitions=(everybody_tested(cohort, seed=config.training.seed),),
        **{"slides": None, "slide_keys": {}, **more},
    )


def _refuse_nobody(cohort: Cohort, config: StudyConfig) -> None:
    if not cohort.patients:
        raise CohortError(
            "no patient is left that the model can be asked about.",
            "Check the table and what left each of its patients out.",
            file=config.cohort,
        )


def _unreadable(bundle: Bundle, cohort: Cohort, *, file: Path) -> list[Problem]:
    """Patients of whom the model cannot read the clinical values, each with the first reason."""
    found = []
    for patient in cohort.patients:
        for member in bundle.members:
            if member.reads is None:
                continue
            try:
                member.reads.transform([patient])
            except AxillaError as error:
                problem = error.problem
                remedy = "Give a value that the model knows." if _strange(error) else "Fill it in."
                found.append(
                    Problem(
                        problem.cause,
                        remedy,
                        patient.patient_id,
                        file,
                        fatal=False,
                        code="clinical",
                    )
                )
                break
    return found


def _strange(error: AxillaError) -> bool:
    """Whether there is a value, only none that the model was trained with."""
    return "is missing" not in error.problem.cause


def _with_features(
    bundle: Bundle,
    cohort: Cohort,
    problems: list[Problem],
    *,
    config: StudyConfig,
    reporter: Reporter,
    drop: Callable[..., Cohort],
) -> Application:
    imported, wrong = check_imported(cohort, config=config, reporter=reporter)
    absent = [
        Problem("has no file of features.", "Add it.", p.patient_id, config.cohort, fatal=False)
        for p in cohort.patients
        if not p.slides or any(slide.features is None for slide in p.slides)
    ]
    cohort = drop(cohort, [*problems, *wrong, *absent], step="check")
    _refuse_nobody(cohort, config)
    own = {slide.slide_id for slide in slides_of(cohort.patients)}
    imported = replace(imported, facts={s: f for s, f in imported.facts.items() if s in own})
    refuse_other_features(bundle, imported)
    fitting = _fitting(
        cohort, config, slides=imported_arrays(cohort, config=config), slide_keys=imported.keys,
        imported=imported,
    )  # fmt: skip
    return Application(bundle, fitting, None)


def _with_slides(
    bundle: Bundle,
    cohort: Cohort,
    *,
    config: StudyConfig,
    reporter: Reporter,
    exclude_failed: bool,
    ready: ReadyEncoder | None,
    held: HeldPatches | None,
) -> Application:
    tiles = tile_slides(
        cohort, config=config, exclude_failed=exclude_failed, reporter=reporter, held=held
    )
    bags, without = find_given(slides_of(tiles.cohort.patients), tiles.grids, config=config)
    tiles = keep_patients(tiles, without, step="bags", config=config, exclude_failed=exclude_failed)
    tiles, sources = estimate_stains(
        tiles, config=config, exclude_failed=exclude_failed, reporter=reporter
    )
    cohort = tiles.cohort
    _refuse_nobody(cohort, config)
    stain = bundle.record.get("stain")
    target = None if stain is None else stain_of_record(stain)[1]
    stains = fit_stains(sources, tiles, (), config=config, given=target)
    keys = embed_slides(tiles, config=config, reporter=reporter, stains=stains, ready=ready)
    fitting = _fitting(
        cohort, config, slides=slide_arrays(tiles, config=config, stains=stains), slide_keys=keys,
        stains=stains, bags=bags,
    )  # fmt: skip
    return Application(bundle, fitting, tiles)


def clinical_columns(bundle: Bundle) -> Sequence[str]:
    """Names of the clinical columns that the model reads; none where it reads none."""
    reads = bundle.preprocessor
    if reads is None:
        return ()
    more = reads.categorical if isinstance(reads, Preprocessor) else reads.statuses
    return (*reads.numeric, *more)
