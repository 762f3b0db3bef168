"""The sample of a site's own patients that a recalibration is fitted on; never measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from axilla.analysis.recalibration import METHODS, RecalibrationMethod
from axilla.core.config import RandomSplit, StudyConfig
from axilla.core.errors import ConfigError
from axilla.core.split import partitions_of
from axilla.core.table import parse_number, require_columns
from axilla.core.types import Cohort

SHOWN_VALUES = 10
"""Most values of a column that a sentence lists."""


@dataclass(frozen=True, slots=True)
class ColumnSample:
    """Everybody with this value in this column of the table."""

    column: str
    value: str

    def __str__(self) -> str:
        return f"those whose `{self.column}` is {self.value}"


@dataclass(frozen=True, slots=True)
class ShareSample:
    """A share of the patients, drawn with a seed and stratified as a study's split is."""

    share: float
    seed: int

    def __str__(self) -> str:
        return f"{self.share:.0%} of the patients, drawn by seed {self.seed} within each class"


@dataclass(frozen=True, slots=True)
class Recalibrate:
    """A recalibration that is asked for: how, and on whom."""

    method: RecalibrationMethod
    sample: ColumnSample | ShareSample


def parse_recalibrate(
    method: str | None, *, on: str | None, share: float | None, seed: int
) -> Recalibrate | None:
    """What the command line asks for; None where it asks for no recalibration.

    Parameters
    ----------
    method
        intercept, platt or isotonic.
    on
        COLUMN=VALUE: who is the sample.
    share
        Of the patients, in place of `on`.
    seed
        Of the draw of the share.

    Raises
    ------
    ConfigError
        The parts do not go together, or one of them is none.
    """
    if method is None and on is None and share is None:
        return None
    known = next((name for name in METHODS if name == method), None)
    if known is None:
        raise ConfigError(
            "a sample is named, but not how to recalibrate on it."
            if method is None
            else f"there is no recalibration by {method}.",
            f"Add --recalibrate with one of {', '.join(METHODS)}.",
        )
    if (on is None) == (share is None):
        raise ConfigError(
            "it is not said on whom to recalibrate."
            if on is None
            else "two samples to recalibrate on are named.",
            "Give one of --recalibrate-on COLUMN=VALUE and --recalibrate-share 0.2: these patients "
            "are then not measured.",
        )
    if on is not None:
        column, equals, value = on.partition("=")
        if not equals or not column.strip() or not value.strip():
            raise ConfigError(
                f"--recalibrate-on {on} names no patients.", "Write it as COLUMN=VALUE."
            )
        return Recalibrate(known, ColumnSample("_".join(column.lower().split()), value.strip()))
    if share is None or not 0 < share < 1:
        raise ConfigError(
            f"--recalibrate-share {share} leaves nobody on one side.", "Give a share such as 0.2."
        )
    return Recalibrate(known, ShareSample(share, seed))


def choose_sample(
    cohort: Cohort, asked: ColumnSample | ShareSample, *, config: StudyConfig
) -> frozenset[str]:
    """Ids of the patients of the sample; somebody is left who is not in it.

    A share is the test cohort of the random split with that seed: stratified, and unchanged for
    all others where a patient is added.

    Raises
    ------
    AxillaError
        There is no such column, nobody has the value, or nobody is left.
    """
    if isinstance(asked, ShareSample):
        split = RandomSplit(seed=asked.seed, test=asked.share, validation=0.0)
        drawn = partitions_of(cohort, config=config.model_copy(update={"split": split}))
        found = frozenset(drawn[0].members("test"))
    else:
        found = _having(cohort, asked, config=config)
    everybody = {patient.patient_id for patient in cohort.patients}
    if not found or found == everybody:
        who = "nobody" if not found else "everybody"
        raise ConfigError(
            f"the sample to recalibrate on, {asked}, is {who}"
            + ("." if not found else ": no patient is left to be measured."),
            "Name another sample.",
            file=config.cohort,
        )
    return found


def _having(cohort: Cohort, asked: ColumnSample, *, config: StudyConfig) -> frozenset[str]:
    require_columns(cohort.frame, [asked.column], file=config.cohort, key="--recalibrate-on")
    here = [patient.patient_id for patient in cohort.patients]
    cells = dict(zip(here, cohort.frame[asked.column].reindex(here), strict=True))
    found = frozenset(p for p, cell in cells.items() if _is(cell, asked.value))
    if not found:
        values = sorted({str(cell) for cell in cells.values() if not pd.isna(cell)})
        more = " and others" if len(values) > SHOWN_VALUES else ""
        raise ConfigError(
            f"--recalibrate-on: no patient has {asked.value!r} in `{asked.column}`.",
            f"It holds {', '.join(values[:SHOWN_VALUES]) or 'nothing'}{more}.",
            file=config.cohort,
        )
    return found


def _is(cell: Any, value: str) -> bool:
    """Whether a cell is the value: in any case, and 1 is 1.0."""
    if pd.isna(cell):
        return False
    text = str(cell).strip()
    number = parse_number(value)
    return text.casefold() == value.casefold() or (
        number is not None and parse_number(text) == number
    )
