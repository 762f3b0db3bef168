"""Encoders: a patch of pixels to a feature vector, resized and normalised the same way always."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from axilla.core.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from axilla.core.config import Encoder as EncoderConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
H_AND_E_MEAN = (0.70, 0.54, 0.69)
H_AND_E_STD = (0.24, 0.28, 0.21)
"""Of H&E patches in general (those usual for PatchCamelyon, rounded); no cohort's own."""


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


class PatchEncoder(nn.Module):
    """f = body((resize(x / 255) - mean) / std): [n, 3, h, w] uint8 -> [n, D] float32.

    Resizing is bilinear with antialiasing, in training and prediction alike; normalisation uses
    the statistics the weights were trained with. Source: paper, section 2.2; DESIGN, Encoders.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        spec: EncoderSpec,
        body: nn.Module,
        *,
        weights_digest: str,
        input_px: int | None = None,
    ) -> None:
        super().__init__()
        self.name = spec.name
        self.features = spec.features
        self.input_px = input_px or spec.input_px
        self.weights_digest = weights_digest
        self.body = body.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Encode patches.

        Parameters
        ----------
        patches
            [n, 3, h, w], uint8 or float, 0 to 255.

        Returns
        -------
        Tensor
            [n, D] float.
        """
        x = patches.to(self.mean.dtype).div(255)
        side = self.input_px
        if side is not None and x.shape[-2:] != (side, side):
            size = (side, side)
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.body(x)  # [n, D] or [n, C, h', w']
        return features.flatten(1)  # [n, D]


class SmallCNN(nn.Module):
    """The convolutional net of Ilse 2018 (table 8, doi:10.48550/arXiv.1802.04712), D = 512.

    conv 4x4, 36 - ReLU - pool - conv 3x3, 48 - ReLU - pool - fc 512 - ReLU - dropout - fc 512 -
    ReLU - dropout. At 32 px, what it was published for, the last map is 6x6; from larger patches
    it is pooled to 6x6, so that one network serves every size from 16 px up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 36, 4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(36, 48, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.linears = nn.Sequential(
            nn.Linear(48 * 6 * 6, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(),
            nn.Dropout(),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # PyTorch's own start shrinks the signal at each ReLU; few steps are to be enough.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] -> [n, 512]."""
        maps = self.convolutions(x)
        if maps.shape[-2:] != (6, 6):
            maps = F.adaptive_avg_pool2d(maps, 6)
        features: Tensor = self.linears(maps.flatten(1))
        return features


def _torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
        return network

    return build


def _part(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name)


def _trim_sequential(network: nn.Module) -> nn.Module:
    return nn.Sequential(_part(network, "features"), _part(network, "avgpool"))


def _trim_densenet(network: nn.Module) -> nn.Module:
    # torchvision applies the last ReLU in forward(), beside the classifier; the original lost it.
    return nn.Sequential(_part(network, "features"), nn.ReLU(), nn.AdaptiveAvgPool2d((7, 7)))


def _trim_fc(network: nn.Module) -> nn.Module:
    network.fc = nn.Identity()
    return network


def _trim_inception(network: nn.Module) -> nn.Module:
    network.fc = nn.Identity()
    network.dropout = nn.Identity()
    # In training mode torchvision would return the auxiliary classifier's logits as well.
    setattr(network, "AuxLogits", None)  # noqa: B010 - typed as Module
    setattr(network, "aux_logits", False)  # noqa: B010 - likewise
    return network


_SPECS: Mapping[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            "alexnet", 224, 256 * 6 * 6, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("alexnet"), _trim_sequential, ("classifier.",),
        ),
        EncoderSpec(
            "vgg16_bn", 224, 512 * 7 * 7, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("vgg16_bn", init_weights=True), _trim_sequential, ("classifier.",),
        ),
        EncoderSpec(
            "resnet50", 224, 2048, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("resnet50"), _trim_fc, ("fc.",),
        ),
        EncoderSpec(
            "densenet121", 224, 1024 * 7 * 7, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("densenet121"), _trim_densenet, ("classifier.",),
        ),
        EncoderSpec(
            "inception_v3", 299, 2048, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("inception_v3", transform_input=True, init_weights=False),
            _trim_inception, ("fc.", "AuxLogits."),
        ),
        EncoderSpec(
            "small_cnn", None, 512, H_AND_E_MEAN, H_AND_E_STD,
            SmallCNN, lambda network: network, (),
        ),
    )
}  # fmt: skip


