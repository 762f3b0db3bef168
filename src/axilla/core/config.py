"""`study.yaml` as strict, frozen values: an unknown key is an error that names the nearest one."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from axilla.core.errors import ConfigError

NodeEndpoint = Literal[
    "n0-vs-npos", "n1-2-vs-n3plus", "n0-vs-n1-2-vs-n3plus", "n0-vs-n1-2", "n0-vs-n3plus"
]
EncoderName = Literal["alexnet", "vgg16_bn", "resnet50", "densenet121", "inception_v3", "small_cnn"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ColumnEndpoint(_Strict):
    """Any column with two values as the endpoint."""

    column: str
    negative: str
    positive: str


class RandomSplit(_Strict):
    """4:1 into training and test, a quarter of training into validation (paper, section 2.2)."""

    seed: int = 8888
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.25


class ColumnSplit(_Strict):
    """A column of the cohort table with train, val or test."""

    column: str


class FoldSplit(_Strict):
    """Repeated, stratified k-fold cross-validation; `group` keeps a site or array in one fold."""

    folds: Annotated[int, Field(ge=2, le=100)]
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    group: str | None = None
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of each fold's training patients that validates; 0 trains to the last epoch."""
    seed: int = 8888


def _split_kind(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set(type(value).model_fields)
    return "column" if "column" in keys else "folds" if "folds" in keys else "random"


Split = Annotated[
    Annotated[RandomSplit, Tag("random")]
    | Annotated[ColumnSplit, Tag("column")]
    | Annotated[FoldSplit, Tag("folds")],
    Discriminator(_split_kind),
]


class Patches(_Strict):
    """How regions are cut into patches (DESIGN, Patches)."""

    size: Annotated[int, Field(ge=8, le=4096)] = 256
    """Side of a patch in pixels, as the encoder's input is cut."""
    max_blank: Annotated[float, Field(gt=0, le=1)] = 0.3
    """A patch whose share of white pixels is this or more is dropped."""
    white_level: Annotated[int, Field(ge=1, le=255)] = 255
    """A pixel is white when red, green and blue are all at least this."""
    mpp: Annotated[float, Field(gt=0)] | None = None
    """Target µm per pixel; null cuts at native resolution."""
    edge: Literal["pad", "shift"] = "pad"
    """Last column and row: padded with white (the paper's rule) or moved inwards."""


class Bags(_Strict):
    """How patches are gathered into bags (paper, section 2.2)."""

    size: Annotated[int, Field(ge=1, le=100_000)] = 10
    redraw: bool = False
    """Draw the training bags anew each epoch."""
    per_epoch: Annotated[int, Field(ge=1)] | None = None
    """At most so many bags of a patient in an epoch of training; null uses all."""


class Encoder(_Strict):
    """The network that turns a patch into a feature vector."""

    name: EncoderName = "vgg16_bn"
    weights: str = "imagenet"
    """imagenet, none, or a file (.safetensors, or .pth loaded with weights_only)."""
    trainable: bool = False
    """False: features once, the head is trained (frozen). True: end to end, as the paper."""
    input_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Side that patches are resized to; null is the encoder's own (224, 299; small_cnn: as cut)."""


class Aggregator(_Strict):
    """How a bag's instances become one vector (Ilse 2018, doi:10.48550/arXiv.1802.04712)."""

    kind: Literal["attention", "gated", "mean", "max"] = "attention"
    width: Annotated[int, Field(ge=1)] = 256
    """Length of an instance after the first linear layer."""
    attention: Annotated[int, Field(ge=1)] = 128
    """Hidden units of the attention, d."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    original: bool = False
    """The original code's d = 1 and dropout on the attention logits."""


class Clinical(_Strict):
    """Columns of the cohort table that the clinical methods use."""

    numeric: tuple[str, ...] = ("age", "tumor_size_cm")
    categorical: tuple[str, ...] = ("er", "pr", "her2")
    missing: Literal["refuse", "impute"] = "refuse"


class Restarts(_Strict):
    """Cosine annealing with warm restarts (doi:10.48550/arXiv.1608.03983)."""

    t0: Annotated[int, Field(ge=1)] = 20
    mult: Annotated[int, Field(ge=1)] = 2


class Training(_Strict):
    """How the model is trained (paper, section 2.2)."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 200
    optimizer: Literal["adam"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1.0e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1.0e-3
    restarts: Restarts | None = Restarts()
    seed: int = 8888
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Bags a step; null is 32 for frozen features and 1 end to end."""
    weight_by: Literal["patient", "bag"] = "patient"
    """patient: every patient weighs the same however many bags the slide gives."""
    augment: bool = False
    """End to end only: mirror and rotate patches, and vary their stain."""
    precision: Literal["float32", "bfloat16"] = "float32"


class SensitivityThreshold(_Strict):
    """Highest threshold whose sensitivity on validation is at least this."""

    sensitivity: Annotated[float, Field(gt=0, le=1)]


class NpvThreshold(_Strict):
    """Highest threshold whose NPV on validation is at least this."""

    npv: Annotated[float, Field(gt=0, le=1)]


Threshold = (
    Literal["youden-validation", "youden-per-cohort"]
    | Annotated[float, Field(gt=0, lt=1)]
    | SensitivityThreshold
    | NpvThreshold
)


class Published(_Strict):
    """A figure from the literature that the report lays beside ours."""

    source: str
    method: Literal["clinical", "dl-cnb", "dl-cnb+c"]
    cohort: Literal["train", "val", "test"] = "test"
    auc: float | None = None
    accuracy: float | None = None


class StudyConfig(_Strict):
    """A whole study, as `study.yaml` says it. Paths are absolute once loaded."""

    name: str = "study"
    cohort: Path
    slides: Path | None = None
    annotations: Path | None = None
    regions: Literal["auto", "annotation", "tissue", "whole"] = "auto"
    endpoint: NodeEndpoint | ColumnEndpoint
    split: Split = RandomSplit()
    patches: Patches = Patches()
    bags: Bags = Bags()
    encoder: Encoder = Encoder()
    aggregator: Aggregator = Aggregator()
    methods: Annotated[
        tuple[Literal["clinical", "dl-cnb", "dl-cnb+c"], ...], Field(min_length=1)
    ] = ("clinical", "dl-cnb", "dl-cnb+c")
    clinical: Clinical = Clinical()
    training: Training = Training()
    threshold: Threshold = "youden-validation"
    published: tuple[Published, ...] = ()
    out: Path = Path("out")

    @property
    def uses_slides(self) -> bool:
        """Whether any method reads slides."""
        return any(method != "clinical" for method in self.methods)

    @property
    def uses_clinical(self) -> bool:
        """Whether any method reads the clinical columns."""
        return any(method != "dl-cnb" for method in self.methods)

    @model_validator(mode="after")
    def _fits_together(self) -> StudyConfig:
        if self.uses_slides and self.slides is None:
            raise ValueError(
                "slides: missing, but methods name dl-cnb; give the folder of slides, or set "
                "methods: [clinical]"
            )
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("methods: a method is named twice")
        needs_validation = isinstance(self.threshold, SensitivityThreshold | NpvThreshold) or (
            self.threshold == "youden-validation"
        )
        if (
            isinstance(self.split, RandomSplit | FoldSplit)
            and self.split.validation == 0
            and needs_validation
        ):
            raise ValueError(
                "threshold: is chosen on the validation cohort, but split.validation is 0; "
                "set a share for validation or a fixed threshold such as 0.5"
            )
        if self.encoder.name == "small_cnn" and not self.encoder.trainable:
            if self.encoder.weights == "none" and self.uses_slides:
                raise ValueError(
                    "encoder: small_cnn without weights must be trained; set trainable: true"
                )
        return self


def load_config(path: Path) -> StudyConfig:
    """Read `study.yaml`; environment variables are expanded, paths made absolute.

    Raises
    ------
    ConfigError
        The file cannot be read, is no mapping, or has keys or values that do not fit; every such
        problem is in the message, an unknown key with its nearest known one.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the study file cannot be read ({error.strerror}).",
            "Give the path of a study.yaml.",
            file=path,
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the study file is not valid YAML: {str(error).splitlines()[0]}.",
            "Check indentation and quotes at the line it names.",
            file=path,
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError(
            "the study file holds no keys.",
            "It needs at least `cohort:` and `endpoint:`.",
            file=path,
        )
    for key in ("cohort", "slides", "annotations", "out"):
        if isinstance(raw.get(key), str):
            raw[key] = _expand(raw[key], path)
    weights = raw["encoder"].get("weights") if isinstance(raw.get("encoder"), dict) else None
    if isinstance(weights, str) and weights not in {"imagenet", "none"}:
        raw["encoder"] = {**raw["encoder"], "weights": str(_expand(weights, path))}
    raw.setdefault("out", path.resolve().parent / "out")
    try:
        return StudyConfig.model_validate(raw)
    except ValidationError as error:
        lines = [_sentence(item) for item in error.errors()]
        raise ConfigError(
            "; ".join(lines) + ".",
            "`axilla schema` prints every key and its values.",
            file=path,
        ) from error


def _expand(text: str, study: Path) -> Path:
    missing = [name for name in re.findall(r"\$\{(\w+)\}", text) if name not in os.environ]
    if missing:
        raise ConfigError(
            f"`{text}` uses the environment variable {missing[0]}, which is not set.",
            f"Set it, for example: export {missing[0]}=/path/to/data.",
            file=study,
        )
    expanded = Path(os.path.expandvars(text)).expanduser()
    return expanded if expanded.is_absolute() else (study.resolve().parent / expanded)


_TAGS = {"random", "column", "folds", "ColumnEndpoint", "ColumnSplit"}


def _sentence(item: Any) -> str:
    """One pydantic error as a sentence with the key as the user wrote it."""
    parts = [str(part) for part in item["loc"]]
    shown = [
        part
        for index, part in enumerate(parts)
        if not (index == 1 and parts[0] == "split" and part in _TAGS)
        and not part.startswith(("literal[", "constrained", "function", "float"))
        and part not in {"ColumnEndpoint", "SensitivityThreshold", "NpvThreshold"}
    ]
    key = ".".join(shown)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(parts[-1], _known_keys(shown[:-1]), n=1, cutoff=0.4)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        return f"unknown key `{key}`{hint}"
    if item["type"] == "missing":
        return f"`{key}` is missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"`{key}`: {message}" if key else message


def _known_keys(parents: list[str]) -> list[str]:
    """Keys of the mapping at this place of the study file."""
    if not parents:
        return list(StudyConfig.model_fields)
    models: dict[str, tuple[type[BaseModel], ...]] = {
        "split": (RandomSplit, ColumnSplit, FoldSplit),
        "patches": (Patches,),
        "bags": (Bags,),
        "encoder": (Encoder,),
        "aggregator": (Aggregator,),
        "clinical": (Clinical,),
        "training": (Training,),
        "restarts": (Restarts,),
        "endpoint": (ColumnEndpoint,),
        "published": (Published,),
        "threshold": (SensitivityThreshold, NpvThreshold),
    }
    name = next((part for part in reversed(parents) if part in models), "")
    return [field for model in models.get(name, ()) for field in model.model_fields]
