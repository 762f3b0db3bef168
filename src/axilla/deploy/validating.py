"""Validate: somebody else's model on a cohort of one's own, with a report of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from axilla.analysis.operating_points import LockedRule
from axilla.core import store
from axilla.core.config import StudyConfig, load_config
from axilla.core.errors import StoreError
from axilla.core.progress import Reporter, Silent
from axilla.core.types import Cohort, Patient
from axilla.deploy.applying import Application, apply_model
from axilla.deploy.cohort_difference import Summary, summary_here
from axilla.deploy.external import external_study, read_external
from axilla.deploy.feature_distance import feature_distances
from axilla.deploy.recalibrated import SAMPLE, Versions, versions_of
from axilla.deploy.samples import Recalibrate, choose_sample
from axilla.deploy.validation_report import Measured, write_validation
from axilla.deploy.validation_words import EXTERNAL
from axilla.study.bundles import read_bundle, refuse_folder_of_models
from axilla.study.describing import subgroups_of
from axilla.study.evaluating import evaluate_predictions
from axilla.study.layout import Layout
from axilla.study.recalibrating import write_recalibrated
from axilla.study.training_cohort import slide_summary

RECORD = "validation.json"
"""Which model the folder validates; written first, so that no other comes into it."""
_NO_MAP: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """What an external validation came to."""

    layout: Layout
    cohort: Cohort
    """The patients that the model could be asked about."""
    metrics: dict[str, Any]
    """As `metrics.json`, of the measured patients."""
    report: Path
    told: tuple[str, ...]
    """What the study says and was not done, a sentence each."""


def validate(
    model: Path,
    study: Path | StudyConfig,
    *,
    out: Path | None = None,
    recalibrate: Recalibrate | None = None,
    class_map: Mapping[str, str] = _NO_MAP,
    encoder_weights: Path | None = None,
    exclude_failed: bool = False,
    reporter: Reporter | None = None,
) -> Validation:
    """Measure a model as it is on the patients of another place.

    Nothing is trained and no threshold is chosen. Patches, bags, encoder, stain, clinical
    preprocessing and threshold are the model's; cohort, slides, annotations, regions and endpoint
    the study's.

    Parameters
    ----------
    model
        The model's folder.
    study
        `study.yaml`, or the same as a value.
    out
        Folder to write to; `validation-<name of the study>` here unless given.
    recalibrate
        A correction of the probabilities, fitted on some of the patients; these are not measured.
    class_map
        The model's class by the study's name of it, where a column names them otherwise.
    encoder_weights
        File of the frozen encoder's weights, where the model's came from a file.
    exclude_failed
        Go on without the patients whose inputs are wrong; the report names each with its reason.
    reporter
        Is told of the progress.

    Raises
    ------
    InputProblems
        Inputs are wrong; all problems are in it.
    AxillaError
        Model and study do not go together, or another mistake of the user's.

    Examples
    --------
    >>> import axilla
    >>> found = axilla.validate(Path("their-model"), Path("study.yaml"))  # doctest: +SKIP
    >>> found.metrics["methods"]["dl-cnb"]["test"]["auc"]  # doctest: +SKIP
    """
    reporter = reporter or Silent()
    refuse_folder_of_models(model)
    record = store.read_model_record(model)
    config = study
    if isinstance(config, Path):
        # What the model is of need not be said, nor the slides that another method would need.
        config = load_config(config, unless_said={"methods": [record["method"]]})
    folder = out or Path(f"validation-{_file_name(config.name)}")
    applied, reading, told = external_study(
        config, record, class_map=class_map, encoder_weights=encoder_weights, out=folder.resolve()
    )
    _refuse_other_folder(applied.out, record)
    with store.locked(applied.out):
        store.sweep(applied.out)
        classes = tuple(map(str, record["classes"]))
        external = read_external(
            applied, reading, classes=classes, told=told, exclude_failed=exclude_failed,
            reporter=reporter,
        )  # fmt: skip
        bundle = read_bundle(model)
        if recalibrate is not None:  # before anything long is computed
            choose_sample(external.cohort, recalibrate.sample, config=applied)
        application = apply_model(
            bundle, external.cohort, config=applied, reporter=reporter,
            exclude_failed=exclude_failed,
        )  # fmt: skip
        _write_record(applied.out, record)
        return _measure(application, model, recalibrate, told=told, reporter=reporter)


def _measure(
    application: Application,
    model: Path,
    recalibrate: Recalibrate | None,
    *,
    told: tuple[str, ...],
    reporter: Reporter,
) -> Validation:
    config, cohort = application.fitting.config, application.cohort
    layout = Layout(config.out)
    sample: frozenset[str] = frozenset()
    if recalibrate is not None:
        sample = choose_sample(cohort, recalibrate.sample, config=config)
    _write_people(cohort, layout)
    predictions = _predictions(application, sample, layout, reporter=reporter)
    measured = predictions[predictions["cohort"].astype(str) == "test"]
    # The correction first: a sample that does not suffice is told before figures are drawn.
    versions = None
    if len(cohort.classes) == 2:
        versions = versions_of(predictions, application.bundle.record, asked=recalibrate)
    elif recalibrate is not None:
        versions_of(predictions, {}, asked=recalibrate)
    _write_correction(versions, layout)
    metrics = _evaluate(application, measured, layout)
    reporter.done("evaluate", "tables and figures written")
    patients = tuple(p for p in cohort.patients if p.patient_id not in sample)
    training = application.bundle.record.get("training_cohort")
    found = Measured(
        application=application,
        model=model,
        sample=sample,
        predictions=measured,
        metrics=metrics,
        versions=versions,
        training=training,
        here=None if training is None else _summary(application, patients, training),
        distances=feature_distances(application, frozenset(p.patient_id for p in patients)),
        told=told,
    )
    report = write_validation(found, layout=layout)
    reporter.done("report", str(report))
    return Validation(layout, cohort, metrics, report, told)


def _predictions(
    application: Application, sample: frozenset[str], layout: Layout, *, reporter: Reporter
) -> pd.DataFrame:
    """`predictions.csv`: everybody, those of the sample in a cohort of their own."""
    scored = [
        replace(p, cohort=SAMPLE if p.patient_id in sample else p.cohort)
        for p in application.predictions()
    ]
    store.write_predictions(
        layout.predictions, scored, classes=application.bundle.classes, folds=False
    )
    reporter.done("predict", f"{len(scored):,} patients")
    return store.read_predictions(layout.predictions)


def _evaluate(application: Application, measured: pd.DataFrame, layout: Layout) -> dict[str, Any]:
    """Metrics, tables and figures of the measured patients, at the model's own threshold."""
    bundle, config = application.bundle, application.fitting.config
    endpoint = config.model_dump(mode="json")["endpoint"]
    threshold = bundle.record["threshold"]
    value = threshold["value"]
    reason = threshold.get("reason") or "the model holds no threshold: each cohort chose its own"
    points = [LockedRule(config.threshold, value, None if value is not None else reason)]
    if config.threshold != 0.5:
        points.append(LockedRule(0.5, 0.5))
    metrics, files = evaluate_predictions(
        measured,
        endpoint=endpoint if isinstance(endpoint, str) else endpoint["column"],
        classes=bundle.classes,
        rule=config.threshold,
        thresholds={bundle.method: reason if value is None else float(value)},
        out=layout.out,
        prevalences=config.prevalence,
        groups=subgroups_of(application.cohort, config=config),
        points={bundle.method: points},
        wording=EXTERNAL,
    )
    key = store.digest("validate", store.file_identity(layout.predictions, content=True))
    store.write_step(layout.out, "evaluate", key=key, files=files)
    return metrics


