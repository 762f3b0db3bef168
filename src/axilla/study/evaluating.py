"""Evaluate: predictions into metrics.json, the paper's tables, and figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from axilla.analysis.metrics import evaluate
from axilla.analysis.plots.classification import draw_confusion, draw_roc, draw_score_boxes
from axilla.analysis.roc import roc_curve
from axilla.analysis.tables.cohort_table import cohort_table, t_stage
from axilla.analysis.tables.comparison_table import comparison_table
from axilla.analysis.tables.fold_table import fold_table
from axilla.analysis.tables.markup import to_csv, to_html, to_latex
from axilla.analysis.tables.performance_table import multiclass_table, performance_table
from axilla.core import store
from axilla.core.config import Clinical, StudyConfig, Threshold
from axilla.core.methods import method_title
from axilla.core.table import parse_number
from axilla.core.types import (
    COHORT_TITLES,
    FOLD_TITLES,
    Cohort,
    Estimate,
    Partition,
)
from axilla.study.layout import Layout

TITLES = {
    "age": "Age, years",
    "tumor_size_cm": "Tumor size, cm",
    "tumor_size_mm": "Tumor size, mm",
    "t_stage": "T stage",
    "nodes": "Number of LNM",
    "er": "ER",
    "pr": "PR",
    "her2": "HER2",
    "endpoint": "Endpoint",
}
SIZES = {"tumor_size_cm": 1.0, "tumor_size_mm": 0.1}
"""Columns with the tumour's size, and their unit in cm."""
DIGITS = {"age": (2, 3), "tumor_size_cm": (3, 4), "nodes": (2, 3)}
"""Decimals of mean and SD, as the paper's Table 1 prints them."""


def evaluate_predictions(
    predictions: pd.DataFrame,
    *,
    endpoint: str,
    classes: Sequence[str] | None,
    rule: Threshold,
    thresholds: Mapping[str, float],
    out: Path,
    fold_names: Mapping[int, str] | None = None,
    held_out: str = "Fold",
) -> tuple[dict[str, Any], list[Path]]:
    """Write metrics.json, Table 2, the folds' table and the figures of anybody's predictions.

    `fold_names` are the groups that the folds leave out, `held_out` the column of the groups.

    Returns
    -------
    tuple
        The metrics, and the files written.

    Raises
    ------
    StatisticsError
        The predictions contradict themselves or the threshold cannot be chosen.
    """
    metrics = evaluate(
        predictions, endpoint=endpoint, threshold_rule=rule, thresholds=thresholds,
        fold_names=fold_names,
    )  # fmt: skip
    layout = Layout(out)
    store.write_json(layout.metrics, metrics)
    binary = "score" in predictions.columns
    titles = FOLD_TITLES if "fold" in predictions.columns else COHORT_TITLES
    table = performance_table if binary else multiclass_table
    printed = table(metrics, cohort_titles=titles)
    files = [layout.metrics]
    files += write_table(
        layout.tables / "table2", printed.frame, notes=printed.notes,
        caption=f"Performance in prediction of ALN status ({endpoint})",
    )  # fmt: skip
    if "folds" in metrics:
        folds = fold_table(
            metrics, held_out=held_out, positive=classes[1] if classes else "Positive"
        )
        files += write_table(
            layout.tables / "folds", folds.frame, notes=folds.notes,
            caption=f"Performance in each fold ({endpoint})",
        )  # fmt: skip
    files += _comparison(metrics, titles, folder=layout.tables, endpoint=endpoint)
    for cohort in pd.unique(predictions["cohort"]):
        part = predictions[predictions["cohort"] == cohort]
        title = titles.get(str(cohort), str(cohort))
        if binary:
            files += _binary_figures(
                part, str(cohort), metrics, classes, folder=layout.figures, title=title
            )
        else:
            files += _multiclass_figures(
                part, str(cohort), metrics, folder=layout.figures, title=title
            )
    return metrics, files


def _comparison(
    metrics: Mapping[str, Any], titles: Mapping[str, str], *, folder: Path, endpoint: str
) -> list[Path]:
    """All methods in one table; an earlier one goes where a single method is left."""
    stem = folder / "comparison"
    compared = comparison_table(metrics, cohort_titles=titles)
    if compared is None:
        for suffix in (".csv", ".tex", ".html"):
            stem.with_suffix(suffix).unlink(missing_ok=True)
        return []
    caption = f"Methods compared by paired DeLong ({endpoint})"
    return write_table(stem, compared.frame, notes=compared.notes, caption=caption)


