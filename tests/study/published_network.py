"""DL-CNB as its authors published it, with drawn weights; nothing of ours in it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from axilla.features.spec import IMAGENET_MEAN, IMAGENET_STD

SIDES = {"vgg16_bn": 64, "alexnet": 64, "resnet50": 64, "densenet121": 224, "inception_v3": 144}
"""Small where the net allows it: the authors' densenet121 has no pooling, so it needs 224 px, and
inception_v3 more than one pixel a map, of which a variance is worth little."""
WIDTHS = {
    "vgg16_bn": 512 * 7 * 7, "alexnet": 256 * 6 * 6, "resnet50": 2048, "densenet121": 1024 * 7 * 7,
    "inception_v3": 2048,
}  # fmt: skip


def vgg16_bn() -> nn.Sequential:
    """Thirteen convolutions of 3 x 3 with BatchNorm and ReLU, halved five times (VGG, D)."""
    layers: list[nn.Module] = []
    before = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(7))


def alexnet() -> nn.Sequential:
    """Five convolutions (Krizhevsky 2014, one column)."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(6))


def children_but_the_last(name: str) -> nn.Sequential:
    """What the authors keep of a torchvision network: its children without the classifier."""
    return nn.Sequential(*list(torchvision.models.get_model(name, weights=None).children())[:-1])


def inception_v3() -> nn.Module:
    """The authors' copy: no auxiliary head, the last layer there but unused, its dropout off."""
    net = torchvision.models.inception_v3(weights=None, transform_input=True, init_weights=False)
    net.AuxLogits, net.aux_logits, net.dropout = None, False, nn.Identity()
    unused, net.fc = net.fc, nn.Identity()
    net.fc.weight, net.fc.bias = unused.weight, unused.bias
    return net


EXTRACTORS: dict[str, Callable[[], nn.Module]] = {
    "vgg16_bn": vgg16_bn,
    "alexnet": alexnet,
    "resnet50": lambda: children_but_the_last("resnet50"),
    "densenet121": lambda: children_but_the_last("densenet121"),
    "inception_v3": inception_v3,
}


class Theirs(nn.Module):
    """DL-CNB as published, layer by layer, for one bag at a time; nothing of ours in it."""

    def __init__(self, encoder: str, *, clinical: bool, classes: int) -> None:
        super().__init__()
        self.width = WIDTHS[encoder]
        self.image_feature_extractor = nn.Module()
        self.image_feature_extractor.extractor = EXTRACTORS[encoder]()
        self.attention_aggregator = nn.Module()
        self.attention_aggregator.fc1 = nn.Sequential(
            nn.Linear(self.width, 256), nn.Dropout(), nn.ReLU()
        )
        self.attention_aggregator.attention = nn.Sequential(
            nn.Linear(256, 1), nn.Dropout(), nn.Tanh(), nn.Linear(1, 1), nn.Dropout()
        )
        self.classifier = nn.Sequential(
            nn.Linear(256 + 50 * clinical, 64), nn.ReLU(), nn.Linear(64, classes)
        )

    def forward(self, patches: Tensor, clinical: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [1, K] and attention [1, N] of patches [N, 3, h, w], normalised."""
        x = self.image_feature_extractor.extractor(patches).reshape(-1, self.width)
        h = self.attention_aggregator.fc1(x)
        attention = torch.softmax(self.attention_aggregator.attention(h).T, dim=1)
        z = attention @ h
        if clinical is not None:
            z = torch.cat([z, *[clinical] * 10], dim=1)
        return self.classifier(z), attention

    def at_test_time(self) -> Theirs:
        """As the authors' code scored: in training mode, but for dropout."""
        net = copy.deepcopy(self).train()
        for layer in net.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()
        return net


def pixels(n: int, side: int, *, seed: int) -> np.ndarray:
    """Patches [n, side, side, 3] that differ in brightness as well, so that statistics matter."""
    rng = np.random.default_rng(seed)
    level = rng.integers(40, 200, (n, 1, 1, 3))
    return (level + rng.integers(-40, 40, (n, side, side, 3))).astype(np.uint8)


def normalised(patches: np.ndarray) -> Tensor:
    x = torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255
    mean, sd = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (x - mean) / sd


def theirs(encoder: str, *, clinical: bool = False, classes: int = 2) -> Theirs:
    """With drawn weights, and running statistics gathered from two bags as in training."""
    torch.manual_seed(len(encoder))
    net = Theirs(encoder, clinical=clinical, classes=classes)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all bags
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.constant_(net.attention_aggregator.attention[3].weight, 3.0)  # it looks at something
    extract = net.image_feature_extractor.extractor
    with torch.no_grad():
        if encoder != "alexnet":  # which has no BatchNorm
            for seed in (1, 2):
                extract.train()(normalised(pixels(3, SIDES[encoder], seed=seed)))
        features = extract.eval()(normalised(pixels(3, SIDES[encoder], seed=3)))
        # Logits of the size that trained models have.
        net.attention_aggregator.fc1[0].weight /= features.std()
    return net.eval()
