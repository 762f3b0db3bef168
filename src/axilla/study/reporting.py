"""Report: what the study came to, as the contents of one HTML file."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from axilla import __version__
from axilla.analysis.tables.comparison_table import comparison_table
from axilla.analysis.tables.fold_table import ALL, fold_table
from axilla.analysis.tables.performance_table import multiclass_table, performance_table
from axilla.core.cohort import is_generated
from axilla.core.config import StudyConfig
from axilla.core.methods import method_title
from axilla.core.progress import Reporter
from axilla.core.types import COHORT_TITLES, FOLD_TITLES
from axilla.report.budget import render_within
from axilla.report.contents import Part, ReportContents, Table
from axilla.study.cases import cases_intro, cases_of
from axilla.study.fitting import Fitting
from axilla.study.flow import flow_of
from axilla.study.layout import Layout, write_if_new
from axilla.study.mixed_scales import mixed_scales
from axilla.study.nuclei_explaining import nuclei_part
from axilla.study.plain import STAGED, plain_sentences, plain_table
from axilla.study.provenance import provenance
from axilla.study.report_figures import figures_of, rule_text
from axilla.study.report_parts import further_parts
from axilla.study.slide_checks import slides_of
from axilla.study.split_sentences import split_sentences, warned_sentences
from axilla.study.summary import (
    highlights,
    method_sentences,
    outline_sentences,
    summary_sentences,
    warning_sentences,
)
from axilla.study.tiling import Tiles
from axilla.study.tripod import tripod, write_tripod
from axilla.study.unannotated import unannotated_sentences

_NO_SAMPLE = "Cases with the highest and the lowest scores, not a sample of all."
LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "torch", "torchvision")


def write_report(
    fitting: Fitting,
    tiles: Tiles | None,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    *,
    reporter: Reporter,
) -> Path:
    """Write `report.html` and return its path."""
    layout = Layout(fitting.config.out)
    checklist = tripod(fitting, metrics)
    write_tripod(layout, checklist)
    further = further_parts(
        layout,
        metrics,
        classes=fitting.cohort.classes,
        of_nodes=fitting.config.endpoint in STAGED,
    )
    nuclei = nuclei_part(fitting)
    parts = (*further, *([nuclei] if nuclei else []), checklist, provenance(fitting))
    contents = _contents(fitting, tiles, predictions, metrics, layout, parts=parts)
    written = write_if_new(layout.report, render_within(contents))
    reporter.done("report", str(layout.report) if written else "done before")
    return layout.report


def _contents(
    fitting: Fitting,
    tiles: Tiles | None,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    layout: Layout,
    *,
    parts: tuple[Part, ...],
) -> ReportContents:
    config = fitting.config
    cases = cases_of(fitting, predictions, metrics, layout)
    slides = [] if tiles is None else slides_of(tiles.cohort.patients)
    return ReportContents(
        name=config.name,
        endpoint=" against ".join(fitting.cohort.classes),
        generated=is_generated(config.cohort),
        plain=plain_sentences(config, fitting.cohort.classes, metrics),
        plain_table=plain_table(fitting.cohort.classes, metrics),
        summary=summary_sentences(fitting.cohort, metrics),
        warnings=(
            *warning_sentences(fitting, metrics),
            *warned_sentences(config, fitting.partitions),
            *outline_sentences({} if tiles is None else tiles.repaired()),
            *unannotated_sentences(slides, config=config),
            *_mixed_scales(tiles, config=config),
        ),
        flow=flow_of(fitting, tiles),
        tables=_tables(layout, fitting, metrics),
        figures=figures_of(layout, metrics, config),
        cases=cases,
        cases_intro=(f"{_NO_SAMPLE} {cases_intro(fitting, cases)}",) if cases else (),
        published=_published(fitting, metrics),
        settings=shown_settings(config),
        highlights=highlights(metrics),
        parts=parts,
        methods=(
            *split_sentences(config, fitting.partitions),
            *method_sentences(config, fitting.imported),
        ),
        versions={
            "axilla": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    )


def _mixed_scales(tiles: Tiles | None, *, config: StudyConfig) -> tuple[str, ...]:
    if tiles is None:
        return ()
    mixed = mixed_scales((grid.mpp for grid in tiles.grids.values()), config=config)
    return () if mixed is None else (f"{mixed.cause[0].upper()}{mixed.cause[1:]}",)


def shown_settings(config: StudyConfig) -> dict[str, Any]:
    """The study's settings without this machine's folders: a report is passed on."""
    settings = config.model_dump(mode="json")
    for key in ("cohort", "slides", "annotations", "out"):
        if settings[key] is not None:
            # `annotations` may be a mapping with its folder.
            if isinstance(settings[key], dict):
                settings[key]["folder"] = Path(settings[key]["folder"]).name
            else:
                settings[key] = Path(settings[key]).name
    if config.bags.file is not None:
        settings["bags"]["file"] = config.bags.file.name
    if config.stain is not None and config.stain.reference is not None:
        settings["stain"]["target"] = Path(config.stain.reference).name
    if config.imported is not None:
        settings["features"]["folder"] = config.imported.folder.name
        for unused in ("encoder", "patches", "regions"):  # of files made elsewhere they say nothing
            del settings[unused]
        return settings
    weights = settings["encoder"]["weights"]
    settings["encoder"]["weights"] = Path(weights).name
    return settings


def _tables(layout: Layout, fitting: Fitting, metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    found = []
    titled = FOLD_TITLES if "folds" in metrics else COHORT_TITLES
    compared = comparison_table(metrics, cohort_titles=titled)
    printed = performance_table if len(fitting.cohort.classes) == 2 else multiclass_table
    marks = printed(metrics, cohort_titles=titled).notes
    titles = {
        "table1": "Patient and tumor characteristics",
        "table1_by_class": "Patient and tumor characteristics by class",
        "table2": "Performance with 95% confidence intervals",
    }
    if len(fitting.partitions) > 1:
        del titles["table1_by_class"]  # with folds the first table is by class
    if "folds" in metrics:
        titles["folds"] = "Performance in each fold"
    if compared is not None:
        titles["comparison"] = "Methods compared by paired DeLong"
    for stem, title in titles.items():
        frame = pd.read_csv(layout.tables / f"{stem}.csv", dtype=str, keep_default_na=False)
        if stem == "comparison" and compared is not None:
            notes = compared.notes
        else:
            notes = _TABLE_NOTES[stem] if len(fitting.partitions) == 1 else _FOLD_NOTES[stem]
        if stem == "folds":
            frame, notes = _shown_folds(frame, notes, metrics)
        found.append(
            Table(
                title=title,
                columns=tuple(map(str, frame.columns)),
                rows=tuple(tuple(map(str, row)) for row in frame.itertuples(index=False)),
                notes=(*marks, *notes) if stem == "table2" else notes,
                csv_name=f"{stem}.csv",
            )
        )
    return tuple(found)


def _shown_folds(
    frame: pd.DataFrame, notes: tuple[str, ...], metrics: Mapping[str, Any]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """All folds, or of very many the means only; why a figure is missing stands beneath."""
    if len(frame) > MOST_FOLDS:
        shown = frame[frame.iloc[:, 1].str.startswith(ALL)]
        return shown, (*notes, "Single folds: tables/folds.csv beside this report.")
    return frame, (*notes, *fold_table(metrics).notes)


_TABLE_NOTES = {
    "table1": (
        "Training includes validation.",
        "Mean ± SD with Mann-Whitney U test; n (%) with chi-square test, not corrected.",
    ),
    "table1_by_class": (
        "All patients. Mean ± SD with Mann-Whitney U test; n (%) with chi-square test.",
    ),
    "table2": (
        (
            "Training patients fitted the models and validation patients chose epoch and threshold "
            "where a method has them: only the test cohort shows what to expect of new patients."
        ),
        (
            "AUC: binomial exact interval, as in the paper; with few patients of one class it is "
            "too narrow (metrics.json holds DeLong's too)."
        ),
        (
            "ACC, SENS, SPEC: Clopper-Pearson interval. PPV, NPV: logit interval, which takes the "
            "share of positive patients as known."
        ),
    ),
}
_FOLD_NOTES = {
    "table1": ("Mean ± SD, or n (%). Mann-Whitney U test, or chi-square test.",),
    "table2": (
        "Pooled over folds: a patient's score is the mean over the repeats, which is an ensemble.",
        "The mean over single folds stands in the summary.",
    ),
    "folds": ("A fold's figures are those of its own test patients, at its own threshold.",),
}
MOST_FOLDS = 60
"""Rows of the folds' table that the report prints whole."""


