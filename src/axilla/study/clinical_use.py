"""Tables and figures beyond the paper's: calibration, decisions, predictive values, subgroups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from axilla.analysis.decision import decision_curve
from axilla.analysis.plots.calibration import draw_calibration
from axilla.analysis.plots.decision import draw_avoided_against_missed, draw_net_benefit
from axilla.analysis.plots.forest import draw_forest, forest_size
from axilla.analysis.plots.look import PAGE_IN
from axilla.analysis.plots.precision_recall import draw_precision_recall
from axilla.analysis.precision_recall import precision_recall
from axilla.analysis.reliability import reliability_curve
from axilla.analysis.tables.calibration_table import calibration_table
from axilla.analysis.tables.cross_table import cross_table
from axilla.analysis.tables.decision_table import decision_table
from axilla.analysis.tables.operating_table import operating_table
from axilla.analysis.tables.prevalence_table import prevalence_table
from axilla.analysis.tables.printed import PrintedTable
from axilla.analysis.tables.subgroup_table import subgroup_table
from axilla.core.methods import method_title
from axilla.study.class_figures import class_reliability_drawn, decided_scores
from axilla.study.evaluation_figures import Drawn, pooled_class_scores, pooled_scores
from axilla.study.figure_numbers import reliability_numbers
from axilla.study.wording import Wording

COHORT = "test"
"""What is told of the others stands in `metrics.json`; calibration has a table of all."""


@dataclass(frozen=True, slots=True)
class Named:
    """A table with its file's name and its caption."""

    stem: str
    caption: str
    table: PrintedTable


def clinical_use_tables(
    metrics: Mapping[str, Any],
    *,
    classes: Sequence[str] | None,
    wording: Wording,
) -> Iterator[Named]:
    """Yield the tables of what `evaluate` measured beyond the paper; those that there is data for.

    Parameters
    ----------
    metrics
        What `evaluate` returned.
    classes
        Names of the classes, negative first; None calls two of them negative and positive.
    wording
        What the cohorts are called.
    """
    cohort_titles = wording.titles
    for method, by_cohort in metrics["methods"].items():
        if COHORT not in by_cohort:
            continue
        entry = by_cohort[COHORT]
        names = list(classes or entry.get("classes", ("negative", "positive")))
        crossed = cross_table(entry, classes=names)
        where = f"{method_title(method)}, {_title(cohort_titles)} cohort"
        if crossed is not None:
            yield Named(f"cross_{method}", f"Call by truth: {where}", crossed)
    yield Named(
        "calibration", "Calibration", calibration_table(metrics, cohort_titles=cohort_titles)
    )
    for stem, caption, found in (
        (
            "operating_points", wording.points_caption,
            operating_table(
                metrics, cohorts=(COHORT,), cohort_titles=cohort_titles,
                chosen=wording.points_note,
            ),
        ),
        (
            "decision", "Net benefit, biopsies avoided and positives missed",
            decision_table(metrics, cohorts=(COHORT,), cohort_titles=cohort_titles),
        ),
        (
            "predictive_values", "Predictive values at other prevalences",
            prevalence_table(metrics, cohorts=(COHORT,), cohort_titles=cohort_titles),
        ),
    ):  # fmt: skip
        if found is not None:
            yield Named(stem, caption, found)
    for entry in metrics.get("subgroups", ()):
        where = f"{method_title(entry['method'])}, {_title(cohort_titles)} cohort"
        yield Named(f"subgroups_{entry['method']}", f"Subgroups: {where}", subgroup_table(entry))


