"""Apply: a finished model to slides that its study never saw, by the study's very own steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, CohortError, Problem
from axilla.core.progress import Reporter
from axilla.core.types import Cohort, Partition, Prediction
from axilla.deploy.encoding import load_encoder
from axilla.deploy.settings import config_of
from axilla.features.computing import FrozenEncoder
from axilla.mil.bundle import Bundle
from axilla.mil.clinical import Preprocessor
from axilla.mil.devices import denormals_flushed
from axilla.mil.ensemble import EnsembleScore
from axilla.study.embedding import embed_slides
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

__all__ = ["Application", "apply_model", "clinical_columns", "config_of", "everybody_tested"]

PARTITION = "elsewhere"
"""Name of the partition in which everybody is tested and nobody trained."""


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


def apply_model(
    bundle: Bundle,
    cohort: Cohort,
    *,
    config: StudyConfig,
    reporter: Reporter,
    exclude_failed: bool = False,
    ready: FrozenEncoder | None = None,
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
        wrong, notes = _checked(cohort, config=config, reporter=reporter, at_once=held is not None)
        problems += wrong
        cohort = drop(cohort, problems, step="check")
        _refuse_nobody(cohort, config)
        made = _with_slides(
            bundle, cohort, config=config, reporter=reporter, exclude_failed=exclude_failed,
            ready=ready, held=held,
        )  # fmt: skip
        return replace(made, notes=tuple(notes))


def _checked(
    cohort: Cohort, *, config: StudyConfig, reporter: Reporter, at_once: bool
) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the slides, and what is odd.

    Where they are cut `at_once`, only those with an outline are looked at before: whatever else is
    wrong is found when they are cut, and to open them twice would be half of the work.
    """
    patients = cohort.patients
    if at_once:
        outlined = [
            replace(p, slides=tuple(s for s in p.slides if s.annotation is not None))
            for p in patients
        ]
        patients = tuple(patient for patient in outlined if patient.slides)
    memory = check_memory(config)
    found = list(check_slides(patients, config, reporter=reporter, memory=memory))
    memory.save()
    return [p for fit in found for p in fit.problems], [n for fit in found for n in fit.notes]


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
    ready: FrozenEncoder | None,
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
