"""Keys of a study that take values of several kinds: endpoint, split, threshold, annotations."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
)

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

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, negative first."""
        return (self.negative, self.positive)


class ClassesEndpoint(Strict):
    """Any column with several values as the endpoint; the classes in the order given.

    With two classes the first is the negative one, as with `negative` and `positive`.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    column: str
    classes: Annotated[
        tuple[Annotated[str, Field(max_length=100, pattern=r"\S")], ...],
        Field(min_length=2, max_length=50),
    ]

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.strip().casefold() for name in classes}) < len(classes):
            raise ValueError("a class is named twice")
        return classes

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in their order."""
        return self.classes


def _endpoint_kind(value: Any) -> str:
    if isinstance(value, ClassesEndpoint) or (isinstance(value, dict) and "classes" in value):
        return "classes"
    return "column" if isinstance(value, dict | ColumnEndpoint) else "nodes"


Endpoint = Annotated[
    Annotated[NodeEndpoint, Tag("nodes")]
    | Annotated[ColumnEndpoint, Tag("column")]
    | Annotated[ClassesEndpoint, Tag("classes")],
    Discriminator(_endpoint_kind),
]
ENDPOINT: TypeAdapter[NodeEndpoint | ColumnEndpoint | ClassesEndpoint] = TypeAdapter(Endpoint)
_FOLDER_LENGTH = 60


def endpoint_name(endpoint: NodeEndpoint | ColumnEndpoint | ClassesEndpoint) -> str:
    """How an endpoint is told from the study's others: in its folder's name and in problems.

    Only letters, digits, dot, dash and underscore: what a column or a class is called must not
    lead out of the study's folder. Where anything had to go, a digest keeps two endpoints apart.
    """
    if isinstance(endpoint, str):
        return endpoint
    text = f"{endpoint.column}-{'-vs-'.join(endpoint.names)}"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")
    if plain == text and len(text) <= _FOLDER_LENGTH:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{plain[:_FOLDER_LENGTH].rstrip('.-') or 'endpoint'}-vs-{digest}"


def class_count(endpoint: NodeEndpoint | ColumnEndpoint | ClassesEndpoint) -> int:
    """How many classes an endpoint tells apart."""
    return len(endpoint.split("-vs-") if isinstance(endpoint, str) else endpoint.names)


class RandomSplit(Strict):
    """4:1 into training and test, a quarter of training into validation (paper, section 2.2)."""

    seed: Seed = 8888
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.25


class ColumnSplit(Strict):
    """A column of the cohort table with train, val or test."""

    column: str


class FoldSplit(Strict):
    """Repeated, stratified k-fold cross-validation; `group` keeps a site or array in one fold.

    Everybody is tested once a repeat. Without `group`, every fold has its share of every class.
    With it, whole groups are tested, and the classes' shares are as even as the groups allow; the
    validation patients are whole groups too, so that neither the early choice nor the threshold is
    made on patients of the training sites. Where the groups that are left cannot be parted so that
    both sides hold every class, validation patients are taken from within the training groups, and
    the report says so.
    """

    folds: Annotated[int, Field(ge=2, le=100)]
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    group: str | None = None
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of each fold's training patients that validates; 0 trains to the last epoch."""
    seed: Seed = 8888


class LeaveOutSplit(Strict):
    """One fold a group, named after it: `split: {leave_out: site}` leaves one site out at a time.

    The folds stand in the order of the groups' names. Each tests all patients of one group; the
    others train, and of them whole groups validate as with `group` of k-fold cross-validation.
    Needs two groups; with two, the one that is left gives both training and validation patients.
    """

    leave_out: str
    """The column that holds the group: a site, a scanner, a tissue array."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of each fold's other patients that validates; 0 trains to the last epoch."""
    seed: Seed = 8888


def _keys(value: Any) -> set[str]:
    """Keys of a mapping, fields of a model, none of anything else."""
    return set(value) if isinstance(value, dict) else set(getattr(type(value), "model_fields", ()))


def _split_kind(value: Any) -> str:
    keys = _keys(value)
    return (
        "column" if "column" in keys
        else "leave_out" if "leave_out" in keys
        else "folds" if keys & {"folds", "repeats", "group"}
        else "random"
    )  # fmt: skip


Split = Annotated[
    Annotated[RandomSplit, Tag("random")]
    | Annotated[ColumnSplit, Tag("column")]
    | Annotated[FoldSplit, Tag("folds")]
    | Annotated[LeaveOutSplit, Tag("leave_out")],
    Discriminator(_split_kind),
]


class Annotations(Strict):
    """A folder of annotations, and how they are read."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    folder: Path
    keep: (
        Annotated[
            tuple[Annotated[str, Field(max_length=200, pattern=r"\S")], ...], Field(min_length=1)
        ]
        | None
    ) = None
    """Classes whose outlines are taken, whatever their case; the others are left out. None takes
    all that the format calls tumour."""
    qupath_cropped: bool = True
    """Whether QuPath showed the scanned part of each slide only, as it does unless a slide is
    opened with `--no-crop`. It concerns slides whose scanned part does not begin at their corner
    (MIRAX, SCN, BIF), and goes for what QuPath wrote and for what is written for it."""


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


_ENDPOINTS = (
    ", ".join(get_args(NodeEndpoint))
    + ", {column, negative, positive} or {column, classes: [first, second, ...]}"
)
UNIONS = {
    "annotations": "a folder or {folder, keep: [class, ...]}",
    "endpoint": _ENDPOINTS,
    "endpoints": _ENDPOINTS,
    "split": "{seed, test, validation}, {column}, {folds, repeats, group, validation, seed} or "
    "{leave_out: column, validation, seed}",
    "threshold": "youden-validation, youden-per-cohort, a number between 0 and 1, "
    "{sensitivity: 0.95} or {npv: 0.9}",
}
"""Keys that take values of several kinds, and how these are written."""
