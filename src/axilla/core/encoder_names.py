"""The names that `encoder.name` may have; what stands behind each is the room `features`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

TORCHVISION_ENCODERS = ("alexnet", "vgg16_bn", "resnet50", "densenet121", "inception_v3")
PATHOLOGY_ENCODERS = (
    "uni", "uni2-h", "conch", "virchow2", "h-optimus-0", "phikon-v2", "prov-gigapath",
)  # fmt: skip
"""Trained on pathology by their authors; loaded through timm."""
WITHOUT_BATCH_NORM = frozenset({"alexnet"})
"""Those of the paper's five that have no BatchNorm."""
ENCODERS = (*TORCHVISION_ENCODERS, "small_cnn", *PATHOLOGY_ENCODERS)
TIMM_PREFIX = "timm:"
_TIMM_NAME = r"timm:[A-Za-z0-9_][A-Za-z0-9_.\-]{0,100}"
WEIGHTS_WORDS = frozenset({"imagenet", "published", "none"})
"""What `encoder.weights` may say besides a file."""


def _known(name: str) -> str:
    if name in ENCODERS or re.fullmatch(_TIMM_NAME, name):
        return name
    expected = ", ".join(ENCODERS) + " or timm:<name of a timm model>"
    # The kind of a Literal's error: its sentence names the nearest known value.
    raise PydanticKnownError("literal_error", {"expected": expected})


EncoderName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema(
        {"anyOf": [{"enum": list(ENCODERS)}, {"type": "string", "pattern": f"^{_TIMM_NAME}$"}]}
    ),
]


def default_weights(name: object) -> str:
    """The weights of an encoder whose study does not say which."""
    return "published" if name in PATHOLOGY_ENCODERS else "imagenet"
