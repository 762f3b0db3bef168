"""`model.json`, whole and strict: what a model says of itself besides its weights.

It holds aggregates only: counts, means, shares; no patient's row, id or value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from axilla.core.config_base import Strict
from axilla.core.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

MODEL_SCHEMA = 3
"""Of `model.json`; 1 had neither members nor a summary of the training cohort, 2 nothing that a new
case is compared with: ranges, distances, recalibration. It is read, with null for these."""
READABLE_SCHEMAS = (2, MODEL_SCHEMA)
SMALLEST_GROUP = 10
"""Figures of fewer patients than this are left out of a model's summary of its cohort."""
SMALLEST_RANGE = 3 * SMALLEST_GROUP
"""Known values that a range asks for: ten at each end, and ten between, whose sum would otherwise
follow from the mean and be that of a smaller group."""
MAX_RECORD_BYTES = 32 * 2**20

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Settings = dict[str, Any]
"""A part of study.yaml as the study had it, defaults filled in."""


class Architecture(Strict):
    """What the tensors make."""

    kind: str
    """dl-cnb, or the kind of a clinical model such as logistic."""
    features: Count | None = None
    """Length D of a patch's feature vector; null for a clinical model."""
    clinical: Count = 0
    """Length C of the clinical vector that DL-CNB+C fuses, of the first member."""
    end_to_end: bool = False
    """Whether the tensors hold the encoder too."""


class EncoderRecord(Strict):
    """What turned patches into features; beside these fields, study.yaml's `encoder:`."""

    # The study's settings are those of the version that wrote them.
    model_config = ConfigDict(extra="allow")

    name: str | None
    """Null where features were made elsewhere by an encoder that their files do not name."""
    weights: str | None = None
    """imagenet, published, none, or the name of a file."""
    weights_sha256: Digest | None = None
    """Of that file."""
    weights_digest: str | None = None
    """Of the weights it encoded with (frozen) or began with (end to end), name by name."""
    trainable: bool = False
    licence: str | None = None
    """Licence of the published weights in a few words; their own page decides. Null for drawn ones
    and for a file's."""
    computing: str | None = None
    """Precision and library that frozen features were computed with, such as `bfloat16, torch`:
    what `precision: auto` came to. Null where the encoder was trained, or it is not known."""
    imported: bool = False
    """Whether the features were made elsewhere."""


class MemberRecord(Strict):
    """One of the trained models whose probabilities are averaged."""

    key: str
    """Of its training: patients, slides, settings and seed."""
    seed: Count | None
    """Of its first weights, its bags and their order; null where it was trained elsewhere."""
    partition: str = "split"
    """The split, or the fold, whose training patients it saw."""
    best_epoch: Count | None = None
    """Counted from 0; null where there were no epochs."""
    epochs: Count | None = None
    """How many were run; null where there were none."""
    clinical: Settings | None = None
    """Its own preprocessor, where the members' differ; null takes the model's."""
    bins: dict[str, list[float]] | None = None
    """Edges of each nucleus feature's histogram, fixed on its training patients; null for a model
    of patches."""


class Interval(Strict):
    """A figure with its 95% interval; null with a reason where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None
    delong_low: float | None = None
    delong_high: float | None = None
    reason: str | None = None


class Threshold(Strict):
    """From which probability on a patient is called positive."""

    rule: str | float | dict[str, float]
    """`threshold:` of study.yaml."""
    value: float | None
    """Null where there is none: more than two classes, chosen on each cohort, or see `reason`."""
    validation_patients: Count | None = None
    """How many it was chosen on."""
    mean_of: Count | None = None
    """Of how many folds' thresholds it is the mean; null where it is no mean."""
    reason: str | None = None
    """Why none could be chosen by the rule; null where one was, or where none is locked."""


class Validation(Strict):
    """How the model did on the patients that its epoch and threshold were chosen on."""

    n: Count
    positives: Count | None = None
    """Of the second class; null with more than two classes."""
    auc: Interval
    """With more than two classes the mean of one-versus-rest areas."""
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    ppv: Interval | None = None
    npv: Interval | None = None
    confusion: dict[Literal["tp", "fn", "tn", "fp"], Count] | None = None
    """At the threshold; null where there is none."""
    confusion_matrix: list[list[Count]] | None = None
    """Rows: the true class; with more than two classes."""


class NumberSummary(Strict):
    """A clinical number over the training patients; nulls where fewer than 10 have it."""

    mean: float | None
    sd: float | None
    """Sample standard deviation."""
    missing: Count | None
    """Patients without it; null where they are 1 to 9."""
    low: float | None = None
    """Mean of the ten lowest values; null where fewer than 30 are known."""
    high: float | None = None
    """Mean of the ten highest; what lies beyond these two is outside the trained range."""


class RangeSummary(Strict):
    """Where a quantity of the training cohort lies; each figure is the mean of ten values."""

    median: float | None
    """Mean of the ten values in the middle; null where fewer than 10 patients have one."""
    low: float | None
    """Mean of the ten lowest; null where fewer than 30 patients have a value."""
    high: float | None
    """Mean of the ten highest."""


class MppSummary(RangeSummary):
    """µm per level-0 pixel of the training slides."""

    known: Count | None
    """Slides that say it; null where those that do, or do not, are of 1 to 9 patients."""
    unknown: Count | None
    """Slides that do not."""


class CategorySummary(Strict):
    """A clinical category over the training patients."""

    shares: dict[str, Share | None]
    """Of those who have one; null where a group is under 10, or would give such a one away."""
    missing: Count | None
    """Patients without it; null where they are 1 to 9."""


