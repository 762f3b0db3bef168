"""Learning curves as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from axilla.analysis.tables.printed import PrintedTable
from axilla.core.methods import method_title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from axilla.analysis.learning_curve import LearningCurve


_COLUMNS = ["Method", "Training patients", "Trainings", "Validation AUC"]
_SPREAD = (
    "AUC: mean ± standard deviation over the trainings, each on other patients of the training "
    "cohort (of all of them with another seed; a method that draws nothing is trained once)."
)


def learning_table(curves: Mapping[str, LearningCurve]) -> PrintedTable:
    """Format a row a method and size; the notes say what more patients would bring, if known.

    Parameters
    ----------
    curves
        By method.
    """
    rows, notes = [], []
    for method, curve in curves.items():
        title = method_title(method)
        for point in curve.points:
            spread = "" if math.isnan(point.sd) else f" ± {point.sd:.3f}"
            rows.append(
                {
                    "Method": title,
                    "Training patients": f"{point.n:,}",
                    "Trainings": str(len(point.values)),
                    "Validation AUC": f"{point.mean:.3f}{spread}",
                }
            )
        notes.append(f"{title}: {_outlook(curve)}.")
        notes.extend(f"{title}: {note}." for note in curve.notes)
    if any(not math.isnan(point.sd) for curve in curves.values() for point in curve.points):
        notes.insert(0, _SPREAD)
    return PrintedTable(pd.DataFrame(rows, columns=_COLUMNS), tuple(notes))


def _outlook(curve: LearningCurve) -> str:
    if curve.law is None:
        return f"nothing is said of more patients: {curve.reason}"
    told = curve.law.extrapolated
    last = curve.points[-1]
    below = (
        f"; it lies under the mean of {last.mean:.3f} with {last.n:,}, which the curve does not "
        "fit: little is to be made of it"
    )
    return (
        f"an AUC of {told.value:.3f} [{told.low:.3f}, {told.high:.3f}] is expected with "
        f"{curve.law.n:,} training patients, an extrapolation; its interval holds the chance of "
        "which patients train, not of who validates"
    ) + (below if told.value < last.mean else "")
