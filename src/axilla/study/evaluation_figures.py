"""The figures of an evaluation, drawn at the size in which a journal prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from axilla.analysis.group_tests import rank_test
from axilla.analysis.plots.classification import (
    MOST_INSIDE,
    draw_confusion,
    draw_roc,
    draw_score_boxes,
    legend_text,
)
from axilla.analysis.plots.look import COLUMN_IN, PAGE_IN
from axilla.analysis.roc import RocCurve, roc_curve
from axilla.analysis.tables.confusion_table import confusion_counts
from axilla.core.methods import method_title
from axilla.core.types import Estimate
from axilla.study.figure_numbers import box_numbers, confusion_numbers

MOST_PANELS = 3
"""Cohorts that stand side by side on a page's width."""
_LINE_IN = 0.14
"""Height in inches of a legend's line."""
_COLUMN_CHARACTERS = 50
_PANEL_CHARACTERS = 32
"""Characters of a title across a column, and across a third of a page."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure, not yet saved."""

    name: str
    """Of its files, without their ending."""
    figure: Figure
    numbers: pd.DataFrame | None = None
    """What it shows, as a table."""


@dataclass(frozen=True, slots=True, eq=False)
class _Curves:
    curves: dict[str, RocCurve]
    areas: dict[str, Estimate]
    """Both by the name that the legend prints."""


def draw_evaluation(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    *,
    classes: Sequence[str] | None,
    cohort_titles: Mapping[str, str],
) -> Iterator[Drawn]:
    """Draw what `evaluate` measured.

    Parameters
    ----------
    predictions
        As `evaluate` took them.
    metrics
        What it returned.
    classes
        Names of two classes, negative first.
    cohort_titles
        Printed names; the short name where there is none.

    Yields
    ------
    Drawn
        Of two classes `roc_<cohort>` with all methods, `roc_cohorts` with up to three cohorts side
        by side, and of each method and cohort `confusion_<method>_<cohort>` and
        `scores_<method>_<cohort>`; of more classes `roc_<method>_<cohort>` with a curve a class,
        and the confusion matrices.
    """
    titles = {str(c): cohort_titles.get(str(c), str(c)) for c in pd.unique(predictions["cohort"])}
    if "score" not in predictions.columns:
        yield from _of_more_classes(predictions, metrics, titles)
        return
    scores = pooled_scores(predictions)
    found = {cohort: _method_curves(scores, metrics, cohort) for cohort in titles}
    drawable = {cohort: one for cohort, one in found.items() if one.curves}
    for cohort, one in drawable.items():
        yield Drawn(
            f"roc_{cohort}", _roc_figure(one, f"{titles[cohort]} cohort"), _numbers(one, "method")
        )
    if 1 < len(drawable) <= MOST_PANELS:
        frames = [_numbers(one, "method").assign(cohort=c) for c, one in drawable.items()]
        figure = _panels({titles[cohort]: one for cohort, one in drawable.items()})
        yield Drawn("roc_cohorts", figure, pd.concat(frames))
    names = list(classes or ("negative", "positive"))
    for (cohort, method), rows in scores.items():
        entry = metrics["methods"][method][cohort]
        shown = f"{method_title(method)}, {titles[cohort].lower()} cohort"
        yield from _called(f"{method}_{cohort}", shown, entry, names)
        yield _boxes(f"scores_{method}_{cohort}", shown, rows, entry, names)