def describe_cohort(
    cohort: Cohort, partitions: tuple[Partition, ...], *, config: StudyConfig
) -> pd.DataFrame:
    """The paper's Table 1: training with validation against test; by class where there are folds.

    Characteristics are those of the study's clinical columns that the table has, the T stage made
    from the size, and the endpoint.
    """
    labels = cohort.labels()
    frame = _cells(cohort.frame.loc[list(labels)], config.clinical)
    numeric = [n for n in (*config.clinical.numeric_names, "nodes") if _is_numeric(frame, n)]
    categorical = [n for n in config.clinical.categorical_names if n in frame.columns]
    size = next((name for name in SIZES if name in numeric), None)
    if size is not None:
        # The paper's two groups: its one tumour over 5 cm is counted with T2.
        stage = t_stage(frame[size] * SIZES[size])
        frame["t_stage"] = stage.map({"T1": "T1", "T2": "T2 or above", "T3": "T2 or above"})
        categorical.insert(0, "t_stage")
    names = pd.Series([cohort.classes[v] for v in labels.values()], index=frame.index)
    if len(partitions) > 1:
        groups = pd.Series(pd.Categorical(names, categories=cohort.classes), index=frame.index)
    else:
        where = partitions[0].cohort_of
        sides = ["Test" if where[patient] == "test" else "Training" for patient in labels]
        groups = pd.Series(
            pd.Categorical(sides, categories=["Training", "Test"]), index=frame.index
        )
        frame["endpoint"] = names
        categorical.append("endpoint")
    title = "ALN status" if isinstance(config.endpoint, str) else config.endpoint.column
    return cohort_table(
        frame,
        groups,
        numeric=numeric,
        categorical=_levels(frame, categorical, cohort.classes),
        titles={**_unit_titles(config.clinical), **TITLES, "endpoint": title},
        digits=DIGITS,
    )


def write_table(
    stem: Path, frame: pd.DataFrame, *, caption: str, notes: Sequence[str] = ()
) -> list[Path]:
    """Write a table as CSV, LaTeX and HTML beside one another."""
    texts = {
        ".csv": to_csv(frame),
        ".tex": to_latex(frame, caption=caption, notes=notes),
        ".html": to_html(frame, caption=caption, notes=notes),
    }
    for suffix, text in texts.items():
        store.write_text(stem.with_suffix(suffix), text)
    return [stem.with_suffix(suffix) for suffix in texts]


def write_figure(stem: Path, figure: Figure) -> list[Path]:
    """Write a figure as SVG and as PNG of 300 dpi, the same bytes for the same figure."""
    paths = []
    with mpl.rc_context({"svg.hashsalt": "axilla", "svg.fonttype": "path"}):
        for suffix, options in ((".svg", {"metadata": {"Date": None}}), (".png", {"dpi": 300})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], bbox_inches="tight", **options)
            path = stem.with_suffix(suffix)
            store.write_bytes(path, buffer.getvalue())
            paths.append(path)
    return paths


def described_columns(frame: pd.DataFrame, clinical: Clinical) -> list[str]:
    """The clinical columns that the cohort's table has."""
    return [n for n in clinical.names if n in frame.columns]


def _cells(frame: pd.DataFrame, clinical: Clinical) -> pd.DataFrame:
    """The patients' columns as the clinical methods read them.

    A column of numbers is text where a patient who left the study had a word in it, and
    `Positive` is the same level as `positive`.
    """
    frame = frame.copy()
    for name in (*clinical.numeric_names, "nodes"):
        if name in frame.columns and not _is_numeric(frame, name):
            cells = frame[name].dropna()
            numbers = cells.map(lambda cell: parse_number(str(cell)))
            if numbers.notna().all():
                frame[name] = numbers.astype(float).reindex(frame.index)
    for name in clinical.categorical_names:
        if name in frame.columns and not _is_numeric(frame, name):
            spelling: dict[str, str] = {}
            for cell in frame[name].dropna():
                spelling.setdefault(str(cell).lower(), str(cell))
            frame[name] = frame[name].map(
                lambda cell, spelling=spelling: (
                    cell if pd.isna(cell) else spelling[str(cell).lower()]
                )
            )
    return frame


def _unit_titles(clinical: Clinical) -> dict[str, str]:
    """How tables print columns whose unit the study declares."""
    return {c.name: f"{c.name}, {c.shown_unit}" for c in clinical.numeric if c.shown_unit}