def _published(fitting: Fitting, metrics: Mapping[str, Any]) -> Table | None:
    """The literature's figures beside ours."""
    if not fitting.config.published:
        return None
    folds = metrics.get("folds", {})
    rows = []
    for item in fitting.config.published:
        for name, published in (("auc", item.auc), ("accuracy", item.accuracy)):
            if published is None:
                continue
            ours = metrics["methods"].get(item.method, {}).get(item.cohort)
            rows.append(
                (
                    item.source,
                    method_title(item.method),
                    (FOLD_TITLES if folds else COHORT_TITLES)[item.cohort],
                    {"auc": "AUC", "accuracy": "Accuracy"}[name],
                    f"{published:.3f}",
                    _ours(name, ours, folds.get(item.method)),
                )
            )
    return Table(
        title="Published figures beside ours",
        columns=("Source", "Method", "Cohort", "Figure", "Published", "Ours"),
        rows=tuple(rows),
        notes=(
            "Ours: mean ± standard error over the test patients of all folds."
            if folds
            else "Ours with the 95% confidence interval.",
            f"Accuracy depends on the threshold; here: {rule_text(fitting.config)}.",
            (
                "Published figures are of their authors' own patients, unless these are the same: "
                "a difference from ours is no test of one method against another."
            ),
        ),
    )


def _ours(name: str, entry: Mapping[str, Any] | None, folds: Mapping[str, Any] | None) -> str:
    if folds is not None:
        figure = folds[name]
        if figure["mean"] is None or figure["se"] is None:
            return f"not defined ({figure.get('reason', '')})"
        text = f"{figure['mean']:.3f} ± {figure['se']:.3f}"
        return text + (
            f" ({len(figure['undefined'])} folds undefined)" if figure["undefined"] else ""
        )
    if entry is None or entry[name]["value"] is None:
        return "not defined"
    value = entry[name]
    if value["low"] is None:  # the mean over more than two classes has no exact interval
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
