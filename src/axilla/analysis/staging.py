"""The stage that a tumour's size gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from axilla.core.errors import StatisticsError


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
