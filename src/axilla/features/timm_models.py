"""Encoders from timm: any model by its name, built without weights."""

from __future__ import annotations

import difflib
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from axilla.core.encoder_names import TIMM_PREFIX
from axilla.core.errors import ConfigError, WeightsError
from axilla.features.spec import EncoderSpec, Published

if TYPE_CHECKING:
    from types import ModuleType


def import_timm(encoder: str) -> ModuleType:
    """The library, which is an extra.

    Raises
    ------
    WeightsError
        It is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise WeightsError(
            f"encoder {encoder} needs the library timm, which is not installed.",
            "Run: pip install 'axilla[timm]'; or choose an encoder of torchvision, such as "
            "resnet50.",
        ) from error
    module: ModuleType = timm
    return module


def build_timm(encoder: str, architecture: str, **arguments: Any) -> nn.Module:
    """A network of timm without classifier and with drawn weights."""
    timm = import_timm(encoder)
    network: nn.Module = timm.create_model(
        architecture, pretrained=False, num_classes=0, **arguments
    )
    return network


@functools.lru_cache(maxsize=8)
def timm_spec(name: str) -> EncoderSpec:
    """The specification of `timm:<model>`, with size, normalisation and weights as timm has them.

    The whole patch is resized to the input; timm's own crop of the centre is for photographs.

    Raises
    ------
    ConfigError
        timm has no such model.
    WeightsError
        timm is not installed.
    """
    timm = import_timm(name)
    model = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(model):
        near = difflib.get_close_matches(model.split(".")[0], timm.list_models(), 1, 0.4)
        raise ConfigError(
            f"timm {timm.__version__} has no model {model!r}."
            + (f" Did you mean `{TIMM_PREFIX}{near[0]}`?" if near else ""),
            "Set encoder.name to a model that timm.list_models() names.",
        )
    try:
        config = timm.get_pretrained_cfg(model, allow_unregistered=False)
    except RuntimeError as error:
        raise ConfigError(
            f"timm {timm.__version__} has no weights {model!r}.",
            "Leave out what follows the point in encoder.name, or see timm.list_pretrained().",
        ) from error
    build, step = _builder(name, model)
    classifiers = config.classifier or ()
    names = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    return EncoderSpec(
        name=name,
        input_px=int(config.input_size[-1]),
        features=_length(build, int(config.input_size[-1])),
        mean=tuple(config.mean),
        std=tuple(config.std),
        build=build,
        trim=_as_it_is,
        ignored=tuple(f"{classifier}." for classifier in names),
        library="timm",
        words=("imagenet", "published") if config.hf_hub_id else (),
        published=None if not config.hf_hub_id else Published(
            repository=config.hf_hub_id,
            file="model.safetensors",
            terms=str(config.license or "see the model's page"),
        ),
        interpolation="bicubic" if config.interpolation == "bicubic" else "bilinear",
        step_px=step,
    )  # fmt: skip


def _builder(name: str, model: str) -> tuple[functools.partial[nn.Module], int]:
    """How the network is built, and what its side is a multiple of."""
    build = functools.partial(build_timm, name, model)
    with torch.device("meta"):
        try:
            # A transformer that takes another size than the one it was trained with.
            network = build(dynamic_img_size=True)
        except TypeError:
            return build, 1
    size = getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))
    return functools.partial(build, dynamic_img_size=True), int(size[0])


def _length(build: functools.partial[nn.Module], side: int) -> int:
    """Length of the feature vector, found without computing."""
    with torch.device("meta"):
        found = build().eval()(torch.empty(1, 3, side, side))
    return int(found.flatten(1).shape[1])


def _as_it_is(network: nn.Module) -> nn.Module:
    return network
