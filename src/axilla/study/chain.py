"""The chain of a study, readable from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from axilla.core import store
from axilla.core.cohort_union import Everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, Problem
from axilla.core.progress import Reporter, Silent
from axilla.core.split import cut_partitions, partitions_of
from axilla.core.types import Cohort, Partition
from axilla.mil.devices import denormals_flushed, leave_together
from axilla.study.aside import take_back
from axilla.study.case_asking import Case, refuse_absent, refuse_case
from axilla.study.case_explaining import explain_case
from axilla.study.cases import asked_cases
from axilla.study.clinical_checks import check_again
from axilla.study.describing import describe_cohort, subgroups_of
from axilla.study.embedding import embed_slides
from axilla.study.evaluating import MEASURING, evaluate_predictions, write_table
from axilla.study.explaining import explain_all
from axilla.study.explaining_imported import explain_imported
from axilla.study.fitting import Fitting
from axilla.study.given import BagIndices, find_given
from axilla.study.imported import Imported, import_features
from axilla.study.index import write_index
from axilla.study.inputs import CheckResult, check_inputs, usable_patients
from axilla.study.instances import SlideArrays, imported_arrays, slide_arrays
from axilla.study.layout import Layout
from axilla.study.leftovers import leftover_sentences
from axilla.study.nuclei_explaining import explain_nuclei
from axilla.study.nuclei_showing import show_nuclei
from axilla.study.nuclei_slides import SlideNuclei, find_nuclei
from axilla.study.people import write_people
from axilla.study.processes import (
    call_helpers,
    check_means,
    is_helper,
    wait_for_call,
)
from axilla.study.reporting import write_report
from axilla.study.scoring import locked_thresholds, predict_all
from axilla.study.slide_checks import slides_of
from axilla.study.staining import Stains, estimate_stains, fit_stains
from axilla.study.tiling import Tiles, check_memory, keep_patients, tile_slides, tiles_of
from axilla.study.training import train_all
from axilla.study.training_figures import histories, write_trainings

Step = Literal["tile", "embed", "train", "predict", "evaluate", "explain", "report"]
STEPS: tuple[Step, ...] = (
    "tile", "embed", "train", "predict", "evaluate", "explain", "report",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class StudyResult:
    """What a study came to, as far as it was run."""

    layout: Layout
    cohort: Cohort
    partitions: tuple[Partition, ...]
    metrics: dict[str, Any] | None = None
    report: Path | None = None
    case: Path | None = None
    """The page of one case, where that was asked for in place of the test patients."""
    endpoints: Mapping[str, StudyResult] = field(default_factory=dict)
    """By endpoint, where the study has several; `metrics` is None then, `report` their index."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """What all endpoints of a study share: one where there is only one."""

    out: Path
    everybody: Everybody
    partitions: tuple[Partition, ...]
    """Of all patients together."""
    tiles: Tiles | None
    imported: Imported | None
    bags: BagIndices | None
    stains: Stains | None
    nuclei: SlideNuclei | None
    slides: SlideArrays | None
    slide_keys: Mapping[str, str]


def check(config: StudyConfig, *, reporter: Reporter | None = None) -> tuple[Problem, ...]:
    """Every problem of the inputs, before any computing; empty where there is none."""
    result: CheckResult = check_inputs(
        config, reporter=reporter or Silent(), memory=check_memory(config)
    )
    return result.problems


def run(
    config: StudyConfig,
    *,
    until: Step = "report",
    exclude_failed: bool = False,
    reporter: Reporter | None = None,
    case: Case | None = None,
) -> StudyResult:
    """Run every step that is not done yet, up to `until`.

    Parameters
    ----------
    config
        The study.
    until
        The last step to run.
    exclude_failed
        Go on without the patients whose inputs are wrong; the report names each with its reason.
    reporter
        Is told of the progress.
    case
        Explain this one patient, after training and scoring, and end there.

    Raises
    ------
    InputProblems
        Inputs are wrong; all problems are in it.
    BusyError
        Another run works in the same output folder.
    AxillaError
        Another mistake of the user's.
    """
    if case is not None:
        refuse_case(config, case)
    try:
        if is_helper():
            wait_for_call(config)
            until = STEPS[min(STEPS.index(until), STEPS.index("train"))]
            with denormals_flushed():
                return _run(config, until=until, exclude_failed=exclude_failed, reporter=Silent())
        reporter = reporter or Silent()
        with denormals_flushed(), store.locked(config.out):
            store.sweep(config.out)
            result = _run(
                config, until=until, exclude_failed=exclude_failed, reporter=reporter, case=case
            )
            for sentence in leftover_sentences(config) if result.report is not None else ():
                reporter.say(f"note      {sentence}")
            return result
    finally:
        leave_together()


def prepare(
    config: StudyConfig, *, exclude_failed: bool, reporter: Reporter
) -> tuple[Fitting, ...]:
    """Check, cut, split and embed: what each endpoint trains on.

    Raises
    ------
    InputProblems
        Inputs are wrong; all problems are in it.
    AxillaError
        Another mistake of the user's.
    """
    return _fittings(
        _prepare(config, until="train", exclude_failed=exclude_failed, reporter=reporter)
    )


def _run(
    config: StudyConfig,
    *,
    until: Step,
    exclude_failed: bool,
    reporter: Reporter,
    case: Case | None = None,
) -> StudyResult:
    shared = _prepare(config, until=until, exclude_failed=exclude_failed, reporter=reporter)
    whole = StudyResult(Layout(config.out), shared.everybody.cohort, shared.partitions)
    if case is not None:
        refuse_absent(shared.everybody.parts, case.patient_id, file=config.cohort)
    if len(shared.everybody.parts) == 1:
        (fitting,) = _fittings(shared)
        write_people(fitting.cohort, fitting.partitions, config=config)
        _take_back((fitting,), reporter=reporter)
        call_helpers(config)
        return _learn(fitting, shared.tiles, until=until, reporter=reporter, case=case)
    write_people(whole.cohort, whole.partitions, config=config)
    found: dict[str, StudyResult] = {}
    fittings = _fittings(shared)
    for fitting in fittings:
        write_people(fitting.cohort, fitting.partitions, config=fitting.config)
    _take_back(fittings, reporter=reporter)
    call_helpers(config)
    for name, fitting in zip(shared.everybody.names, fittings, strict=True):
        reporter.say(f"endpoint  {name}")
        tiles = None if shared.tiles is None else tiles_of(shared.tiles, fitting.cohort, config)
        found[name] = _learn(fitting, tiles, until=until, reporter=reporter, case=case)
    report = None
    if _wanted("report", until) and case is None:
        report = write_index(config, whole.cohort, found, reporter=reporter)
    return replace(whole, endpoints=found, report=report)


def _take_back(fittings: Sequence[Fitting], *, reporter: Reporter) -> None:
    """Models of these partitions that lie aside come back, before any process looks for them."""
    if is_helper():
        return
    for fitting in fittings:
        for sentence in take_back(fitting):
            reporter.say(f"note      {sentence}")


def _wanted(step: Step, until: Step) -> bool:
    return STEPS.index(step) <= STEPS.index(until)


def _prepare(
    config: StudyConfig, *, until: Step, exclude_failed: bool, reporter: Reporter
) -> _Shared:
    """Check, cut, split and embed, for all endpoints at once."""
    if _wanted("train", until):
        check_means(config)
    checked = usable_patients(
        config, exclude_failed=exclude_failed, reporter=reporter, memory=check_memory(config)
    )
    cohort = checked.cohort
    tiles: Tiles | None = None
    slide_keys: dict[str, str] = {}
    stains: Stains | None = None
    bags: BagIndices | None = None
    imported: Imported | None = None
    nuclei: SlideNuclei | None = None
    if config.imported is not None:
        imported = import_features(cohort, config=config, reporter=reporter)
        slide_keys = imported.keys
    elif config.uses_slides:
        tiles = tile_slides(cohort, config=config, exclude_failed=exclude_failed, reporter=reporter)
        bags, problems = find_given(slides_of(tiles.cohort.patients), tiles.grids, config=config)
        tiles = keep_patients(
            tiles, problems, step="bags", config=config, exclude_failed=exclude_failed
        )
        if _wanted("embed", until):
            tiles, sources = estimate_stains(
                tiles, config=config, exclude_failed=exclude_failed, reporter=reporter
            )
        cohort = tiles.cohort
    everybody = checked.following(cohort)
    partitions = partitions_of(everybody.cohort, config=config)
    check_again(everybody, partitions, checked=checked)
    if tiles is not None and _wanted("embed", until):
        stains = fit_stains(sources, tiles, partitions, config=config)
        slide_keys = dict(tiles.keys)
        if config.uses_patches:
            slide_keys = embed_slides(tiles, config=config, reporter=reporter, stains=stains)
        if config.uses_nuclei:
            nuclei = find_nuclei(tiles, config=config, reporter=reporter)
    return _Shared(
        out=config.out,
        everybody=everybody,
        partitions=partitions,
        tiles=tiles,
        imported=imported,
        bags=bags,
        stains=stains,
        nuclei=nuclei,
        slides=_arrays(cohort, tiles, imported, stains=stains, config=config),
        slide_keys=slide_keys,
    )


def _fittings(shared: _Shared) -> tuple[Fitting, ...]:
    """What each endpoint is trained and measured on; slides of its own patients only."""
    found = []
    for study, cohort in zip(shared.everybody.studies, shared.everybody.parts, strict=True):
        own = {slide.slide_id for slide in slides_of(cohort.patients)}
        imported, stains = shared.imported, shared.stains
        if imported is not None:
            imported = replace(
                imported, facts={s: fact for s, fact in imported.facts.items() if s in own}
            )
        if stains is not None:
            stains = replace(
                stains, sources={s: stain for s, stain in stains.sources.items() if s in own}
            )
        found.append(
            Fitting(
                config=study,
                cohort=cohort,
                partitions=cut_partitions(shared.partitions, cohort, config=study),
                slides=shared.slides,
                slide_keys={s: key for s, key in shared.slide_keys.items() if s in own},
                stains=stains,
                bags=shared.bags,
                imported=imported,
                nuclei=shared.nuclei,
                grids=None if shared.tiles is None else shared.tiles.grids,
                shared=shared.out,
            )
        )
    return tuple(found)


def _learn(
    fitting: Fitting,
    tiles: Tiles | None,
    *,
    until: Step,
    reporter: Reporter,
    case: Case | None = None,
) -> StudyResult:
    """Train, predict, measure, explain and report one endpoint; or explain one case of it."""
    layout = Layout(fitting.config.out)
    result = StudyResult(layout=layout, cohort=fitting.cohort, partitions=fitting.partitions)
    outside = case is not None and case.patient_id not in fitting.cohort.labels()
    if outside or not _wanted("train", until):
        return result
    model_keys = train_all(fitting, reporter=reporter)
    if not _wanted("predict", until):
        return result
    predictions = predict_all(fitting, model_keys, reporter=reporter)
    if case is not None:
        page = explain_case(fitting, tiles, predictions, model_keys, case=case, reporter=reporter)
        return replace(result, case=page)
    if not _wanted("evaluate", until):
        return result
    metrics = _evaluate(fitting, predictions, layout, reporter=reporter)
    result = replace(result, metrics=metrics)
    if _wanted("explain", until):
        explain_nuclei(fitting, model_keys, reporter=reporter)
    if _wanted("explain", until) and tiles is not None:
        explain_all(fitting, tiles, model_keys, reporter=reporter)
    elif _wanted("explain", until) and fitting.imported is not None:
        explain_imported(fitting, model_keys, reporter=reporter)
    if _wanted("explain", until) and tiles is not None:
        shown = asked_cases(fitting, predictions)
        show_nuclei(fitting, tiles, model_keys, shown, out=fitting.config.out, reporter=reporter)
    if not _wanted("report", until):
        return result
    report = write_report(fitting, tiles, predictions, metrics, reporter=reporter)
    return replace(result, report=report)


def _arrays(
    cohort: Cohort,
    tiles: Tiles | None,
    imported: Imported | None,
    *,
    stains: Stains | None,
    config: StudyConfig,
) -> SlideArrays | None:
    if imported is not None:
        return imported_arrays(cohort, config=config)
    return None if tiles is None else slide_arrays(tiles, config=config, stains=stains)


def _evaluate(
    fitting: Fitting, predictions: pd.DataFrame, layout: Layout, *, reporter: Reporter
) -> dict[str, Any]:
    config = fitting.config
    endpoint = config.model_dump(mode="json")["endpoint"]
    thresholds = locked_thresholds(fitting)
    fold_names = {p.fold: p.held_out for p in fitting.partitions if p.held_out is not None}
    key = store.digest(
        "evaluate", MEASURING, store.file_identity(layout.predictions, content=True), thresholds,
        config.model_dump(
            mode="json", include={"endpoint", "threshold", "clinical", "prevalence"}
        ),
        store.file_identity(config.cohort, content=True), [dict(p.cohort_of) for p in
        fitting.partitions], [store.file_identity(path, content=True) for path in
        histories(fitting).values()], *([sorted(fold_names.items())] if fold_names else []),
    )  # fmt: skip
    if store.step_is_done(config.out, "evaluate", key=key):
        reporter.done("evaluate", "done before")
        value: dict[str, Any] = store.read_json(layout.metrics)
        return value
    metrics, files = evaluate_predictions(
        predictions,
        endpoint=endpoint if isinstance(endpoint, str) else endpoint["column"],
        classes=fitting.cohort.classes,
        rule=config.threshold,
        thresholds=thresholds,
        out=config.out,
        fold_names=fold_names,
        held_out=str(config.group_column) if fold_names else "Fold",
        prevalences=config.prevalence,
        groups=subgroups_of(fitting.cohort, config=config),
    )
    for name, table in describe_cohort(fitting.cohort, fitting.partitions, config=config).items():
        files += write_table(
            layout.tables / name, table, caption="Patient and tumor characteristics",
            notes=table.attrs.get("notes", ()),
        )  # fmt: skip
    files += write_trainings(fitting)
    store.write_step(config.out, "evaluate", key=key, files=files)
    reporter.done("evaluate", "tables and figures written")
    return metrics


__all__ = ["STEPS", "AxillaError", "Case", "Step", "StudyResult", "check", "prepare", "run"]