_UNLOADABLE = (
    OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    HTTPException, SafetensorError, UnpicklingError,
)  # fmt: skip
"""What a download, and torch for a file that is no state dict, may raise."""

# torchvision's own checkpoints of DenseNet have older names: `denselayer1.norm.1.weight`.
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")


def encoder_spec(name: str) -> EncoderSpec:
    """The specification of a named encoder."""
    return _SPECS[name]


def build_encoder(config: EncoderConfig, *, seed: int = 0) -> PatchEncoder:
    """An encoder with its weights loaded; `weights: none` draws them from `seed`.

    Raises
    ------
    WeightsError
        ImageNet weights are neither cached nor to be downloaded, or the file does not fit.
    """
    spec = encoder_spec(config.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = spec.build()
    if config.weights == "none":
        digest = f"none-{seed}"
    else:
        state = (
            _imagenet_state(spec)
            if config.weights == "imagenet"
            else _file_state(Path(config.weights))
        )
        _load(network, state, spec, source=config.weights)
        digest = state_digest(state)
    return PatchEncoder(spec, spec.trim(network), weights_digest=digest, input_px=config.input_px)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and values of a state dict."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _imagenet_state(spec: EncoderSpec) -> dict[str, Tensor]:
    if spec.name == "small_cnn":
        raise WeightsError(
            "encoder small_cnn has no ImageNet weights.",
            "Set encoder.weights: none and encoder.trainable: true, or give a file.",
        )
    weights = torchvision.models.get_model_weights(spec.name)["IMAGENET1K_V1"]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / str(weights.url).rsplit("/", 1)[-1]
    try:
        state: dict[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except _UNLOADABLE as error:
        if cached.is_file():
            raise WeightsError(
                f"the ImageNet weights of {spec.name} in the cache are damaged ({_first(error)}).",
                "Delete the file; it is then downloaded again.",
                file=cached,
            ) from error
        raise WeightsError(
            f"the ImageNet weights of {spec.name} are not on this machine and could not be "
            f"downloaded ({_first(error)}).",
            "Either connect this machine to the network once, or fetch the file elsewhere and set "
            f"encoder.weights to its path ({cached.name}).",
        ) from error
    return state


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _file_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(
            "there is no such file of weights.",
            "Set encoder.weights to imagenet, none, or an existing .safetensors or .pth file.",
            file=path,
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        # weights_only: a pickle that holds anything but tensors is refused, never run.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _UNLOADABLE as error:
        raise WeightsError(
            f"the weights cannot be read safely ({_first(error)}).",
            "Save them as .safetensors, or as a plain state dict.",
            file=path,
        ) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError("the file holds no state dict.", "Save model.state_dict().", file=path)
    return dict(loaded)


def _load(
    network: nn.Module, state: Mapping[str, Tensor], spec: EncoderSpec, *, source: str
) -> None:
    wanted = network.state_dict()
    state = {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()}
    known = {name: tensor for name, tensor in state.items() if name in wanted}
    absent = [n for n in wanted if n not in known and not n.startswith(spec.ignored or "\0")]
    absent = [n for n in absent if not n.endswith("num_batches_tracked")]
    strange = [n for n in state if n not in wanted]
    wrong = [n for n, t in known.items() if t.shape != wanted[n].shape]
    wrong = [n for n in wrong if not n.startswith(spec.ignored or "\0")]
    for names, what in ((absent, "lack"), (strange, "have unknown"), (wrong, "misshape")):
        if names:
            raise WeightsError(
                f"the weights `{source}` do not fit {spec.name}: they {what} {names[0]} "
                f"({len(names)} such).",
                f"Give the state dict of torchvision's {spec.name}.",
            )
    usable = {n: t for n, t in known.items() if t.shape == wanted[n].shape}
    network.load_state_dict(usable, strict=False)
