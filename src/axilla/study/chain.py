"""The chain of a study, readable from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import AxillaError, Problem
from axilla.core.progress import Reporter, Silent
from axilla.core.split import make_partitions
from axilla.core.types import Cohort, Partition
from axilla.mil.devices import denormals_flushed
from axilla.study.evaluating import describe_cohort, evaluate_predictions, write_table
from axilla.study.explaining import explain_all
from axilla.study.explaining_imported import explain_imported
from axilla.study.fitting import Fitting
from axilla.study.given import BagIndices, find_given
from axilla.study.imported import Imported, import_features
from axilla.study.inputs import CheckResult, check_inputs, usable_cohort
from axilla.study.instances import SlideArrays, embed_slides, imported_arrays, slide_arrays
from axilla.study.layout import Layout
from axilla.study.people import write_people
from axilla.study.processes import call_helpers, check_means, is_helper, wait_for_call
from axilla.study.reporting import write_report
from axilla.study.scoring import locked_thresholds, predict_all
from axilla.study.slide_checks import slides_of
from axilla.study.staining import Stains, estimate_stains, fit_stains
from axilla.study.tiling import Tiles, check_memory, keep_patients, tile_slides
from axilla.study.training import train_all

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

    Raises
    ------
    InputProblems
        Inputs are wrong; all problems are in it.
    BusyError
        Another run works in the same output folder.
    AxillaError
        Another mistake of the user's.
    """
    if is_helper():
        wait_for_call(config)
        until = STEPS[min(STEPS.index(until), STEPS.index("train"))]
        with denormals_flushed():
            return _run(config, until=until, exclude_failed=exclude_failed, reporter=Silent())
    with denormals_flushed(), store.locked(config.out):
        store.sweep(config.out)
        return _run(
            config, until=until, exclude_failed=exclude_failed, reporter=reporter or Silent()
        )


def _run(
    config: StudyConfig, *, until: Step, exclude_failed: bool, reporter: Reporter
) -> StudyResult:
    layout = Layout(config.out)

    def wanted(step: Step) -> bool:
        return STEPS.index(step) <= STEPS.index(until)

    if wanted("train"):
        check_means(config)
    cohort = usable_cohort(
        config,
        exclude_failed=exclude_failed,
        reporter=reporter,
        memory=check_memory(config),
    )
    tiles: Tiles | None = None
    slide_keys: dict[str, str] = {}
    stains: Stains | None = None
    bags: BagIndices | None = None
    imported: Imported | None = None
    if config.imported is not None:
        imported = import_features(cohort, config=config, reporter=reporter)
        slide_keys = imported.keys
    elif config.uses_slides:
        tiles = tile_slides(cohort, config=config, exclude_failed=exclude_failed, reporter=reporter)
        bags, problems = find_given(slides_of(tiles.cohort.patients), tiles.grids, config=config)
        tiles = keep_patients(
            tiles, problems, step="bags", config=config, exclude_failed=exclude_failed
        )
        if wanted("embed"):
            tiles, sources = estimate_stains(
                tiles, config=config, exclude_failed=exclude_failed, reporter=reporter
            )
        cohort = tiles.cohort
    partitions = make_partitions(cohort, config=config)
    write_people(cohort, partitions, config=config)
    if tiles is not None and wanted("embed"):
        stains = fit_stains(sources, tiles, partitions, config=config)
        slide_keys = embed_slides(tiles, config=config, reporter=reporter, stains=stains)
    result = StudyResult(layout=layout, cohort=cohort, partitions=partitions)
    call_helpers(config)
    if not wanted("train"):
        return result
    fitting = Fitting(
        config=config,
        cohort=cohort,
        partitions=partitions,
        slides=_arrays(cohort, tiles, imported, stains=stains, config=config),
        slide_keys=slide_keys,
        stains=stains,
        bags=bags,
        imported=imported,
    )
    model_keys = train_all(fitting, reporter=reporter)
    if not wanted("predict"):
        return result
    predictions = predict_all(fitting, model_keys, reporter=reporter)
    if not wanted("evaluate"):
        return result
    metrics = _evaluate(fitting, predictions, layout, reporter=reporter)
    result = StudyResult(layout=layout, cohort=cohort, partitions=partitions, metrics=metrics)
    if wanted("explain") and tiles is not None:
        explain_all(fitting, tiles, model_keys, reporter=reporter)
    elif wanted("explain") and imported is not None:
        explain_imported(fitting, model_keys, reporter=reporter)
    if not wanted("report"):
        return result
    report = write_report(fitting, tiles, predictions, metrics, reporter=reporter)
    return StudyResult(
        layout=layout, cohort=cohort, partitions=partitions, metrics=metrics, report=report
    )


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
    key = store.digest(
        "evaluate", store.file_identity(layout.predictions, content=True), thresholds,
        config.model_dump(mode="json", include={"endpoint", "threshold", "clinical"}),
        store.file_identity(config.cohort, content=True), [dict(p.cohort_of) for p in
        fitting.partitions],
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
    )
    table1 = describe_cohort(fitting.cohort, fitting.partitions, config=config)
    files += write_table(
        layout.tables / "table1", table1, caption="Patient and tumor characteristics",
        notes=table1.attrs.get("notes", ()),
    )  # fmt: skip
    store.write_step(config.out, "evaluate", key=key, files=files)
    reporter.done("evaluate", "tables and figures written")
    return metrics


__all__ = ["STEPS", "AxillaError", "Step", "StudyResult", "check", "run"]
