"""What tables, figures and sentences call the patients who were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from axilla.analysis.tables.operating_table import CHOSEN_ON_VALIDATION
from axilla.core.types import COHORT_TITLES, FOLD_TITLES


@dataclass(frozen=True, slots=True)
class Wording:
    """Names of the cohorts, and where thresholds come from.

    The defaults are those of a study that trained a model; whoever measures a model on patients of
    another place calls these otherwise.
    """

    titles: Mapping[str, str]
    """Printed names of the cohorts by their short names."""
    tested: str = "the test cohort"
    """The patients who are measured, within a sentence."""
    threshold: str | None = None
    """How the threshold was chosen, in as many words as a bracket bears; None tells the study's
    rule."""
    groups_counted: str = "; Table 1 counts all"
    """Where small groups are told after all, after 'are not told'."""
    points_caption: str = "Operating points, chosen on the validation cohort"
    points_note: str = CHOSEN_ON_VALIDATION
    """The first note under their table."""
    points_told: str = (
        "The operating points were chosen on the validation cohort and are applied "
        "unchanged. What a rule asks, such as an NPV of 95%, was met there; in the test "
        "cohort, which is shown, it need not be."
    )
    """A paragraph before their table."""


STUDY = Wording(COHORT_TITLES)
FOLDS = replace(STUDY, titles=FOLD_TITLES)


def wording_of(metrics: Mapping[str, Any]) -> Wording:
    """Of a study's own figures: with one test cohort, or out of fold."""
    return FOLDS if "folds" in metrics else STUDY
