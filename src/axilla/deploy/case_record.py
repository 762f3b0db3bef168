"""`case.json`, whole and strict: what a model says of one new case.

`axilla predict-case --schema` prints it as a JSON schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from axilla.core.config_base import Strict

CASE_SCHEMA: Literal[1] = 1
"""Counts up whenever a field changes its meaning."""
RANGE_NAME = "range over bag redraws and members; not a confidence interval of the risk"

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class ModelFacts(Strict):
    """Which model was asked."""

    study: str
    """Name of the study that trained it."""
    method: str
    endpoint: str | dict[str, Any]
    """A named endpoint, or a column with its values."""
    classes: tuple[str, ...]
    """Negative first."""
    weights_sha256: str
    """Of the bundle's model.safetensors."""
    encoder: str | None
    """Null for a clinical model, and where features do not say who made them."""
    members: Count
    """Trained models whose probabilities are averaged."""
    generated: bool
    """Whether it was trained on a generated cohort, and no patient stands behind it."""
    axilla: str
    """Version that asked it."""


class Doubt(Strict):
    """A warning."""

    code: str
    severe: bool
    """Whether the number should not be believed because of it."""
    text: str
    remedy: str = ""
    """What can be done about it; empty where nothing can."""

    @property
    def sentence(self) -> str:
        """Both, to be read."""
        return f"{self.text} {self.remedy}".strip()


class Range(Strict):
    """Lowest and highest probability of the positive class, over draws of bags and members."""

    name: str = RANGE_NAME
    low: Probability
    high: Probability
    redraws: Count
    """Draws beside the first one."""


class Calibrated(Strict):
    """The model's probability after the recalibration that its bundle holds."""

    probability: Probability
    low: Probability | None
    """The same of the range's ends; null where there is no range."""
    high: Probability | None
    method: str
    fitted_on: str
    """The patients of the study it was fitted on."""
    n: Count


class Measure(Strict):
    """A share with its 95% interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class ThresholdOnValidation(Strict):
    """What the threshold did on the patients that chose it: optimistic for that reason."""

    n: Count
    positives: Count | None
    chose_threshold: bool
    """False where it was fixed beforehand."""
    sensitivity: Measure | None
    specificity: Measure | None
    ppv: Measure | None
    npv: Measure | None


class Call(Strict):
    """On which side of the locked threshold the probability lies."""

    threshold: Probability
    rule: Any
    """`threshold:` of the study."""
    called: str
    validation: ThresholdOnValidation | None
    """Null where the bundle holds no validation figures."""


class Stability(Strict):
    """How often other draws of bags call the same class."""

    redraws: Count
    same: Probability
    """Share of the redraws whose mean over the members calls the same class."""
    same_by_member: Probability
    """Share of all redraws and members, each alone."""


class LogOdds(Strict):
    """What moved the log-odds of the positive class; prevalence + image + clinical is its sum."""

    prevalence: float | None
    """Of the training patients."""
    image: float | None
    """With these slides and a reference patient's clinical values, less the prevalence's."""
    clinical: float | None
    """With the patient's clinical values, less those with the reference patient's."""
    columns: dict[str, float]
    """The same for one column alone; they do not add up."""
    reason: str | None
    """Why image and clinical values cannot be told apart."""


class ClinicalValue(Strict):
    """A clinical value as the model took it."""

    value: float | str | None
    """As given; null where it was not."""
    used: float | str | None
    """What the model took: the training mean or most frequent category where none was given, null
    where a category was unknown to it."""
    unit: str | None


class Patch(Strict):
    """A patch and what the model made of it."""

    image: str
    """Name of the image it lies on."""
    x: int
    """Left edge in level-0 pixels of the image."""
    y: int
    attention: float
    """1 is what every patch would have if all weighed the same."""
    contribution: float | None
    """By how much the log-odds fall without it; null where that cannot be told."""


class SlideFacts(Strict):
    """One slide."""

    slide_id: str
    images: tuple[str, ...]
    """Names of its files."""
    annotation: str | None
    patches: Count
    """Looked at."""
    dropped: Count | None
    """Too white; null for features made elsewhere."""
    mpp: float | None
    """µm per level-0 pixel."""
    patch_size_level0: int | None
    top_patches: tuple[Patch, ...]
    """With the most attention, the most first."""
    files: tuple[str, ...]
    """Beside this record: patches with their values as QuPath opens them, an image a file."""


class CaseRecord(Strict):
    """`case.json`."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = CASE_SCHEMA
    patient_id: str
    model: ModelFacts
    doubtful: bool
    """Whether any warning is severe: then the number should not be believed."""
    warnings: tuple[Doubt, ...]
    """The severe ones first."""
    probability: dict[str, Probability]
    """By class: the mean over the patient's bags and the members, as the study would score it."""
    members: tuple[dict[str, Probability], ...]
    """The same of each member."""
    spread: float | None
    """SD over the members of the positive class's probability (of several, the likeliest one's);
    null for one member."""
    range: Range | None
    """Null with more than two classes, and where nothing is drawn and nobody else asked."""
    calibrated: Calibrated | None
    """Null where the bundle holds no recalibration."""
    call: Call | None
    """Null with more than two classes, and where no threshold is locked."""
    stability: Stability | None
    log_odds: LogOdds | None
    """Null with more than two classes."""
    reasons: dict[str, str] = Field(default_factory=dict)
    """Why any of `spread` to `log_odds` is null, or `call.validation`; a sentence by field."""
    clinical: dict[str, ClinicalValue]
    slides: tuple[SlideFacts, ...]
    notes: tuple[str, ...]
    """What was made of the values given."""
    files: tuple[str, ...]
    """Everything written beside this record."""
    notice: str
    """For research use only."""
