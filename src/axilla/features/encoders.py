"""Encoders: a patch of pixels to a feature vector, resized and normalised the same way always."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axilla.core.errors import ConfigError
from axilla.features.registry import encoder_spec
from axilla.features.timm_models import import_timm
from axilla.features.torchvision_specs import as_original
from axilla.features.weights import find_state, fitting_state, state_digest

if TYPE_CHECKING:
    from axilla.core.config_encoder import Encoder as EncoderConfig
    from axilla.features.spec import EncoderSpec


class PatchEncoder(nn.Module):
    """f = body((crop(resize(x / 255)) - mean) / std): [n, 3, h, w] uint8 -> [n, D] float32.

    Resizing is bilinear or bicubic, as the weights were trained, with antialiasing, in training and
    prediction alike; normalisation uses the statistics the weights were trained with. Only where
    the authors say so is the centre cropped. Source: paper, section 2.2; DESIGN, Encoders.
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
        # Who sets the side wants the whole patch at that side.
        self.resize_px = input_px or spec.resize_px or spec.input_px
        self.interpolation = spec.interpolation
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
        features: Tensor = self.body(self.normalised(self.sized(patches)))  # [n, D], [n, C, h', w']
        return features.flatten(1)  # [n, D]

    def with_body(self, body: nn.Module) -> PatchEncoder:
        """Another body behind the same resizing and normalising."""
        return copy.deepcopy(self, {id(self.body): body})

    def sized(self, patches: Tensor) -> Tensor:
        """Patches at the side that the body takes, [n, 3, side, side], 0 to 255.

        Bytes are resized to bytes, as an image is, which costs a tenth of resizing numbers.
        """
        side, inner = self.resize_px, self.input_px
        if side is None or inner is None:
            return patches
        x = patches
        if x.shape[-2:] != (side, side):
            is_bytes = x.dtype == torch.uint8
            if is_bytes and x.device.type != "cpu":
                x = x.to(self.mean.dtype)  # only processors resize bytes
            x = F.interpolate(
                x, size=(side, side), mode=self.interpolation, antialias=True, align_corners=False
            )
            if x.dtype != torch.uint8:
                x = x.clamp(0, 255)  # bicubic overshoots at edges; an image of bytes cannot
                x = x.round() if is_bytes else x
        margin = (side - inner) // 2
        return x[..., margin : margin + inner, margin : margin + inner]

    def normalised(self, x: Tensor) -> Tensor:
        """What the body takes of sized patches, channels last."""
        x = (x.to(self.mean.dtype).div(255) - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last)


def build_encoder(config: EncoderConfig, *, seed: int = 0) -> PatchEncoder:
    """An encoder with its weights loaded; `weights: none` draws them from `seed`.

    Raises
    ------
    WeightsError
        The weights are neither here nor to be downloaded, the file does not fit, or the encoder's
        library is not installed.
    ConfigError
        timm has no such model, or it does not take `input_px`.
    """
    spec = checked_spec(config)
    if config.weights == "none":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = spec.trim(spec.build()) if spec.draw is None else spec.draw()
        digest = f"none-{seed}"
    else:
        state = find_state(spec, config.weights)
        digest = state_digest(state)
        state = _without_ignored(state, spec)
        body = spec.trim(_loaded(spec, state, config.weights))
    return PatchEncoder(spec, body, weights_digest=digest, input_px=config.input_px)


def encoder_to_fill(config: EncoderConfig, *, device: str = "cpu") -> PatchEncoder:
    """An encoder whose weights the caller loads: none are drawn, nor made for what is cut off.

    Parameters
    ----------
    device
        `meta` makes shapes without values.

    Raises
    ------
    WeightsError, ConfigError
        As `build_encoder`.
    """
    spec = checked_spec(config)
    if spec.library == "timm":  # these may hold values that no weights file has
        return build_encoder(config)
    with torch.device("meta"):
        body = spec.trim(spec.build())
    return PatchEncoder(
        spec, body.to_empty(device=device), weights_digest="", input_px=config.input_px
    )


def check_encoder(config: EncoderConfig) -> None:
    """Whether `build_encoder` will find weights that fit, without reading gigabytes.

    Raises
    ------
    WeightsError, ConfigError
        As `build_encoder`.
    """
    spec = checked_spec(config)
    if config.weights == "none":
        return
    state = find_state(spec, config.weights, only_shapes=True)
    with torch.device("meta"):
        wanted = spec.build().state_dict()
    fitting_state(wanted, state, spec, source=config.weights)


def checked_spec(config: EncoderConfig) -> EncoderSpec:
    """The specification, where the library is there and the side of the input is possible."""
    spec = encoder_spec(config.name)
    if config.original:
        spec = as_original(spec)
    if spec.library == "timm":
        import_timm(spec.name)
    if config.input_px is not None and config.input_px % spec.step_px:
        side = max(spec.step_px, config.input_px // spec.step_px * spec.step_px)
        raise ConfigError(
            f"encoder.input_px is {config.input_px}, but {spec.name} takes multiples of "
            f"{spec.step_px}.",
            f"Set encoder.input_px to {side}, or leave it out for {spec.input_px}.",
        )
    return spec


def _without_ignored(state: dict[str, Tensor], spec: EncoderSpec) -> dict[str, Tensor]:
    """What the network keeps, apart from the file: VGG's classifier would take 500 MB with it.

    Others are left mapped: what is cut off of them is little.
    """
    if spec.library != "torchvision":
        return state
    for name in [n for n in state if n.startswith(spec.ignored)]:
        del state[name]
    return {name: tensor.clone() for name, tensor in state.items()}


def _loaded(spec: EncoderSpec, state: dict[str, Tensor], source: str) -> nn.Module:
    """The network with these weights."""
    if spec.name.startswith("timm:"):
        # Some of its networks have tables that no file holds: they are made as they are built.
        with torch.random.fork_rng(devices=[]):
            network = spec.build()
        usable = fitting_state(network.state_dict(), state, spec, source=source)
        network.load_state_dict(usable, strict=False)
        return network
    # Up to a billion numbers: none are drawn, or held, only to be replaced or cut off.
    with torch.device("meta"):
        network = spec.build()
    wanted = network.state_dict()
    usable = fitting_state(wanted, state, spec, source=source)
    kept = {n: tensor for n, tensor in usable.items() if not n.startswith(spec.ignored)}
    mapped = spec.library != "torchvision"  # the others' were copied as their rest was cut off
    numbers = {n: tensor.to(wanted[n].dtype, copy=mapped) for n, tensor in kept.items()}
    # Counters that older files lack; nothing reads them in evaluation mode.
    counters = {n: torch.zeros_like(t, device="cpu") for n, t in wanted.items() if not t.ndim}
    # What is left without numbers is cut off next.
    network.load_state_dict({**counters, **numbers}, assign=True, strict=False)
    return network