def pooled_scores(predictions: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Label and score of each patient by cohort and method; of several folds the mean score."""
    return {
        (str(cohort), str(method)): rows.groupby("patient_id", sort=False)[
            ["label", "score"]
        ].mean()
        for (cohort, method), rows in predictions.groupby(["cohort", "method"], sort=False)
    }


def pooled_class_scores(
    rows: pd.DataFrame, classes: Sequence[str]
) -> tuple[pd.Series[int], pd.DataFrame]:
    """Label and, a column a class, the probabilities of each patient; of several folds the mean."""
    columns = {f"score_{name}": name for name in classes}
    each = rows.groupby("patient_id", sort=False)
    # Anybody's predictions may write the class's name in place of its number.
    numbers = {name: index for index, name in enumerate(classes)}
    labels = each["label"].first().map(lambda cell: numbers.get(cell, cell)).astype(int)
    return labels, each[list(columns)].mean().rename(columns=columns)


def _of_more_classes(
    predictions: pd.DataFrame, metrics: Mapping[str, Any], titles: Mapping[str, str]
) -> Iterator[Drawn]:
    for method, cohorts in metrics["methods"].items():
        rows = predictions[predictions["method"] == method]
        for cohort, entry in cohorts.items():
            shown = f"{method_title(method)}, {titles[cohort].lower()} cohort"
            one = _class_curves(rows[rows["cohort"] == cohort], entry)
            if one.curves:
                title = f"{shown}, each class against the others"
                figure = _roc_figure(one, title)
                yield Drawn(f"roc_{method}_{cohort}", figure, _numbers(one, "class"))
            yield from _called(f"{method}_{cohort}", shown, entry, entry["classes"])


def _method_curves(
    scores: Mapping[tuple[str, str], pd.DataFrame], metrics: Mapping[str, Any], cohort: str
) -> _Curves:
    found = _Curves({}, {})
    for method in (method for where, method in scores if where == cohort):
        area = metrics["methods"][method][cohort]["auc"]
        if area["value"] is not None:
            rows, shown = scores[cohort, method], method_title(method)
            found.curves[shown] = roc_curve(rows["label"], rows["score"])
            found.areas[shown] = _estimate(area)
    return found


def _class_curves(rows: pd.DataFrame, entry: Mapping[str, Any]) -> _Curves:
    """The curve of each class against the others."""
    labels, pooled = pooled_class_scores(rows, entry["classes"])
    found = _Curves({}, {})
    for index, name in enumerate(entry["classes"]):
        area = entry["auc_by_class"][name]
        if area["value"] is not None:
            found.curves[name] = roc_curve(labels == index, pooled[name])
            found.areas[name] = _estimate(area)
    return found


def _estimate(area: Mapping[str, Any]) -> Estimate:
    low, high = (np.nan if area[bound] is None else area[bound] for bound in ("low", "high"))
    return Estimate(area["value"], low, high)


def _roc_figure(one: _Curves, title: str) -> Figure:
    outside = 1 + _lines(one) if len(one.curves) > MOST_INSIDE else 0
    height = COLUMN_IN + outside * _LINE_IN
    figure = Figure(figsize=(COLUMN_IN, height), layout="constrained")
    axes = figure.subplots()
    draw_roc(axes, one.curves, areas=one.areas)
    axes.set_title(_title(title))
    return figure


def _panels(cohorts: Mapping[str, _Curves]) -> Figure:
    """A panel a cohort, side by side; a third of a page leaves no room for a legend inside."""
    lines = 1 + max(map(_lines, cohorts.values()))
    height = PAGE_IN / len(cohorts) + 0.3 + lines * _LINE_IN
    figure = Figure(figsize=(PAGE_IN, height), layout="constrained")
    for axes, (title, one) in zip(figure.subplots(1, len(cohorts)), cohorts.items(), strict=True):
        draw_roc(axes, one.curves, areas=one.areas, below=True)
        axes.set_title(_title(f"{title} cohort", _PANEL_CHARACTERS))
    return figure


def _lines(one: _Curves) -> int:
    """Lines of a legend."""
    return sum(1 + legend_text(name, one.areas[name]).count("\n") for name in one.curves)


def _called(
    name: str, title: str, entry: Mapping[str, Any], classes: Sequence[str]
) -> Iterator[Drawn]:
    """The confusion matrix, where there is one."""
    matrix = confusion_counts(entry)
    if matrix is None:
        return
    figure = Figure(figsize=(COLUMN_IN, COLUMN_IN), layout="constrained")
    axes = figure.subplots()
    draw_confusion(axes, matrix, classes=classes)
    axes.set_title(_title(title))
    yield Drawn(f"confusion_{name}", figure, confusion_numbers(matrix, classes))


def _boxes(
    name: str, title: str, rows: pd.DataFrame, entry: Mapping[str, Any], classes: Sequence[str]
) -> Drawn:
    groups = {
        one: rows.loc[rows["label"] == index, "score"].to_numpy(dtype=np.float64)
        for index, one in enumerate(classes)
    }
    p, _ = rank_test(list(groups.values()))
    figure = Figure(figsize=(COLUMN_IN, 0.9 * COLUMN_IN), layout="constrained")
    draw_score_boxes(figure.subplots(), groups, threshold=entry["threshold"], p=p)
    figure.suptitle(_title(title))
    numbers = box_numbers(classes, rows, threshold=entry["threshold"])
    return Drawn(name, figure, numbers)


def _title(text: str, characters: int = _COLUMN_CHARACTERS) -> str:
    return fill(text, characters)


def _numbers(one: _Curves, of: str) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                of: name,
                "false_positive_rate": np.asarray(curve.fpr),
                "true_positive_rate": np.asarray(curve.tpr),
            }
        )
        for name, curve in one.curves.items()
    ]
    return pd.concat(frames, ignore_index=True)
