"""Encoders: a patch of pixels to a feature vector, resized and normalised the same way always."""

from __future__ import annotations

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
        x = self._sized(patches.to(self.mean.dtype).div(255))
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.body(x)  # [n, D] or [n, C, h', w']
        return features.flatten(1)  # [n, D]

    def _sized(self, x: Tensor) -> Tensor:
        side, inner = self.resize_px, self.input_px
        if side is None or inner is None:
            return x
        if x.shape[-2:] != (side, side):
            x = F.interpolate(
                x, size=(side, side), mode=self.interpolation, antialias=True, align_corners=False
            )
            if self.interpolation == "bicubic":
                x = x.clamp(0, 1)  # it overshoots at edges; an image of bytes cannot
        margin = (side - inner) // 2
        return x[..., margin : margin + inner, margin : margin + inner]


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
            network = spec.build()
        digest = f"none-{seed}"
    else:
        state = find_state(spec, config.weights)
        digest = state_digest(state)
        network = _loaded(spec, state, config.weights)
    return PatchEncoder(spec, spec.trim(network), weights_digest=digest, input_px=config.input_px)


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


def _loaded(spec: EncoderSpec, state: dict[str, Tensor], source: str) -> nn.Module:
    """The network with these weights."""
    if spec.library != "timm" or spec.name.startswith("timm:"):
        with torch.random.fork_rng(devices=[]):
            network = spec.build()
        usable = fitting_state(network.state_dict(), state, spec, source=source)
        network.load_state_dict(usable, strict=False)
        return network
    # Those for pathology have up to a billion numbers: none are drawn only to be replaced.
    with torch.device("meta"):
        network = spec.build()
    usable = fitting_state(network.state_dict(), state, spec, source=source)
    network.load_state_dict({n: t.float() for n, t in usable.items()}, assign=True)
    return network
