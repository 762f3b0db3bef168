"""The encoders of the paper, from torchvision, and the small net."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from axilla.features.small_cnn import SmallCNN
from axilla.features.spec import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

H_AND_E_MEAN = (0.70, 0.54, 0.69)
H_AND_E_STD = (0.24, 0.28, 0.21)
"""Of H&E patches in general (those usual for PatchCamelyon, rounded); no cohort's own."""


def _torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision  # late: it takes seconds

        network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
        return network

    return build


def _draw_alexnet() -> nn.Module:
    """Convolutions only: AlexNet's classifier holds 94% of its numbers, VGG's 89%."""
    with torch.device("meta"):
        body = _trim_sequential(_torchvision("alexnet")())
    body.to_empty(device="cpu")
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.reset_parameters()
    return body


def _draw_vgg() -> nn.Module:
    """As torchvision draws them (He 2015, doi:10.1109/ICCV.2015.123)."""
    with torch.device("meta"):
        body = _trim_sequential(_torchvision("vgg16_bn")())
    body.to_empty(device="cpu")
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.constant_(layer.get_parameter("bias"), 0)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return body


def _part(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name)


def _trim_sequential(network: nn.Module) -> nn.Module:
    return nn.Sequential(_part(network, "features"), _part(network, "avgpool"))


def _trim_densenet(network: nn.Module) -> nn.Module:
    # torchvision applies the last ReLU in forward(), beside the classifier: whoever takes only the
    # children loses it, as the original did (`as_original`).
    return nn.Sequential(_part(network, "features"), nn.ReLU(), nn.AdaptiveAvgPool2d((7, 7)))


def _trim_densenet_as_original(network: nn.Module) -> nn.Module:
    return nn.Sequential(_part(network, "features"), nn.AdaptiveAvgPool2d((7, 7)))


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


TORCHVISION_SPECS: Mapping[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            "alexnet", 224, 256 * 6 * 6, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("alexnet"), _trim_sequential, ("classifier.",), _draw_alexnet,
            imagenet_file="alexnet-owt-7be5be79.pth",
        ),
        EncoderSpec(
            "vgg16_bn", 224, 512 * 7 * 7, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("vgg16_bn"), _trim_sequential, ("classifier.",), _draw_vgg,
            imagenet_file="vgg16_bn-6c64b313.pth",
        ),
        EncoderSpec(
            "resnet50", 224, 2048, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("resnet50"), _trim_fc, ("fc.",),
            imagenet_file="resnet50-0676ba61.pth",
        ),
        EncoderSpec(
            "densenet121", 224, 1024 * 7 * 7, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("densenet121"), _trim_densenet, ("classifier.",),
            imagenet_file="densenet121-a639ec97.pth",
        ),
        EncoderSpec(
            "inception_v3", 299, 2048, IMAGENET_MEAN, IMAGENET_STD,
            _torchvision("inception_v3", transform_input=True, init_weights=False),
            _trim_inception, ("fc.", "AuxLogits."),
            imagenet_file="inception_v3_google-0cc3c7bd.pth",
        ),
        EncoderSpec(
            "small_cnn", None, 512, H_AND_E_MEAN, H_AND_E_STD,
            SmallCNN, lambda network: network, (), library="own", words=(),
        ),
    )
}  # fmt: skip


def as_original(spec: EncoderSpec) -> EncoderSpec:
    """The encoder as the paper's code had it (DESIGN, What the original code got wrong).

    densenet121 ends before its last ReLU, so that features may be negative; inception_v3, trained
    at 299 px, is fed 224 px as the others. The other three are the same in both.
    """
    if spec.name == "densenet121":
        return replace(spec, trim=_trim_densenet_as_original)
    if spec.name == "inception_v3":
        return replace(spec, input_px=224)
    return spec
