"""`study.yaml` as strict, frozen values: an unknown key is an error that names the nearest one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from axilla.core.config_base import Strict
from axilla.core.config_choices import (
    ENDPOINT,
    UNIONS,
    Annotations,
    AnnotationSource,
    ClassesEndpoint,
    ColumnEndpoint,
    ColumnSplit,
    Endpoint,
    FoldSplit,
    LeaveOutSplit,
    NodeEndpoint,
    NpvThreshold,
    RandomSplit,
    SensitivityThreshold,
    Split,
    Threshold,
    endpoint_name,
    parse_threshold,
)
from axilla.core.config_clinical import Clinical
from axilla.core.config_encoder import Encoder, ImportedFeatures
from axilla.core.config_method import Aggregator, Bags, Patches, Restarts, Training
from axilla.core.config_sentences import sentences
from axilla.core.config_stain import StainNormalisation
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import ConfigError
from axilla.core.methods import ZOO, ZOO_HEADS, MethodName, method_spec
from axilla.core.types import MAX_SLIDE_PX, SANE_MPP
from axilla.core.yaml_file import read_mapping

__all__ = [
    "Aggregator",
    "Annotations",
    "Bags",
    "ClassesEndpoint",
    "Clinical",
    "ColumnEndpoint",
    "ColumnSplit",
    "Encoder",
    "Endpoint",
    "FoldSplit",
    "ImportedFeatures",
    "LeaveOutSplit",
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
    "endpoint_name",
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
    endpoint: Endpoint | None = None
    """Of which endpoint it is, where the study has several."""


def _either_endpoint(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema["required"] if name != "endpoint"]
    schema["oneOf"] = [{"required": ["endpoint"]}, {"required": ["endpoints"]}]


class StudyConfig(Strict):
    """A whole study, as `study.yaml` says it. Paths are absolute once loaded."""

    model_config = ConfigDict(json_schema_extra=_either_endpoint)

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
    """What is predicted; the first one where `endpoints` names several (see `studies`)."""
    endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=20)] = ()
    """Instead of `endpoint`: several, of one split, the same patches and the same features."""
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
    def studies(self) -> tuple[StudyConfig, ...]:
        """The study of each endpoint; this one alone where it has only one."""
        return tuple(map(self.for_endpoint, self.endpoints)) or (self,)

    def for_endpoint(
        self, endpoint: NodeEndpoint | ColumnEndpoint | ClassesEndpoint
    ) -> StudyConfig:
        """The study of one of the endpoints: what is its own lies in a folder of its own.

        Patches, features and whatever else all endpoints share stay under this study's `out`.
        """
        return self.model_copy(
            update={
                "endpoint": endpoint,
                "endpoints": (),
                "published": tuple(p for p in self.published if p.endpoint == endpoint),
                "out": self.out / endpoint_name(endpoint),
            }
        )

    @property
    def crossed(self) -> bool:
        """Whether everybody is tested: cross-validation, in place of one test cohort."""
        return isinstance(self.split, FoldSplit | LeaveOutSplit)

    @property
    def group_column(self) -> str | None:
        """The column whose groups stay whole in cross-validation."""
        if isinstance(self.split, LeaveOutSplit):
            return self.split.leave_out
        return self.split.group if isinstance(self.split, FoldSplit) else None

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
        if kind is None:
            return self.aggregator
        # What the original did concerns its attention, which those of the zoo do not have.
        original = self.aggregator.original and kind not in ZOO
        return self.aggregator.model_copy(update={"kind": kind, "original": original})

    @property
    def zoo_methods(self) -> tuple[str, ...]:
        """Methods whose aggregator comes with the extra `zoo`."""
        named = (name for name in self.methods if method_spec(name).images)
        return tuple(name for name in named if self.aggregator_of(name).kind in ZOO)

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

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, raw: Any) -> Any:
        """`endpoints` in place of `endpoint`; what is wrong within the list is told of the list."""
        if not isinstance(raw, dict) or not (given := raw.get("endpoints", ())):
            if isinstance(raw, dict) and raw.get("endpoints", ()) != ():
                raise ValueError("endpoints: names none; name one or more, or set endpoint")
            return raw
        if not isinstance(given, list | tuple):
            raise ValueError(  # noqa: TRY004 - what pydantic takes from a validator
                "endpoints: is a list, such as [n0-vs-npos, n1-2-vs-n3plus]"
            )
        if "endpoint" in raw:
            raise ValueError("endpoint: and endpoints: are both given; take out one of them")
        try:
            first = ENDPOINT.validate_python(given[0])
        except ValidationError:
            first = "n0-vs-npos"
        return {**raw, "endpoint": first}

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only the one of `endpoint` and `endpoints` that the study was given."""
        value: dict[str, Any] = handler(self)
        value.pop("endpoint" if self.endpoints else "endpoints", None)
        return value

    @model_validator(mode="after")
    def _endpoints_fit(self) -> StudyConfig:
        names = [endpoint_name(endpoint).casefold() for endpoint in self.endpoints]
        if len(set(names)) < len(names):
            raise ValueError("endpoints: an endpoint is named twice")
        if self.endpoints and any(p.endpoint not in self.endpoints for p in self.published):
            raise ValueError(
                "published: a figure does not say of which of the endpoints it is; add endpoint: "
                "to it, as in endpoints:"
            )
        return self

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
            not isinstance(self.split, ColumnSplit)
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
    def _aggregators_fit(self) -> StudyConfig:
        zoo = self.zoo_methods
        if zoo and self.aggregator.width % ZOO_HEADS:
            raise ValueError(
                f"aggregator.width: is {self.aggregator.width}, but methods of the zoo "
                f"({', '.join(zoo)}) need a multiple of {ZOO_HEADS}, which heads can share"
            )
        if self.aggregator.kind in ZOO and self.aggregator.original:
            raise ValueError(
                "aggregator.original: is about the original code's attention, but the kind is "
                f"{self.aggregator.kind}; take out one of them"
            )
        return self

    @model_validator(mode="after")
    def _stain_fits(self) -> StudyConfig:
        fitted = self.stain is not None and self.stain.target == "training"
        if fitted and self.crossed:
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
        given = {
            name
            for one in self.endpoints or (self.endpoint,)
            for name in (("nodes", "aln_status") if isinstance(one, str) else (one.column,))
        }
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
