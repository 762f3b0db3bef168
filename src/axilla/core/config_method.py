"""How patches, bags, the model and its training are made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from axilla.core.config_base import Seed, Strict
from axilla.core.methods import AggregatorKind


class Patches(Strict):
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


class Bags(Strict):
    """How patches are gathered into bags (paper, section 2.2)."""

    size: Annotated[int, Field(ge=1, le=100_000)] = 10
    redraw: bool = False
    """Draw the training bags anew each epoch."""
    per_epoch: Annotated[int, Field(ge=1)] | None = None
    """At most so many bags of a patient in an epoch of training; null uses all."""
    file: Path | None = None
    """Exact bags by patch name, used as they are; `size` is not read then."""


class Aggregator(Strict):
    """How a bag's instances become one vector (Ilse 2018, doi:10.48550/arXiv.1802.04712)."""

    kind: AggregatorKind = "attention"
    """The last five come with the extra `zoo`."""
    width: Annotated[int, Field(ge=1)] = 256
    """Length of an instance after the first linear layer."""
    attention: Annotated[int, Field(ge=1)] = 128
    """Hidden units of the attention, d."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    original: bool = False
    """The original code's d = 1 and dropout within the attention and on its logits."""


class Restarts(Strict):
    """Cosine annealing with warm restarts (doi:10.48550/arXiv.1608.03983)."""

    t0: Annotated[int, Field(ge=1)] = 20
    mult: Annotated[int, Field(ge=1)] = 2


class Training(Strict):
    """How the model is trained (paper, section 2.2)."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 200
    optimizer: Literal["adam"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1.0e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1.0e-3
    restarts: Restarts | None = Restarts()
    seed: Seed = 8888
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Models trained from as many seeds; a score is their mean, with its spread."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Bags a batch, over all devices; null is 32 for frozen features, and 1 a device end to end."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """So many batches make one step: the step of a larger batch in the memory of a smaller one."""
    weight_by: Literal["patient", "bag"] = "patient"
    """patient: every patient weighs the same however many bags the slide gives."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the classes weigh the same in the loss, however many patients each has."""
    sampling: Literal["all", "balanced"] = "all"
    """balanced: each epoch draws patients so that the classes come equally often."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop when validation has not improved for so many epochs; null trains all epochs."""
    augment: bool = False
    """End to end only: mirror and rotate patches, and vary their stain."""
    precision: Literal["float32", "bfloat16"] = "float32"
    devices: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Devices to train on, a process each; auto takes as many as were started, else one."""
    deterministic: bool = False
    """On a GPU too the same seed gives the same weights, more slowly; on CPUs it always does."""
    tensorboard: bool = False
    """Write TensorBoard scalars beside the model; needs the extra `tensorboard`."""

    def decisive(self) -> dict[str, Any]:
        """The settings that decide the weights of one model, for keys.

        Those added after the first models were trained are left out where they change nothing, so
        that such a model is still known as trained.
        """
        settings = self.model_dump(mode="json", exclude={"devices", "tensorboard", "seeds"})
        later = ("accumulate", "class_weights", "sampling", "patience", "deterministic")
        default = {name: Training.model_fields[name].default for name in later}
        return {n: v for n, v in settings.items() if n not in default or v != default[n]}
