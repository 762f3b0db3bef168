"""Evaluate: predictions into metrics.json, the paper's tables, and figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from axilla.analysis.metrics import evaluate
from axilla.analysis.operating_points import LockedRule
from axilla.analysis.plots.look import in_print
from axilla.analysis.tables.comparison_table import comparison_table
from axilla.analysis.tables.confusion_table import confusion_table
from axilla.analysis.tables.fold_table import fold_table
from axilla.analysis.tables.markup import to_csv, to_html, to_latex
from axilla.analysis.tables.performance_table import multiclass_table, performance_table
from axilla.core import store
from axilla.core.config import Threshold
from axilla.study.clinical_use import clinical_use_tables, draw_clinical_use
from axilla.study.evaluation_figures import Drawn, draw_evaluation
from axilla.study.layout import Layout
from axilla.study.wording import FOLDS, STUDY, Wording

MEASURING = 4
"""Counts up whenever the same predictions come to give other figures, tables or pictures."""


def evaluate_predictions(
    predictions: pd.DataFrame,
    *,
    endpoint: str,
    classes: Sequence[str] | None,
    rule: Threshold,
    thresholds: Mapping[str, float | str],
    out: Path,
    fold_names: Mapping[int, str] | None = None,
    held_out: str = "Fold",
    prevalences: Sequence[float] = (),
    groups: Mapping[str, pd.Series[Any]] | None = None,
    points: Mapping[str, Sequence[LockedRule]] | None = None,
    wording: Wording | None = None,
) -> tuple[dict[str, Any], list[Path]]:
    """Write metrics.json, Table 2, the folds' table and the figures of anybody's predictions.

    `fold_names` are the groups that the folds leave out, `held_out` the column of the groups;
    `prevalences`, `groups` and `points` are as `evaluate` takes them; `wording` says what the
    cohorts are called, None as a study calls its own.

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
        fold_names=fold_names, prevalences=prevalences, groups=groups,
        points=points,
    )  # fmt: skip
    layout = Layout(out)
    store.write_json(layout.metrics, metrics)
    binary = "score" in predictions.columns
    told = wording or (FOLDS if "fold" in predictions.columns else STUDY)
    titles = told.titles
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
    counted = confusion_table(metrics, classes=classes, cohort_titles=titles)
    files += write_table(
        layout.tables / "confusion", counted.frame, notes=counted.notes,
        caption=f"Confusion matrices ({endpoint})",
    )  # fmt: skip
    for named in clinical_use_tables(metrics, classes=classes, wording=told):
        files += write_table(
            layout.tables / named.stem, named.table.frame, notes=named.table.notes,
            caption=f"{named.caption} ({endpoint})",
        )  # fmt: skip
    with in_print():
        for drawn in chain(
            draw_evaluation(predictions, metrics, classes=classes, cohort_titles=titles),
            draw_clinical_use(predictions, metrics, classes=classes, cohort_titles=titles),
        ):
            files += write_drawn(layout.figures, drawn)
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
        store.write_text(beside(stem, suffix), text)
    return [beside(stem, suffix) for suffix in texts]


def beside(stem: Path, suffix: str) -> Path:
    """The file of this ending; a dot in the name, as a patient's may have, belongs to the name."""
    return stem.with_name(stem.name + suffix)


def write_drawn(folder: Path, drawn: Drawn) -> list[Path]:
    """Write a figure, and its numbers beside it."""
    files = write_figure(folder / drawn.name, drawn.figure)
    if drawn.numbers is not None:
        path = folder / f"{drawn.name}.csv"
        store.write_text(path, to_csv(drawn.numbers))
        files.append(path)
    return files


def write_figure(stem: Path, figure: Figure, *, png: bool = True) -> list[Path]:
    """Write a figure as SVG and as PNG of 300 dpi, the same bytes for the same figure."""
    paths = []
    for suffix in (".svg", ".png") if png else (".svg",):
        path = beside(stem, suffix)
        store.write_bytes(path, rendered(figure, suffix))
        paths.append(path)
        # Everything stands where it should: to lay it out again would take as long.
        figure.set_layout_engine("none")
    return paths


def rendered(figure: Figure, suffix: str) -> bytes:
    """The bytes of an `.svg`, or of a `.png` of 300 dpi."""
    own: dict[str, Any] = {"dpi": 300} if suffix == ".png" else {"metadata": {"Date": None}}
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "axilla", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=suffix[1:], bbox_inches="tight", pad_inches=0.01, **own)
    return buffer.getvalue()
