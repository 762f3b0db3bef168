"""Keys of a study that take values of several kinds: endpoint, split, threshold, annotations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from axilla.core.config_base import Seed, Strict
from axilla.core.errors import ConfigError

NodeEndpoint = Literal[
    "n0-vs-npos", "n1-2-vs-n3plus", "n0-vs-n1-2-vs-n3plus", "n0-vs-n1-2", "n0-vs-n3plus"
]


class ColumnEndpoint(Strict):
    """Any column with two values as the endpoint."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    column: str
    negative: str
    positive: str


def _endpoint_kind(value: Any) -> str:
    return "column" if isinstance(value, dict | ColumnEndpoint) else "nodes"


Endpoint = Annotated[
    Annotated[NodeEndpoint, Tag("nodes")] | Annotated[ColumnEndpoint, Tag("column")],
    Discriminator(_endpoint_kind),
]


class RandomSplit(Strict):
    """4:1 into training and test, a quarter of training into validation (paper, section 2.2)."""

    seed: Seed = 8888
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.25


class ColumnSplit(Strict):
    """A column of the cohort table with train, val or test."""

    column: str


class FoldSplit(Strict):
    """Repeated, stratified k-fold cross-validation; `group` keeps a site or array in one fold."""

    folds: Annotated[int, Field(ge=2, le=100)]
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    group: str | None = None
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of each fold's training patients that validates; 0 trains to the last epoch."""
    seed: Seed = 8888


def _keys(value: Any) -> set[str]:
    """Keys of a mapping, fields of a model, none of anything else."""
    return set(value) if isinstance(value, dict) else set(getattr(type(value), "model_fields", ()))


def _split_kind(value: Any) -> str:
    keys = _keys(value)
    return (
        "column" if "column" in keys
        else "folds" if keys & {"folds", "repeats", "group"}
        else "random"
    )  # fmt: skip


Split = Annotated[
    Annotated[RandomSplit, Tag("random")]
    | Annotated[ColumnSplit, Tag("column")]
    | Annotated[FoldSplit, Tag("folds")],
    Discriminator(_split_kind),
]


class Annotations(Strict):
    """A folder of annotations of which some classes count."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    folder: Path
    keep: Annotated[
        tuple[Annotated[str, Field(max_length=200, pattern=r"\S")], ...], Field(min_length=1)
    ]
    """Classes whose outlines are taken, whatever their case; the others are left out."""


def _annotations_kind(value: Any) -> str:
    return "classes" if isinstance(value, dict | Annotations) else "folder"


AnnotationSource = Annotated[
    Annotated[Path, Tag("folder")] | Annotated[Annotations, Tag("classes")],
    Discriminator(_annotations_kind),
]


class SensitivityThreshold(Strict):
    """Highest threshold whose sensitivity on validation is at least this."""

    sensitivity: Annotated[float, Field(gt=0, le=1)]


class NpvThreshold(Strict):
    """Highest threshold whose NPV on validation is at least this."""

    npv: Annotated[float, Field(gt=0, le=1)]


def _threshold_kind(value: Any) -> str:
    keys = _keys(value)
    if keys or isinstance(value, dict):
        return "npv" if "npv" in keys else "sensitivity"
    # YAML reads 5e-1 as text.
    text = str(value).strip()
    return "number" if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text, re.IGNORECASE) else "rule"


Threshold = Annotated[
    Annotated[Literal["youden-validation", "youden-per-cohort"], Tag("rule")]
    | Annotated[float, Field(gt=0, lt=1), Tag("number")]
    | Annotated[SensitivityThreshold, Tag("sensitivity")]
    | Annotated[NpvThreshold, Tag("npv")],
    Discriminator(_threshold_kind),
]


def parse_threshold(text: str) -> Threshold:
    """A threshold as `study.yaml` writes it, from the command line.

    Raises
    ------
    ConfigError
        It is none.
    """
    adapter: TypeAdapter[Threshold] = TypeAdapter(Threshold)
    try:
        return adapter.validate_python(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{text!r} is no threshold.",
            "Give youden-validation, youden-per-cohort, a number between 0 and 1, "
            "{sensitivity: 0.95} or {npv: 0.9}.",
        ) from error


UNIONS = {
    "annotations": "a folder or {folder, keep: [class, ...]}",
    "endpoint": ", ".join(get_args(NodeEndpoint)) + " or {column, negative, positive}",
    "split": "{seed, test, validation}, {column} or {folds, repeats, group, validation, seed}",
    "threshold": "youden-validation, youden-per-cohort, a number between 0 and 1, "
    "{sensitivity: 0.95} or {npv: 0.9}",
}
"""Keys that take values of several kinds, and how these are written."""
