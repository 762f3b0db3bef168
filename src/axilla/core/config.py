"""`study.yaml` as strict, frozen values: an unknown key is an error that names the nearest one."""

from __future__ import annotations

from collections.abc import Mapping
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
    class_count,
    endpoint_name,
    parse_threshold,
)
from axilla.core.config_clinical import Clinical
from axilla.core.config_encoder import Encoder, ImportedFeatures
from axilla.core.config_heatmaps import Heatmaps
from axilla.core.config_method import Aggregator, Bags, Patches, Restarts, Training
from axilla.core.config_nuclei import Nuclei
from axilla.core.config_paths import expand_paths
from axilla.core.config_rules import RULES
from axilla.core.config_sentences import sentences
from axilla.core.config_stain import StainNormalisation
from axilla.core.errors import ConfigError
from axilla.core.methods import ZOO, MethodName, method_spec
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
    nuclei: Nuclei = Nuclei()
    """Read where `methods` name dl-cnb-nuclei."""
    clinical: Clinical = Clinical()
    training: Training = Training()
    threshold: Threshold = "youden-validation"
    prevalence: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Shares of positive patients elsewhere, such as [0.2, 0.3], at which PPV and NPV are told."""
    published: tuple[Published, ...] = ()
    heatmaps: Heatmaps = Heatmaps()
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
    def uses_patches(self) -> bool:
        """Whether any method looks at patches, or at features of them; nuclei are no such."""
        specs = map(method_spec, self.methods)
        return any(spec.images and not spec.nuclei for spec in specs)

    @property
    def uses_nuclei(self) -> bool:
        """Whether any method looks at nucleus features."""
        return any(method_spec(name).nuclei for name in self.methods)

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
    def qupath_cropped(self) -> bool:
        """Whether QuPath shows the scanned part of a slide only."""
        return not isinstance(self.annotations, Annotations) or self.annotations.qupath_cropped

    @property
    def needs_validation(self) -> bool:
        """Whether a threshold is chosen on the validation cohort; three classes have none."""
        by_rule = self.threshold == "youden-validation" or isinstance(
            self.threshold, SensitivityThreshold | NpvThreshold
        )
        return by_rule and any(class_count(study.endpoint) == 2 for study in self.studies)

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
    def _fits_together(self) -> StudyConfig:
        for rule in RULES:
            rule(self)
        return self


def load_config(path: Path, *, unless_said: Mapping[str, Any] | None = None) -> StudyConfig:
    """Read `study.yaml`; environment variables are expanded, paths made absolute.

    Parameters
    ----------
    path
        The file.
    unless_said
        Values of keys that the file does not have.

    Raises
    ------
    ConfigError
        The file cannot be read, is no mapping, or has keys or values that do not fit; every such
        problem is in the message, an unknown key with its nearest known one.
    """
    raw = read_mapping(path)
    expand_paths(raw, path)
    for key, value in (unless_said or {}).items():
        raw.setdefault(key, value)
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
