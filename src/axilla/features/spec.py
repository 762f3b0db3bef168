"""What an encoder is: its network, what it is fed, what it gives, where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Published:
    """Where the authors of an encoder keep its weights, and on what terms."""

    repository: str
    """On Hugging Face, such as MahmoodLab/UNI."""
    file: str
    """The file of weights in it; a .safetensors beside it in the local cache is taken first."""
    terms: str
    """The licence in a few words; the repository has the whole text."""
    gated: bool = False
    """Whether the terms must be accepted there, with an account, before the file can be had."""
    spellings: tuple[str, ...] = ()
    """Other spellings of the repository under which a cache may hold it."""


def same_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A weights file whose names are those of the network."""
    return state


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What an encoder is fed and gives."""

    name: str
    input_px: int | None
    """Side of the input; None takes patches as they are."""
    features: int
    """Length D of the feature vector."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    build: Callable[[], nn.Module]
    """The whole network as its weights file has it."""
    trim: Callable[[nn.Module], nn.Module]
    """The network without its last classifier."""
    ignored: tuple[str, ...]
    """Beginnings of names in the weights file that the trimmed network does not use."""
    draw: Callable[[], nn.Module] | None = None
    """The trimmed network with drawn weights, where building the whole would cost much more."""
    words: tuple[str, ...] = ("imagenet",)
    """Which of imagenet and published `encoder.weights` may say."""
    imagenet_file: str = ""
    """The name of torchvision's file of ImageNet weights, in torch's cache."""
    library: Literal["torchvision", "timm", "own"] = "torchvision"
    rename: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = same_names
    """From the names in the published file to those of the network."""
    published: Published | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    resize_px: int | None = None
    """Resized to this side and then cropped to `input_px` about the centre; None crops nothing."""
    step_px: int = 1
    """The side of the input is a multiple of this: a transformer's patch."""
