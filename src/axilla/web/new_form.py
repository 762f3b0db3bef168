"""The clinical form of a model, made from the model's own columns; nothing is filled in for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from axilla.core.config_clinical import NumericColumn
from axilla.core.errors import CohortError
from axilla.core.types import Patient
from axilla.deploy.case_inputs import read_clinical
from axilla.mil.clinical import Preprocessor
from axilla.study.case_asking_live import FormColumn, Value
from axilla.study.describing import TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from axilla.core.config import StudyConfig
    from axilla.deploy.loading import LoadedModel


def case_config(model: LoadedModel) -> StudyConfig:
    """The settings that a case's clinical values are read with."""
    return model.config(Path(model.folder))


def needs_all(model: LoadedModel) -> bool:
    """Whether the model refuses a case of whom a value is missing."""
    return case_config(model).clinical.missing == "refuse"


def form_of(
    model: LoadedModel, values: Mapping[str, Value] | None = None
) -> tuple[FormColumn, ...]:
    """The model's clinical columns, in its order, perhaps with a case's values."""
    config, reads = case_config(model), model.bundle.preprocessor
    seen = {}
    if isinstance(reads, Preprocessor):
        seen = dict(zip(reads.categorical, reads.categories, strict=True))
    declared = {column.name: column for column in config.clinical.columns}
    found = []
    for name in model.columns:
        column, title = declared[name], TITLES.get(name, name)
        if isinstance(column, NumericColumn):
            unit = "" if column.shown_unit is None or "," in title else f", {column.shown_unit}"
            made = FormColumn(name, title + unit, None, low=column.low, high=column.high)
        else:
            choices = tuple(dict.fromkeys([*seen.get(name, ()), *column.known_values]))
            made = FormColumn(name, title, None, choices=choices)
        found.append(replace(made, value=(values or {}).get(name)))
    return tuple(found)


def read_typed(model: LoadedModel, typed: Mapping[str, str]) -> dict[str, Value]:
    """Typed texts as `axilla predict-case` reads them.

    Raises
    ------
    CohortError
        A value cannot be taken, is missing where the model needs it, or is of no column.
    """
    strange = sorted(set(typed) - set(model.columns))
    if strange:
        raise CohortError("the form has a value that the model does not read.", "Reload the page.")
    if not model.columns:
        return {}
    values, _, problems = read_clinical(typed, model=model, config=case_config(model))
    if problems:
        raise CohortError(" ".join(one.cause for one in problems), "Correct the form.")
    reads = model.bundle.preprocessor
    if reads is not None:
        # A category that no training patient had is told before anything is computed.
        reads.transform([Patient("the case", label=-1, slides=(), clinical=values)])
    return values
