"""How many patients a validation needs, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from axilla.analysis.tables.printed import PrintedTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from axilla.analysis.sample_size import Planned

TITLES = {
    "auc": "AUC (DeLong)",
    "auc_exact": "AUC (binomial)",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "npv": "NPV at this prevalence",
    "oe": "Observed / expected",
    "calibration_slope": "Calibration slope",
}
_MODEL = (
    "Widths of 95% intervals, expected where the model performs as assumed, is well calibrated, "
    "and its log odds are normal within each class (Riley 2021)."
)
_BINOMIAL = (
    "The binomial interval of the AUC does not know the prevalence and can cover much less than "
    "95%: plan with DeLong's."
)


def planning_table(planned: Sequence[Planned]) -> PrintedTable:
    """Format a row a figure: as assumed, width of its interval, patients, positives of them."""
    rows = [
        {
            "Figure": TITLES[one.figure],
            "Assumed": f"{one.value:.3f}",
            "Width": f"{one.width:.3f}",
            "Patients": f"{one.n:,}",
            "Positive": f"{one.positives:,}",
        }
        for one in planned
    ]
    return PrintedTable(pd.DataFrame(rows), (_MODEL, _BINOMIAL))