def _is_numeric(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and pd.api.types.is_numeric_dtype(frame[column])


def _levels(
    frame: pd.DataFrame, columns: Sequence[str], classes: Sequence[str]
) -> dict[str, list[str]]:
    """Printed order: positive before negative, as the paper; classes in their own order."""
    levels: dict[str, list[str]] = {}
    for column in columns:
        frame[column] = frame[column].map(lambda cell: cell if pd.isna(cell) else str(cell))
        if column == "endpoint":
            levels[column] = list(classes)
            continue
        found = sorted(frame[column].dropna().unique())
        levels[column] = sorted(found, key=lambda name: (name.lower() != "positive", name))
    return levels


def _binary_figures(
    part: pd.DataFrame,
    cohort: str,
    metrics: Mapping[str, Any],
    classes: Sequence[str] | None,
    *,
    folder: Path,
    title: str,
) -> list[Path]:
    names = list(classes or ("negative", "positive"))
    curves, areas = {}, {}
    pooled = part.groupby(["method", "patient_id"], sort=False)[["label", "score"]].mean()
    for method in pd.unique(part["method"]):
        entry = metrics["methods"][method][cohort]
        if entry["auc"]["value"] is None:
            continue
        rows = pooled.loc[method]
        shown = method_title(str(method))
        curves[shown] = roc_curve(rows["label"], rows["score"])
        areas[shown] = Estimate(entry["auc"]["value"], entry["auc"]["low"], entry["auc"]["high"])
    files: list[Path] = []
    if curves:
        figure = Figure(figsize=(4.6, 4.6), layout="constrained")
        axes = figure.subplots()
        draw_roc(axes, curves, areas=areas)
        axes.set_title(f"{title} cohort")
        files += write_figure(folder / f"roc_{cohort}", figure)
        files += _curve_numbers(folder / f"roc_{cohort}.csv", curves)
    for method in pd.unique(part["method"]):
        entry = metrics["methods"][method][cohort]
        if entry.get("confusion") is None:
            continue
        c = entry["confusion"]
        figure = Figure(figsize=(6.8, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_confusion(left, [[c["tn"], c["fp"]], [c["fn"], c["tp"]]], classes=names)
        rows = pooled.loc[method]
        groups = {
            name: rows.loc[rows["label"] == index, "score"].to_numpy()
            for index, name in enumerate(names)
        }
        draw_score_boxes(right, groups, threshold=entry["threshold"])
        figure.suptitle(f"{method_title(str(method))}, {title.lower()} cohort")
        files += write_figure(folder / f"confusion_{method}_{cohort}", figure)
    return files


def _multiclass_figures(
    part: pd.DataFrame, cohort: str, metrics: Mapping[str, Any], *, folder: Path, title: str
) -> list[Path]:
    files: list[Path] = []
    for method, cohorts in metrics["methods"].items():
        entry = cohorts.get(cohort)
        if entry is None:
            continue
        files += _one_versus_rest(
            part[part["method"] == method], entry, folder / f"roc_{method}_{cohort}",
            title=f"{method_title(method)}, {title.lower()} cohort",
        )  # fmt: skip
        figure = Figure(figsize=(4.2, 3.8), layout="constrained")
        draw_confusion(figure.subplots(), entry["confusion_matrix"], classes=entry["classes"])
        figure.suptitle(f"{method_title(method)}, {title.lower()} cohort")
        files += write_figure(folder / f"confusion_{method}_{cohort}", figure)
    return files


def _one_versus_rest(
    part: pd.DataFrame, entry: Mapping[str, Any], stem: Path, *, title: str
) -> list[Path]:
    """The curve of each class against the others, with its numbers."""
    columns = {name: f"score_{name}" for name in entry["classes"]}
    each = part.groupby("patient_id", sort=False)
    pooled = each[list(columns.values())].mean()
    # Anybody's predictions may write the class's name in place of its number.
    numbers = {name: index for index, name in enumerate(columns)}
    labels = each["label"].first().map(lambda cell: numbers.get(cell, cell)).astype(int)
    curves, areas = {}, {}
    for index, (name, column) in enumerate(columns.items()):
        area = entry["auc_by_class"][name]
        if area["value"] is not None:
            curves[name] = roc_curve(labels == index, pooled[column])
            areas[name] = Estimate(area["value"], area["low"], area["high"])
    if not curves:
        return []
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    draw_roc(axes, curves, areas=areas)
    axes.set_title(f"{title}, each class against the others")
    return [*write_figure(stem, figure), *_curve_numbers(stem.with_suffix(".csv"), curves, "class")]


def _curve_numbers(path: Path, curves: Mapping[str, Any], of: str = "method") -> list[Path]:
    frames = [
        pd.DataFrame(
            {
                of: name,
                "false_positive_rate": np.asarray(curve.fpr),
                "true_positive_rate": np.asarray(curve.tpr),
            }
        )
        for name, curve in curves.items()
    ]
    store.write_text(path, to_csv(pd.concat(frames)))
    return [path]
