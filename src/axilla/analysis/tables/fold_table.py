"""The figures of each fold, and their spread: a table beside the pooled ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import DASH, PrintedTable, format_number
from axilla.core.methods import method_title

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = "all folds"
"""Begins the first cell of a row of means."""


def fold_table(
    metrics: Mapping[str, Any], *, held_out: str = "Fold", positive: str = "Positive"
) -> PrintedTable:
    """Format `folds` of the metrics: a row a fold, then mean and standard deviation of a method.

    Parameters
    ----------
    metrics
        What `evaluate` returned, of cross-validated predictions.
    held_out
        Heads the column of the folds' names: the column whose groups are left out.
    positive
        Heads the column of how many test patients are of the positive class, of two classes.
    """
    rows: list[dict[str, str]] = []
    notes: list[str] = []
    for method, figures in metrics["folds"].items():
        shown = method_title(method)
        for entry in figures["by_fold"]:
            name = _name(entry)
            rows.append(
                {"Method": shown, held_out: name, "n": str(entry["n"])}
                | _mix(entry, positive)
                | {
                    "AUC": _figure(entry["auc"], 1, 3),
                    "ACC (%)": _figure(entry["accuracy"], 100, 2),
                }
            )
            notes += [
                f"{shown}, {name}, {'AUC' if figure == 'auc' else 'ACC (%)'}: {reason}."
                for figure, reason in entry.get("reasons", {}).items()
            ]
        empty = dict.fromkeys(("n", *(_mix(figures["by_fold"][0], positive))), "")
        rows.append(
            {"Method": shown, held_out: f"{ALL}, mean ± SD", **empty}
            | {
                "AUC": _spread(figures["auc"], 1, 3),
                "ACC (%)": _spread(figures["accuracy"], 100, 2),
            }
        )
    return PrintedTable(pd.DataFrame(rows), tuple(dict.fromkeys(notes)))


def _name(entry: Mapping[str, Any]) -> str:
    """The group that is left out, else the fold's number; files count from 0, people from 1."""
    if "held_out" in entry:
        return str(entry["held_out"])
    return f"repeat {entry['repeat'] + 1}, fold {entry['fold'] + 1}"


def _mix(entry: Mapping[str, Any], positive: str) -> dict[str, str]:
    if "counts" in entry:
        return {name: str(count) for name, count in entry["counts"].items()}
    return {positive: str(entry["positives"])}


def _figure(value: float | None, scale: int, decimals: int) -> str:
    return DASH if value is None else format_number(scale * value, decimals)


def _spread(figure: Mapping[str, Any], scale: int, decimals: int) -> str:
    mean = _figure(figure["mean"], scale, decimals)
    return mean if figure["sd"] is None else f"{mean} ± {_figure(figure['sd'], scale, decimals)}"
