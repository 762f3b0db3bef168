"""`study.yaml` as strict, frozen values: an unknown key is an error that names the nearest one."""

from __future__ import annotations

import os
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
    model_validator,
)

from axilla.core.config_base import Seed
from axilla.core.config_base import Strict as _Strict
from axilla.core.config_encoder import Encoder, ImportedFeatures
from axilla.core.config_sentences import sentences
from axilla.core.config_stain import StainNormalisation
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import ConfigError
from axilla.core.types import MAX_SLIDE_PX, SANE_MPP
from axilla.core.yaml_file import read_mapping

NodeEndpoint = Literal[
    "n0-vs-npos", "n1-2-vs-n3plus", "n0-vs-n1-2-vs-n3plus", "n0-vs-n1-2", "n0-vs-n3plus"
]


class ColumnEndpoint(_Strict):
    """Any column with two values as the endpoint."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    column: str
    negative: str
    positive: str


class RandomSplit(_Strict):
    """4:1 into training and test, a quarter of training into validation (paper, section 2.2)."""

    seed: Seed = 8888
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


class Annotations(_Strict):
    """A folder of annotations of which some classes count."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    folder: Path
    keep: Annotated[
        tuple[Annotated[str, Field(max_length=200, pattern=r"\S")], ...], Field(min_length=1)
    ]
    """Classes whose outlines are taken, whatever their case; the others are left out."""


def _annotations_kind(value: Any) -> str:
    return "classes" if isinstance(value, dict | Annotations) else "folder"


class Patches(_Strict):
    """How regions are cut into patches (DESIGN, Patches)."""

    size: Annotated[int, Field(ge=8, le=4096)] = 256
    """Side of a patch in pixels, as the encoder's input is cut."""
    max_blank: Annotated[float, Field(gt=0, le=1)] = 0.3
    """A patch whose share of white pixels is this or more is dropped."""
    white_level: Annotated[int, Field(ge=1, le=255)] = 255
    """What counts as white: red, green and blue of at least this."""
    white_by: Literal["pixel", "channel"] = "pixel"
    """pixel: white where all three are. channel: each counts a third, as in the original code."""
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
    file: Path | None = None
    """Exact bags by patch name, used as they are; `size` is not read then."""


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
    seed: Seed = 8888
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


def _endpoint_kind(value: Any) -> str:
    return "column" if isinstance(value, dict | ColumnEndpoint) else "nodes"


Endpoint = Annotated[
    Annotated[NodeEndpoint, Tag("nodes")] | Annotated[ColumnEndpoint, Tag("column")],
    Discriminator(_endpoint_kind),
]

