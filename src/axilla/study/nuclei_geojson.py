"""Nuclei with what was measured of them, as QuPath opens them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from axilla.core.qupath import detection

KIND = "Nucleus"
_NAMES = {
    "area": "Area", "major_axis": "Major axis", "minor_axis": "Minor axis",
    "circumference": "Circumference", "circularity": "Circularity",
    "rectangularity": "Rectangularity", "orientation": "Orientation",
    "polarity": "Common orientation",
}  # fmt: skip
_POWERS = {"area": "²", "major_axis": "", "minor_axis": "", "circumference": ""}
"""Of the unit of length."""


def add_nuclei(
    add: Callable[[str], None],
    outlines: Mapping[int, NDArray[np.float64]],
    measured: Mapping[str, ArrayLike] | pd.DataFrame,
    *,
    in_um: bool,
    origin: tuple[int, int] = (0, 0),
) -> None:
    """Give a file the nuclei that were measured, each with its measurements.

    Parameters
    ----------
    add
        As of `store.writing_features`.
    outlines
        [k, 2] by number, x and y in level-0 pixels.
    measured
        Columns [n] as of `measure_nuclei`; those that are not there are not told.
    in_um
        Whether lengths are µm; else pixels.
    origin
        Level-0 pixel that QuPath counts from: of some slides it shows the scanned part only.
    """
    names = {column: _name(column, in_um=in_um) for column in _NAMES if column in measured}
    columns = np.column_stack([measured[column] for column in ("nucleus", *names)])
    for number, *values in columns.tolist():
        told = dict(zip(names.values(), values, strict=True))
        add(detection(outlines[int(number)] - np.asarray(origin), kind=KIND, measurements=told))


def _name(column: str, *, in_um: bool) -> str:
    title = _NAMES[column]
    if column == "orientation":
        return f"{title} °"
    if column not in _POWERS:
        return title
    return f"{title} {'µm' if in_um else 'px'}{_POWERS[column]}"