class CohortSummary(Strict):
    """Who the model was trained on, in aggregates."""

    patients: Count
    classes: dict[str, Count]
    """Patients of each class."""
    slides: Count | None = None
    slide_mpp: MppSummary | None = None
    """Null for a clinical model, and where features were made elsewhere."""
    patches: RangeSummary | None = None
    """Kept patches a patient; null for a clinical model."""
    numbers: dict[str, NumberSummary] = Field(default_factory=dict)
    categories: dict[str, CategorySummary] = Field(default_factory=dict)


class Distance(Strict):
    """The training cohort's centre and spread, in few dimensions: see `ReferenceDistance`."""

    seed: Count
    """Of the projection, and of which patches of a patient are taken."""
    features: Count
    """Length D of the vectors that are projected."""
    patients: Count
    """How many the centre and the spread are of."""
    mean: list[float]
    """Their centre [k]."""
    factor: list[list[float]]
    """Lower triangle of the Cholesky factor of their covariance [k, k], row by row."""
    quantiles: dict[str, float]
    """Distances below which these shares of new patients like them lie, cross-fitted."""


class Reference(Strict):
    """How far a patient's features lie from those of the training cohort."""

    patients: Count
    """Whose features were looked at."""
    patches: Count
    """Patches a patient whose mean is taken, at most."""
    member: Count | None = None
    """The member whose encoder made the features; null where they were computed once."""
    distance: Distance | None = None
    """Null with a reason."""
    reason: str | None = None


class Calibration(Strict):
    """What corrects the model's probability; `threshold` and predictions are of the raw one."""

    on: Literal["validation"]
    """The patients it was fitted on; they may have chosen epoch and threshold too."""
    method: Literal["platt"]
    n: Count
    positives: Count
    """Of the second class."""
    intercept: float
    """Added to the log-odds after the slope."""
    slope: Annotated[float, Field(gt=0)]
    """The log-odds are multiplied by it."""


class PartitionRecord(Strict):
    """Which division of the cohort the model belongs to."""

    name: str
    """split, a fold's name, or folds for the ensemble of all."""
    seed: Count


class ModelRecord(Strict):
    """`model.json`."""

    model_config = ConfigDict(protected_namespaces=())

    schema_: Annotated[Literal[2, 3], Field(alias="schema")]
    """Version of this layout."""
    key: str
    """Of the step that wrote the model."""
    weights_sha256: Digest
    """Of `model.safetensors`."""
    history_sha256: Digest | None = None
    """Of `history.csv` beside it."""
    method: str
    study: str = ""
    """The study's name."""
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Negative first; in the order of the probabilities."""
    endpoint: str | Settings
    """A named endpoint, or a column with its values."""
    architecture: Architecture
    members: Annotated[tuple[MemberRecord, ...], Field(min_length=1)]
    """One, or those of an ensemble; tensors of the i-th of several begin with `member<i>.`."""
    aggregator: Settings | None = None
    encoder: EncoderRecord | None = None
    """Null for a clinical model."""
    patches: Settings | None = None
    stain: Settings | None = None
    """Method and target of the stain normalisation; null where there was none."""
    bags: Settings | None = None
    outlined: Literal["all", "some", "none"] | None = None
    """Whether the training slides' tumour was outlined; null where no slide was cut, and in older
    models."""
    heatmaps: Settings | None = None
    """`scale` of the study's heat maps, which a new case's maps follow where they can; null where
    it is `slide`, for a clinical model, and in older models."""
    generated: bool = False
    """Whether the cohort was generated, and no patient stands behind the model."""
    training: Settings | None = None
    clinical: Settings | None = None
    """The fitted preprocessor of clinical data; null where the model reads none."""
    partition: PartitionRecord | None = None
    patients: dict[Literal["train", "val"], dict[str, Count]] = Field(default_factory=dict)
    """Patients of each class that trained and that validated."""
    training_cohort: CohortSummary | None = None
    reference: Reference | None = None
    """Null for a model that looks at no patches, and in schema 2."""
    best_epoch: Count | None = None
    """Of the only member; null for an ensemble."""
    threshold: Threshold
    validation: Validation | None = None
    """Null without validation patients, and for the ensemble of folds, whose members trained on
    one another's."""
    calibration: Calibration | None = None
    """Recalibration fitted on the validation patients, to be shown beside the model's own
    probability, which scores, threshold and predictions stay. Null with more than two classes,
    where either has under 10 validation patients or no correction exists, for the ensemble of
    folds, and in schema 2."""
    source: Settings | None = None
    """File and digest of an imported checkpoint; null where a study trained the model."""
    original: bool = False
    """Whether the weights are a checkpoint of the original code."""
    batch_norm: Literal["running", "batch"] = "running"
    """batch: the encoder normalises by the bag's own patches, as the original code did."""
    versions: dict[str, str]
    """Of axilla and of the libraries that trained."""


def parse_model_record(value: Any, *, file: Path) -> ModelRecord:
    """The record, checked field by field.

    Raises
    ------
    StoreError
        It is of another version, or a field is missing, unknown or of the wrong kind.
    """
    version = value.get("schema") if isinstance(value, dict) else None
    if version not in READABLE_SCHEMAS:
        newer = isinstance(version, int) and version > MODEL_SCHEMA
        raise StoreError(
            "the model was written by another version of axilla (schema "
            f"{version if isinstance(version, int) else 'unknown'}; this one reads "
            f"{' and '.join(map(str, READABLE_SCHEMAS))}).",
            "Install the newer axilla." if newer else "Train it again.",
            file=file,
        )
    try:
        return ModelRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"the model's record is not valid: {where}: {first['msg']}.",
            "Get the model's folder again as it was written, or train it again.",
            file=file,
        ) from error
