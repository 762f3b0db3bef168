"""The report of an external validation, from what was measured."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from axilla import __version__
from axilla.analysis.plots.look import in_print
from axilla.analysis.tables.markup import to_csv
from axilla.core import store
from axilla.core.cohort import is_generated
from axilla.core.methods import method_title
from axilla.core.types import Patient
from axilla.deploy import validation_words as words
from axilla.deploy.applying import Application
from axilla.deploy.cohort_difference import Summary, difference_table
from axilla.deploy.feature_distance import FAR, FeatureDistances, drawn_distances
from axilla.deploy.recalibrated import Versions, calibration_of, draw_versions
from axilla.deploy.validation_tables import as_table, beside_table, printed_performance
from axilla.report.budget import render_within
from axilla.report.contents import Figure, FlowStep, Part, ReportContents
from axilla.study.evaluating import write_figure, write_table
from axilla.study.evaluation_figures import Drawn
from axilla.study.flow import class_mix, flow_of
from axilla.study.layout import Layout, write_if_new
from axilla.study.plain import STAGED, plain_sentences, plain_table
from axilla.study.provenance import provenance
from axilla.study.report_figures import figures_of
from axilla.study.report_parts import further_parts
from axilla.study.reporting import LIBRARIES, shown_settings
from axilla.study.summary import outline_sentences

_NOT_SHOWN = ("split", "training", "methods", "published", "heatmaps", "nuclei")
_OF_IMAGES = ("patches", "stain", "bags", "encoder", "aggregator", "regions", "max_slide_px")


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All that a validation found out."""

    application: Application
    model: Path
    sample: frozenset[str]
    """Patients whom a recalibration was fitted on."""
    predictions: pd.DataFrame
    """Of the measured patients only."""
    metrics: Mapping[str, Any]
    versions: Versions | None
    """None with more than two classes."""
    training: Summary | None
    """Of the bundle; None where it tells nothing of its training cohort."""
    here: Summary | None
    distances: FeatureDistances | None
    told: tuple[str, ...]

    @property
    def patients(self) -> tuple[Patient, ...]:
        """Those who were measured."""
        return tuple(p for p in self.application.cohort.patients if p.patient_id not in self.sample)

    @property
    def entry(self) -> Mapping[str, Any]:
        """The external cohort's of the metrics."""
        entry: Mapping[str, Any] = self.metrics["methods"][self.application.bundle.method]["test"]
        return entry


def write_validation(measured: Measured, *, layout: Layout) -> Path:
    """Write tables and figures of the validation's own, and `report.html`; return its path."""
    contents = _contents(measured, layout)
    write_if_new(layout.report, render_within(contents))
    return layout.report


