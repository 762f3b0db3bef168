"""The clinical columns of a study, declared: units, ranges and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from axilla.core.config_base import Strict
from axilla.core.signs import plain_sign

ColumnName = Annotated[str, Field(max_length=200, pattern=r"\S")]


@dataclass(frozen=True, slots=True)
class KnownNumber:
    """What is known of a column by its name."""

    unit: str
    low: float
    high: float
    """Outside of these a value is refused: no patient of a breast biopsy has it."""
    typical: tuple[float, float] | None = None
    """The median of a cohort lies within, or the column is in another unit."""


KNOWN_NUMBERS = {
    "age": KnownNumber("years", 10, 120),
    "tumor_size_cm": KnownNumber("cm", 0.01, 20, typical=(0.4, 8)),
    "tumor_size_mm": KnownNumber("mm", 0.1, 200, typical=(4, 80)),
}
"""Numbers whose unit and range need not be declared."""
KNOWN_CATEGORIES = frozenset({"er", "pr", "her2"})
"""Receptors: few categories, never a measurement."""


class _Column(Strict):
    """A column by its name, or a mapping that says more of it."""

    name: ColumnName
    """As the first row of the table has it, in lower case."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _shortest(self, handler: SerializerFunctionWrapHandler) -> Any:
        """A name alone where nothing else is declared, as the study's file has it."""
        return self.name if self == type(self)(name=self.name) else handler(self)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core_schema))]}


class NumericColumn(_Column):
    """A column of numbers: its name, or {name, unit, min, max}.

    What is not declared is taken from what is known of the name (`KNOWN_NUMBERS`).
    """

    unit: Annotated[str, Field(max_length=40, pattern=r"\S")] | None = None
    """As tables and messages print it; nothing is converted by it."""
    min: float | None = None
    """A smaller number is refused."""
    max: float | None = None
    """A larger number is refused."""

    @model_validator(mode="after")
    def _fits_together(self) -> NumericColumn:
        known = KNOWN_NUMBERS.get(self.name)
        if known is not None and self.unit not in {None, known.unit}:
            raise ValueError(
                f"in {known.unit} by its name; name the column after its unit in the table too, "
                f"or take `unit: {self.unit}` out"
            )
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"of no range: min {self.low:g} is not below max {self.high:g}")
        return self

    @property
    def shown_unit(self) -> str | None:
        """The declared unit, else that of a known name."""
        known = KNOWN_NUMBERS.get(self.name)
        return known.unit if self.unit is None and known is not None else self.unit

    @property
    def low(self) -> float | None:
        """Least number that is accepted."""
        known = KNOWN_NUMBERS.get(self.name)
        return known.low if self.min is None and known is not None else self.min

    @property
    def high(self) -> float | None:
        """Greatest number that is accepted."""
        known = KNOWN_NUMBERS.get(self.name)
        return known.high if self.max is None and known is not None else self.max

    @property
    def typical(self) -> tuple[float, float] | None:
        """Where the median of a cohort lies; not asked of a column whose range is declared."""
        known = KNOWN_NUMBERS.get(self.name)
        declared = self.min is not None or self.max is not None
        return None if known is None or declared else known.typical


class CategoricalColumn(_Column):
    """A column of categories: its name, or {name, values}."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    values: Annotated[tuple[ColumnName, ...], Field(min_length=2)] | None = None
    """The categories there are, in any case; another one is refused. None takes what comes."""

    @model_validator(mode="after")
    def _once_each(self) -> CategoricalColumn:
        twice = [v for v in self.known_values if self.known_values.count(v) > 1]
        if twice:
            raise ValueError(f"of values that name {twice[0]!r} twice")
        return self

    @property
    def known_values(self) -> tuple[str, ...]:
        """The declared values as cells are compared with them: lower case, no blanks around."""
        return tuple(plain_sign(value.strip().lower()) for value in self.values or ())


def _numbers(*names: str) -> tuple[NumericColumn, ...]:
    return tuple(NumericColumn(name=name) for name in names)


def _categories(*names: str) -> tuple[CategoricalColumn, ...]:
    return tuple(CategoricalColumn(name=name) for name in names)


class Clinical(Strict):
    """Columns of the cohort table that the clinical methods use (paper, section 2.2, step 2)."""

    numeric: tuple[NumericColumn, ...] = _numbers("age", "tumor_size_cm")
    categorical: tuple[CategoricalColumn, ...] = _categories("er", "pr", "her2")
    missing: Literal["refuse", "impute"] = "refuse"
    """impute: mean or most frequent category of training, and a flag `<name>_missing`."""
    unseen: Literal["error", "unknown"] = "error"
    """A category no training patient had; unknown: none of the known ones, zeros throughout."""

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the columns of numbers."""
        return tuple(column.name for column in self.numeric)

    @property
    def categorical_names(self) -> tuple[str, ...]:
        """Names of the columns of categories."""
        return tuple(column.name for column in self.categorical)

    @property
    def columns(self) -> tuple[NumericColumn | CategoricalColumn, ...]:
        """All columns, numbers first."""
        return (*self.numeric, *self.categorical)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return (*self.numeric_names, *self.categorical_names)