def draw_clinical_use(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    *,
    classes: Sequence[str] | None,
    cohort_titles: Mapping[str, str],
) -> Iterator[Drawn]:
    """Yield the figures of the test cohort: of two classes, where both are there, or of more.

    Yields
    ------
    Drawn
        `calibration_<method>`, `decision_curve`, `precision_recall` and `subgroups_<method>`; of
        more classes `calibration_<method>` with a panel a class, and `decision_curve` where there
        is one.
    """
    if "score" not in predictions.columns:
        yield from _of_more_classes(predictions, metrics, cohort_titles)
        return
    scores = {
        method: rows
        for (cohort, method), rows in pooled_scores(predictions).items()
        if cohort == COHORT and rows["label"].nunique() == 2
    }
    where = f"{_title(cohort_titles)} cohort"
    title = where[:1].upper() + where[1:]
    names = list(classes or ("negative", "positive"))
    for method, rows in scores.items():
        yield reliability_drawn(method, rows, names, title=f"{method_title(method)}, {where}")
    if scores:
        yield decision_drawn(scores, title=title)
        yield _ranking(scores, title=title)
    for entry in metrics.get("subgroups", ()):
        if not any(part["levels"] for part in entry["characteristics"]):
            continue
        figure = Figure(figsize=forest_size(entry), layout="constrained")
        axes = figure.subplots()
        draw_forest(axes, entry)
        figure.suptitle(f"AUC by subgroup: {method_title(entry['method'])}, {where}")
        yield Drawn(f"subgroups_{entry['method']}", figure, subgroup_table(entry).frame)


def _of_more_classes(
    predictions: pd.DataFrame, metrics: Mapping[str, Any], cohort_titles: Mapping[str, str]
) -> Iterator[Drawn]:
    where = f"{_title(cohort_titles)} cohort"
    tested = predictions[predictions["cohort"] == COHORT]
    pooled = {
        method: pooled_class_scores(tested[tested["method"] == method], by[COHORT]["classes"])
        for method, by in metrics["methods"].items()
        if COHORT in by
    }
    for method, (labels, scores) in pooled.items():
        title = f"{method_title(method)}, {where}, each class against the others"
        drawn = class_reliability_drawn(method, labels, scores, title=title)
        if drawn is not None:
            yield drawn
    decided = decided_scores(pooled, metrics, cohort=COHORT)
    if decided:
        title = f"{where[:1].upper()}{where[1:]}, N0 against positive nodes"
        yield decision_drawn(decided, title=title)


def reliability_drawn(
    method: str, rows: pd.DataFrame, names: Sequence[str], *, title: str
) -> Drawn:
    """Observed against predicted shares of one method: `label` and `score` of each patient."""
    curve = reliability_curve(rows["label"].to_numpy(), rows["score"].to_numpy())
    figure = Figure(figsize=(0.55 * PAGE_IN, 0.66 * PAGE_IN), layout="constrained")
    axes = figure.subplots()
    by_class = {
        name: rows.loc[rows["label"] == index, "score"].to_numpy()
        for index, name in enumerate(names)
    }
    draw_calibration(axes, curve, predictions=by_class)
    figure.suptitle(title)
    return Drawn(f"calibration_{method}", figure, reliability_numbers(curve))


def decision_drawn(scores: Mapping[str, pd.DataFrame], *, title: str) -> Drawn:
    """Net benefit, and biopsies avoided against positives missed, of methods on one cohort."""
    curves = {
        method_title(method): decision_curve(rows["label"].to_numpy(), rows["score"].to_numpy())
        for method, rows in scores.items()
    }
    figure = Figure(figsize=(PAGE_IN, 0.48 * PAGE_IN), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_net_benefit(left, curves)
    draw_avoided_against_missed(right, curves)
    figure.suptitle(title)
    numbers = [
        {
            "method": name,
            "threshold": point.threshold,
            "net_benefit": point.net_benefit.value,
            "biopsy_for_all": point.treat_all.value,
            "avoided_per_100": point.spared.avoided_per_100.value,
            "missed_per_100": point.spared.missed_per_100.value,
        }
        for name, curve in curves.items()
        for point in curve.points
    ]
    return Drawn("decision_curve", figure, pd.DataFrame(numbers))


def _ranking(scores: Mapping[str, pd.DataFrame], *, title: str) -> Drawn:
    curves = {
        method_title(method): precision_recall(rows["label"].to_numpy(), rows["score"].to_numpy())
        for method, rows in scores.items()
    }
    figure = Figure(figsize=(0.55 * PAGE_IN, 0.55 * PAGE_IN), layout="constrained")
    axes = figure.subplots()
    draw_precision_recall(axes, curves)
    axes.set_title(title)
    frames = [
        pd.DataFrame({"method": name, "recall": curve.recall, "precision": curve.precision})
        for name, curve in curves.items()
    ]
    return Drawn("precision_recall", figure, pd.concat(frames, ignore_index=True))


def _title(cohort_titles: Mapping[str, str]) -> str:
    return cohort_titles.get(COHORT, COHORT).lower()
