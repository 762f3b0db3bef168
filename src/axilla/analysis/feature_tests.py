"""Which features of the slides differ between two classes, patient by patient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from axilla.analysis.group_tests import rank_test
from axilla.analysis.multiplicity import benjamini_hochberg
from axilla.analysis.roc import delong_interval
from axilla.core.types import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def compare_features(
    values: pd.DataFrame, labels: NDArray[np.integer], *, classes: Sequence[str]
) -> pd.DataFrame:
    """Compare each feature between two classes by Mann-Whitney U.

    Parameters
    ----------
    values
        [patients, features]: one number a patient, since a patient's patches are not independent.
        Missing ones are left out.
    labels
        [patients], 0 or 1.
    classes
        Names of both.

    Returns
    -------
    DataFrame
        A row a feature: `feature`, patients and median of either class (`n_<class>`,
        `median_<class>`), `u` (of the second class), `effect` (probability that a patient of the
        second class has more than one of the first, ties half: U over the pairs) with its DeLong
        interval `effect_low` and `effect_high`, `p`, and `p_adjusted` by Benjamini and Hochberg
        over the features that could be tested. Figures that are not defined are NaN.

    Notes
    -----
    The effect is the area under the ROC curve (Hanley and McNeil 1982,
    doi:10.1148/radiology.143.1.7063747); 0.5 is no difference.
    """
    rows = []
    for name in values:
        numbers = values[name].to_numpy(np.float64)
        known = np.isfinite(numbers)
        parts = [numbers[known & (labels == index)] for index in (0, 1)]
        p, _ = rank_test(parts)
        row: dict[str, object] = {"feature": name}
        for title, part in zip(classes, parts, strict=True):
            row[f"n_{title}"] = len(part)
            row[f"median_{title}"] = float(np.median(part)) if len(part) else math.nan
        pairs = len(parts[0]) * len(parts[1])
        nothing = Estimate(math.nan, math.nan, math.nan)
        area = delong_interval(labels[known], numbers[known]) if pairs else nothing
        row |= {"u": area.value * pairs, "effect": area.value}
        row |= {"effect_low": area.low, "effect_high": area.high, "p": p}
        rows.append(row)
    frame = pd.DataFrame(rows)
    tested = frame["p"].notna()
    frame["p_adjusted"] = math.nan
    frame.loc[tested, "p_adjusted"] = benjamini_hochberg(frame.loc[tested, "p"].tolist())
    return frame