def _contents(measured: Measured, layout: Layout) -> ReportContents:
    application = measured.application
    bundle, fitting = application.bundle, application.fitting
    config, classes, entry = fitting.config, bundle.classes, measured.entry
    parts = (
        *_cohort_parts(measured, layout),
        *further_parts(
            layout, measured.metrics, classes=classes, of_nodes=config.endpoint in STAGED,
            wording=words.EXTERNAL,
        ),
        *_recalibration_part(measured, layout),
        _provenance(measured, layout),
    )  # fmt: skip
    performance = printed_performance(measured.metrics, wording=words.EXTERNAL)
    return ReportContents(
        kind="external validation",
        name=config.name,
        endpoint=f"{method_title(bundle.method)}: {' against '.join(classes)}",
        generated=is_generated(config.cohort),
        plain=plain_sentences(config, classes, measured.metrics, wording=words.EXTERNAL),
        plain_table=plain_table(classes, measured.metrics, wording=words.EXTERNAL),
        summary=words.summary(bundle, entry, len(measured.sample), measured.versions),
        highlights=words.highlights(entry),
        warnings=(
            *words.warnings(
                bundle, fitting, entry, measured.patients, told=measured.told,
                training=measured.training, here=measured.here, distances=measured.distances,
            ),
            *outline_sentences(
                {} if application.tiles is None else application.tiles.repaired()
            ),
        ),
        flow=flow(measured),
        tables=(
            beside_table(bundle.record, entry),
            as_table(performance, title="Performance with 95% confidence intervals",
                     csv_name="table2.csv", notes=_PERFORMANCE_NOTES[len(classes) > 2:]),
        ),
        figures=figures_of(layout, measured.metrics, config, wording=words.EXTERNAL),
        cases=(),
        published=None,
        parts=parts,
        methods=words.methods(bundle, sample=bool(measured.sample)),
        settings=_settings(measured),
        versions={
            "axilla": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    )  # fmt: skip


_PERFORMANCE_NOTES = (
    (
        "AUC: binomial exact interval, as in the paper; with few patients of one class it is too "
        "narrow, and DeLong's in the table above is to be preferred."
    ),
    (
        "ACC, SENS, SPEC: Clopper-Pearson interval. PPV, NPV: logit interval, which takes the "
        "share of positive patients as known."
    ),
)


def flow(measured: Measured) -> tuple[FlowStep, ...]:
    """The boxes of a study, ending in the measured patients and the sample, if there is one."""
    application = measured.application
    steps = flow_of(application.fitting, application.tiles)
    classes, patients = application.bundle.classes, measured.patients
    branches = [(words.TITLE, len(patients), class_mix(patients, classes))]
    apart = tuple(p for p in application.cohort.patients if p.patient_id in measured.sample)
    if apart:
        mixed = class_mix(apart, classes)
        branches.append(("Recalibration only, not measured", len(apart), mixed))
    return (*steps[:-1], replace(steps[-1], branches=tuple(branches)))


def _cohort_parts(measured: Measured, layout: Layout) -> list[Part]:
    """The two cohorts beside one another, and how far patients lie from training."""
    found = []
    clinical = measured.application.fitting.config.clinical
    if measured.training is not None and measured.here is not None:
        table = difference_table(measured.training, measured.here, clinical=clinical)
        frame = pd.DataFrame(list(table.rows), columns=list(table.columns))
        write_table(layout.tables / "cohorts", frame, caption=table.title, notes=table.notes)
        found.append(
            Part(
                anchor="cohorts",
                title="Beside the training cohort",
                after="patients",
                paragraphs=(
                    (
                        "A model is told to hold for patients like those it learned from. Where "
                        "the cohorts differ, a worse figure here need not be the model's fault, "
                        "nor a better one its merit."
                    ),
                ),
                tables=(table,),
            )
        )
    if measured.distances is not None:
        found.append(_distance_part(measured.distances, layout))
    return found


def _distance_part(distances: FeatureDistances, layout: Layout) -> Part:
    share = distances.far()
    figure = _written(
        layout, drawn_distances(distances),
        title="Distance of each patient's features from the training cohort",
        caption="Patients here by their distance; a line below which so many of new patients of "
        "the training kind would lie. 1 is about the distance of a training patient.",
    )  # fmt: skip
    beyond = round(share.value * len(distances.by_patient))
    return Part(
        anchor="distance",
        title="How far the slides are from those of training",
        after="patients",
        paragraphs=(
            (
                f"{beyond} of {len(distances.by_patient):,} patients ({share.value:.1%}, 95% CI "
                f"{share.low:.1%} to {share.high:.1%}) lie beyond the {FAR} quantile of the "
                "training cohort, where 5% of new patients of the same kind would be expected. "
                "The distance is Mahalanobis's, of a patient's mean features from the "
                f"{distances.reference.patients:,} training patients of the model; it sees stain, "
                "scanner and tissue alike, and says nothing of whether a score is right."
            ),
        ),
        figures=(figure,),
    )


def _recalibration_part(measured: Measured, layout: Layout) -> list[Part]:
    """Before and after, where there is an after."""
    versions, classes = measured.versions, measured.application.bundle.classes
    if versions is None or len(versions.frames) < 2:
        return []
    endpoint = str(measured.metrics["endpoint"])
    printed = calibration_of(versions, endpoint=endpoint, wording=words.EXTERNAL)
    title = "Calibration before and after recalibration"
    write_table(layout.tables / "recalibration", printed.frame, caption=title, notes=printed.notes)
    with in_print():
        drawn = draw_versions(versions, classes=classes, wording=words.EXTERNAL)
    names = list(versions.frames)
    figures = tuple(
        _written(layout, one, title=title, caption=caption)
        for one, (title, caption) in zip(drawn, _captions(names, len(drawn)), strict=True)
    )
    return [
        Part(
            anchor="recalibration",
            title="Recalibration",
            after="figures",
            paragraphs=words.recalibration_paragraphs(versions),
            tables=(as_table(printed, title=title, csv_name="recalibration.csv"),),
            figures=figures,
        )
    ]


def _captions(names: Sequence[str], drawn: int) -> list[tuple[str, str]]:
    """Title and caption of each figure: reliability of the later versions, then all decisions."""
    if not drawn:
        return []
    observed = f"Observed against predicted shares in {words.EXTERNAL.tested}."
    return [
        *((f"Calibration: {name.lower()}", observed) for name in names[1:]),
        (
            "Decision curves before and after",
            "Net benefit, and biopsies avoided against positives missed, of each version.",
        ),
    ]


def _written(layout: Layout, drawn: Drawn, *, title: str, caption: str) -> Figure:
    """Write a figure with its numbers, and return it as the report takes it."""
    paths = write_figure(layout.figures / drawn.name, drawn.figure)
    csv = "" if drawn.numbers is None else to_csv(drawn.numbers)
    if csv:
        store.write_text(layout.figures / f"{drawn.name}.csv", csv)
    return Figure(
        title=title, caption=caption, image=paths[0].read_bytes(), media_type="image/svg+xml",
        alt=caption, csv_name=f"{drawn.name}.csv" if csv else "", csv=csv,
    )  # fmt: skip


def _settings(measured: Measured) -> dict[str, Any]:
    """The model, and the settings that were used; nothing of training."""
    bundle, config = measured.application.bundle, measured.application.fitting.config
    shown = {n: v for n, v in shown_settings(config).items() if n not in _NOT_SHOWN}
    if not config.uses_slides:
        shown = {n: v for n, v in shown.items() if n not in (*_OF_IMAGES, "slides", "annotations")}
    record = bundle.record
    model = {
        "method": bundle.method,
        "study": record.get("study") or None,
        "members": len(bundle.members),
        "weights_sha256": record["weights_sha256"],
        "axilla": record["versions"].get("axilla"),
    }
    return {**shown, "model": model}


def _provenance(measured: Measured, layout: Layout) -> Part:
    """The study's, with the model's files."""
    part = provenance(measured.application.fitting)
    (table,) = part.tables
    record = measured.application.bundle.record
    rows = [
        ("Model: record", "model.json",
         store.file_identity(measured.model / "model.json", content=True)),
        ("Model: weights", "model.safetensors", str(record["weights_sha256"])),
    ]  # fmt: skip
    path = layout.out / "recalibrated" / "recalibration.json"
    if measured.sample and path.is_file():
        sha = store.file_identity(path, content=True)
        rows.append(("Recalibration", "recalibrated/recalibration.json", sha))
    return replace(part, tables=(replace(table, rows=(*table.rows, *rows)),))