_UNIONS = {
    "annotations": "a folder or {folder, keep: [class, ...]}",
    "endpoint": ", ".join(get_args(NodeEndpoint)) + " or {column, negative, positive}",
    "split": "{seed, test, validation}, {column} or {folds, repeats, group, validation, seed}",
    "threshold": "youden-validation, youden-per-cohort, a number between 0 and 1, "
    "{sensitivity: 0.95} or {npv: 0.9}",
}
"""Keys that take values of several kinds, and how these are written."""


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
    slide_mpp: Annotated[float, Field(ge=SANE_MPP[0], le=SANE_MPP[1])] | None = None
    """µm per pixel of slides whose file does not say; a column `mpp` of the table goes before."""
    max_slide_px: Annotated[int, Field(ge=1)] = MAX_SLIDE_PX
    """Most pixels of a slide; a larger one is refused before it is decoded."""
    annotations: (
        Annotated[
            Annotated[Path, Tag("folder")] | Annotated[Annotations, Tag("classes")],
            Discriminator(_annotations_kind),
        ]
        | None
    ) = None
    """A folder, or {folder, keep} to take some classes of outlines only."""
    features: ImportedFeatures | None = None
    """Features made elsewhere; then no slides are needed, and nothing is cut or embedded."""
    regions: Literal["auto", "annotation", "tissue", "whole", "patches"] = "auto"
    endpoint: Endpoint
    split: Split = RandomSplit()
    patches: Patches = Patches()
    stain: StainNormalisation | None = None
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
        """Whether any method looks at slides, or at features of them."""
        return any(method != "clinical" for method in self.methods)

    @property
    def imported(self) -> ImportedFeatures | None:
        """The features made elsewhere, where a method uses them."""
        return self.features if self.uses_slides else None

    @property
    def uses_clinical(self) -> bool:
        """Whether any method reads the clinical columns."""
        return any(method != "dl-cnb" for method in self.methods)

    @property
    def annotation_folder(self) -> Path | None:
        """Where the annotations lie."""
        given = self.annotations
        return given.folder if isinstance(given, Annotations) else given

    @property
    def kept_classes(self) -> tuple[str, ...] | None:
        """Classes of outlines that are taken; None takes all."""
        return self.annotations.keep if isinstance(self.annotations, Annotations) else None

    @property
    def needs_validation(self) -> bool:
        """Whether the threshold is chosen on the validation cohort."""
        return self.threshold == "youden-validation" or isinstance(
            self.threshold, SensitivityThreshold | NpvThreshold
        )

    @model_validator(mode="after")
    def _fits_together(self) -> StudyConfig:
        if self.uses_slides and self.slides is None and self.features is None:
            raise ValueError(
                "slides: missing, but methods name dl-cnb; give the folder of slides, or set "
                "methods: [clinical]"
            )
        if self.bags.file is not None and self.bags.redraw:
            raise ValueError("bags: a file gives the bags, so they cannot be redrawn; take one out")
        if self.regions == "patches" and self.patches.mpp is not None:
            raise ValueError(
                "patches.mpp: ready patches are used as they are; take mpp out, or cut the slides"
            )
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("methods: a method is named twice")
        if (
            isinstance(self.split, RandomSplit | FoldSplit)
            and self.split.validation == 0
            and self.needs_validation
        ):
            raise ValueError(
                "threshold: is chosen on the validation cohort, but split.validation is 0; "
                "set a share for validation or a fixed threshold such as 0.5"
            )
        untrained = not self.encoder.trainable and self.encoder.weights == "none"
        reads_slides = self.uses_slides and self.features is None
        if self.encoder.name == "small_cnn" and untrained and reads_slides:
            raise ValueError(
                "encoder: small_cnn without weights must be trained; set trainable: true"
            )
        return self

    @model_validator(mode="after")
    def _stain_fits(self) -> StudyConfig:
        fitted = self.stain is not None and self.stain.target == "training"
        if fitted and isinstance(self.split, FoldSplit):
            raise ValueError(
                "stain: target is training, but all folds share one set of features, so that every "
                "patient who is tested would have a part in it; set target: published or the file "
                "of a reference image"
            )
        return self

    @model_validator(mode="after")
    def _imported_fit(self) -> StudyConfig:
        """Nothing is asked of features made elsewhere that only slides could give."""
        if self.features is None:
            return self
        if self.slides is not None:
            raise ValueError(
                "slides: are not read where features: were made elsewhere; take out one of them"
            )
        if self.encoder.trainable:
            raise ValueError(
                "features: were made elsewhere, so there is no encoder to train; take out "
                "encoder.trainable, or features"
            )
        if self.stain is not None:
            raise ValueError(
                "stain: features made elsewhere have no colours to normalise; take out one of them"
            )
        if self.bags.file is not None:
            raise ValueError(
                "bags.file: names patches, and features made elsewhere have no names; take out "
                "one of them"
            )
        return self

    @model_validator(mode="after")
    def _clinical_fits(self) -> StudyConfig:
        """The clinical columns are there, once each, and none of them gives the label away."""
        if not self.uses_clinical:
            return self
        columns = (*self.clinical.numeric, *self.clinical.categorical)
        if not columns:
            raise ValueError(
                "clinical: names no column, but methods use clinical data; name columns, or set "
                "methods: [dl-cnb]"
            )
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"clinical: names the column `{twice}` twice")
        given = (
            {self.endpoint.column}
            if isinstance(self.endpoint, ColumnEndpoint)
            else {"nodes", "aln_status"}
        )
        leak = next((name for name in columns if name in given), None)
        if leak is not None:
            raise ValueError(
                f"clinical: `{leak}` is what the endpoint is made from, so a model that reads it "
                "has nothing to predict; take it out"
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
    raw = read_mapping(path)
    for key in ("cohort", "slides", "annotations", "out"):
        if isinstance(raw.get(key), str):
            raw[key] = _expand(raw[key], path)
    notes = raw.get("annotations")
    if isinstance(notes, dict) and isinstance(notes.get("folder"), str):
        raw["annotations"] = {**notes, "folder": _expand(notes["folder"], path)}
    if isinstance(raw.get("bags"), dict) and isinstance(raw["bags"].get("file"), str):
        raw["bags"] = {**raw["bags"], "file": _expand(raw["bags"]["file"], path)}
    features = raw.get("features")
    if isinstance(features, str):
        features = {"folder": features}
    if isinstance(features, dict) and isinstance(features.get("folder"), str):
        raw["features"] = {**features, "folder": _expand(features["folder"], path)}
    weights = raw["encoder"].get("weights") if isinstance(raw.get("encoder"), dict) else None
    if isinstance(weights, str) and weights not in WEIGHTS_WORDS:
        raw["encoder"] = {**raw["encoder"], "weights": str(_expand(weights, path))}
    target = raw["stain"].get("target") if isinstance(raw.get("stain"), dict) else None
    if isinstance(target, str) and target not in {"published", "training"}:
        raw["stain"] = {**raw["stain"], "target": str(_expand(target, path))}
    raw.setdefault("out", path.resolve().parent / "out")
    try:
        return StudyConfig.model_validate(raw)
    except ValidationError as error:
        lines = sentences(error, StudyConfig, unions=_UNIONS)
        raise ConfigError(
            "; ".join(lines) + ".",
            "`axilla schema` prints every key and its values.",
            file=path,
        ) from error


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
