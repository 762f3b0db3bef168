"""The small convolutional net for tiny cohorts and the demo, trained from scratch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
