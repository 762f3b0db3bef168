"""`study.yaml` as strict, frozen values: an unknown key is an error that names the nearest one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from axilla.core.config_base import Strict
from axilla.core.config_choices import (
    UNIONS,
    Annotations,
    AnnotationSource,
    ColumnEndpoint,
    ColumnSplit,
    Endpoint,
    FoldSplit,
    NodeEndpoint,
    NpvThreshold,
    RandomSplit,
    SensitivityThreshold,
    Split,
    Threshold,
    parse_threshold,
)
from axilla.core.config_clinical import Clinical
from axilla.core.config_encoder import Encoder, ImportedFeatures
from axilla.core.config_method import Aggregator, Bags, Patches, Restarts, Training
from axilla.core.config_sentences import sentences
from axilla.core.config_stain import StainNormalisation
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import ConfigError
from axilla.core.methods import MethodName, method_spec
from axilla.core.types import MAX_SLIDE_PX, SANE_MPP
from axilla.core.yaml_file import read_mapping

__all__ = [
    "Aggregator",
    "Annotations",
    "Bags",
    "Clinical",
    "ColumnEndpoint",
    "ColumnSplit",
    "Encoder",
    "Endpoint",
    "FoldSplit",
    "ImportedFeatures",
    "NodeEndpoint",
    "NpvThreshold",
    "Patches",
    "Published",
    "RandomSplit",
    "Restarts",
    "SensitivityThreshold",
    "Split",
    "StudyConfig",
    "Threshold",
    "Training",
    "load_config",
    "parse_threshold",
]


class Published(Strict):
    """A figure from the literature that the report lays beside ours."""

    source: str
    method: MethodName
    cohort: Literal["train", "val", "test"] = "test"
    auc: float | None = None
    accuracy: float | None = None


class StudyConfig(Strict):
    """A whole study, as `study.yaml` says it. Paths are absolute once loaded."""

    name: str = "study"
    cohort: Path
    slides: Path | None = None
    slide_mpp: Annotated[float, Field(ge=SANE_MPP[0], le=SANE_MPP[1])] | None = None
    """µm per pixel of slides whose file does not say; a column `mpp` of the table goes before."""
    max_slide_px: Annotated[int, Field(ge=1)] = MAX_SLIDE_PX
    """Most pixels of a slide; a larger one is refused before it is decoded."""
    annotations: AnnotationSource | None = None
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
    methods: Annotated[tuple[MethodName, ...], Field(min_length=1)] = (
        "clinical", "dl-cnb", "dl-cnb+c",
    )  # fmt: skip
    clinical: Clinical = Clinical()
    training: Training = Training()
    threshold: Threshold = "youden-validation"
    published: tuple[Published, ...] = ()
    out: Path = Path("out")

    @property
    def uses_slides(self) -> bool:
        """Whether any method looks at slides, or at features of them."""
        return any(method_spec(name).images for name in self.methods)

    @property
    def imported(self) -> ImportedFeatures | None:
        """The features made elsewhere, where a method uses them."""
        return self.features if self.uses_slides else None

    @property
    def uses_clinical(self) -> bool:
        """Whether any method reads the clinical columns."""
        return any(method_spec(name).clinical for name in self.methods)

    def aggregator_of(self, method: str) -> Aggregator:
        """How a method pools: the study's way, or the one that the method's name asks for."""
        kind = method_spec(method).variant
        return (
            self.aggregator if kind is None else self.aggregator.model_copy(update={"kind": kind})
        )

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
        columns = self.clinical.names
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
        lines = sentences(error, StudyConfig, unions=UNIONS)
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
