"""The stage that a tumour's size gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from axilla.core.errors import StatisticsError

SIZES = {"tumor_size_cm": 1.0, "tumor_size_mm": 0.1}
"""Columns with the tumour's size, and their unit in cm."""
T_GROUPS = ("T1", "T2 or above")


def t_groups(frame: pd.DataFrame) -> pd.Series[Any] | None:
    """The paper's two groups by size; its one tumour over 5 cm is counted with T2.

    Parameters
    ----------
    frame
        One row a patient, with one of the columns `SIZES`.

    Returns
    -------
    Series or None
        One of `T_GROUPS`, None where the size is unknown; None where no such column has numbers.
    """
    for column, cm in SIZES.items():
        if column in frame.columns and pd.api.types.is_numeric_dtype(frame[column]):
            groups = dict(zip(("T1", "T2", "T3"), (*T_GROUPS, T_GROUPS[1]), strict=True))
            return t_stage(frame[column] * cm).map(groups)
    return None


def t_stage(size_cm: pd.Series[Any]) -> pd.Series[Any]:
    """T stage by the tumour's size alone (AJCC Cancer Staging Manual, 8th edition, breast).

    Parameters
    ----------
    size_cm
        Greatest dimension in cm; NaN where unknown.

    Returns
    -------
    Series
        T1 (up to 2 cm), T2 (more than 2, up to 5) or T3 (more than 5); None where unknown. T4
        depends on chest wall and skin, not on size.

    Raises
    ------
    StatisticsError
        A size is not positive.
    """
    if (size_cm <= 0).any():
        row = size_cm.index[size_cm <= 0][0]
        raise StatisticsError(
            f"a tumour size of {size_cm[row]} cm has no T stage.",
            "Sizes are in cm and above 0; leave an unknown one empty.",
            patient=str(row),
        )
    stages = np.select([size_cm <= 2, size_cm <= 5, size_cm > 5], ["T1", "T2", "T3"], default="")
    return pd.Series(stages, index=size_cm.index, name="t_stage", dtype=object).replace("", None)
