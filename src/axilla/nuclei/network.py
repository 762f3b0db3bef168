"""A small U-Net that tells of every pixel whether it is nuclear, and how deep inside."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTHS = (24, 48, 80, 128)
"""Channels at full, half, quarter and eighth size."""
STRIDE = 8
"""Sides of an input are multiples of it."""
OUTPUTS = 2


class NucleusNet(nn.Module):
    r"""U-Net (Ronneberger 2015, doi:10.1007/978-3-319-24574-4_28) with two outputs a pixel.

    .. math:: (f, d) = U(x), \quad P(\text{nuclear}) = \sigma(f), \quad
        d \approx \frac{\text{distance to the nucleus's outline}}{\text{greatest in that nucleus}}

    The distance (Naylor 2019, doi:10.1109/TMI.2018.2865709) is relative, so that a lymphocyte and a
    large tumour nucleus both have 1 in their middle and touching nuclei a valley between them.

    Parameters
    ----------
    widths
        Channels of each level, the finest first.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.radius_px: float | None = None
        """Median radius of the nuclei it learned from, where these are all of one magnification."""
        self.down = nn.ModuleList(
            _level(below, width) for below, width in zip((3, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(
            _level(deep + width, width)
            for width, deep in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], OUTPUTS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Optical densities [n, 3, h, w] to the logit and the distance, [n, 2, h, w].

        h and w are multiples of 8.
        """
        kept = []
        for number, level in enumerate(self.down):
            x = level(nn.functional.max_pool2d(x, 2) if number else x)  # [n, w_k, h/2^k, w/2^k]
            kept.append(x)
        kept.pop()
        for level in self.up:
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = level(torch.cat([x, kept.pop()], dim=1))
        told: Tensor = self.out(x)
        return told

    def ready(self, dtype: torch.dtype = torch.float32) -> NucleusNet:
        """A copy for segmenting alone: each batch norm folded into its convolution, in `dtype`."""
        twin = copy.deepcopy(self).eval()
        for level in [*twin.down, *twin.up]:
            _fold(level)
        return twin.to(dtype).to(memory_format=torch.channels_last)


def as_input(pixels: Tensor) -> Tensor:
    """Bytes [n, h, w, 3] to optical densities [n, 3, h, w], 0 for white to about 2."""
    shades = (pixels.permute(0, 3, 1, 2).float() + 1) / 256
    return -shades.log() * 0.5


def _fold(layers: nn.Module) -> None:
    """Take each batch norm of a level into the convolution before it."""
    if not isinstance(layers, nn.Sequential):
        raise TypeError("a level is a sequence of layers")
    for place in range(1, len(layers)):
        before, layer = layers[place - 1], layers[place]
        if isinstance(before, nn.Conv2d) and isinstance(layer, nn.BatchNorm2d):
            layers[place - 1], layers[place] = fuse_conv_bn_eval(before, layer), nn.Identity()


def _level(below: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (below, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