def _summary(
    application: Application, patients: tuple[Patient, ...], training: Summary
) -> dict[str, Any]:
    """The cohort here as the bundle describes its training cohort."""
    fitting, tiles = application.fitting, application.tiles
    found = summary_here(application.cohort, patients, training, clinical=fitting.config.clinical)
    if tiles is not None:
        fitting = replace(fitting, grids=tiles.grids)
    return found | slide_summary(fitting, application.bundle.method, patients)


def _write_people(cohort: Cohort, layout: Layout) -> None:
    """`exclusions.csv`: who left, and why."""
    rows = [(e.patient_id, e.step, e.reason) for e in cohort.excluded]
    frame = pd.DataFrame(rows, columns=["patient_id", "step", "reason"])
    store.write_text(layout.exclusions, frame.to_csv(index=False, lineterminator="\n"))


def _write_correction(versions: Versions | None, layout: Layout) -> None:
    """The corrected predictions and the correction; those of an earlier run go."""
    folder = layout.out / "recalibrated"
    if folder.is_dir():
        shutil.rmtree(folder)
    if versions is not None and versions.here is not None:
        write_recalibrated(versions.here, sample=SAMPLE, out=folder)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60].rstrip(".-") or "study"


def _refuse_other_folder(out: Path, record: Mapping[str, Any]) -> None:
    """No study's folder is written over, nor the validation of another model.

    Raises
    ------
    StoreError
        The folder holds such.
    """
    if (out / "models").is_dir():
        raise StoreError(
            "the folder is that of a study that trains models.",
            "Give a folder of its own with --out.",
            file=out,
        )
    path = out / RECORD
    if path.is_file() and store.read_json(path).get("weights_sha256") != record["weights_sha256"]:
        raise StoreError(
            "the folder holds the validation of another model.",
            "Give another folder with --out, or remove this one.",
            file=out,
        )


def _write_record(out: Path, record: Mapping[str, Any]) -> None:
    store.write_json(
        out / RECORD,
        {
            "schema": store.SCHEMA_VERSION,
            "method": record["method"],
            "study": record.get("study", ""),
            "weights_sha256": record["weights_sha256"],
        },
    )
