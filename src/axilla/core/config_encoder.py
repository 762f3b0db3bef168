"""Where features come from: an encoder of ours, or files made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from axilla.core.config_base import Strict
from axilla.core.config_sentences import sentences
from axilla.core.encoder_names import TORCHVISION_ENCODERS, EncoderName, default_weights
from axilla.core.errors import ConfigError


class Encoder(Strict):
    """The network that turns a patch into a feature vector."""

    name: EncoderName = "vgg16_bn"
    weights: str = "imagenet"
    """imagenet, published (an encoder's own, the default of those for pathology), none, or a file
    (.safetensors, or .pth and .bin loaded with weights_only)."""
    trainable: bool = False
    """False: features once, the head is trained (frozen). True: end to end, as the paper."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of frozen features, and of a trained encoder in prediction. auto: bfloat16 where the
    processor multiplies it in hardware, else float32; features that bfloat16 changes (cosine under
    0.9999) are refused."""
    input_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Side that patches are resized to; null is the encoder's own (224, 299; small_cnn: as cut)."""
    original: bool = False
    """As the paper's code cut it: densenet121 without its last ReLU, inception_v3 at 224 px."""

    @model_validator(mode="before")
    @classmethod
    def _own_weights(cls, value: Any) -> Any:
        if isinstance(value, dict) and "weights" not in value:
            return {**value, "weights": default_weights(value.get("name"))}
        return value

    @model_validator(mode="after")
    def _only_the_papers(self) -> Encoder:
        if self.original and self.name not in TORCHVISION_ENCODERS:
            papers = ", ".join(TORCHVISION_ENCODERS)
            raise ValueError(f"encoder.original is for the encoders of the paper: {papers}")
        return self


class ImportedFeatures(Strict):
    """Features made elsewhere: one file a slide, <slide_id>.h5 or <slide_id>.pt."""

    folder: Path
    format: Literal["auto", "trident", "clam", "stamp", "pt"] = "auto"
    """auto finds out from each file which program wrote it."""


def parse_encoder_name(text: str) -> str:
    """A name as `encoder.name` has it, from the command line.

    Raises
    ------
    ConfigError
        There is no such encoder; the message names the nearest.
    """
    try:
        return Encoder(name=text).name
    except ValidationError as error:
        raise ConfigError(
            "; ".join(sentences(error, Encoder, unions={})) + ".",
            "`axilla encoders` lists them.",
        ) from error
