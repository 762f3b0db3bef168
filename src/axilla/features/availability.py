"""Which encoders can be used here and now, found out without loading or downloading anything."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from axilla.core.encoder_names import ENCODERS
from axilla.features.hub import cached_file, how_to_get_access
from axilla.features.registry import encoder_spec
from axilla.features.weights import torchvision_cache

if TYPE_CHECKING:
    from axilla.features.spec import EncoderSpec


@dataclass(frozen=True, slots=True)
class Availability:
    """One encoder, and what stands between it and this machine."""

    name: str
    input_px: int | None
    """None: takes patches as they are cut."""
    features: int
    """Length of the feature vector."""
    terms: str
    """Licence of the weights, in a few words."""
    ready: bool
    """Whether its published weights can be loaded now, without a network."""
    state: str
    """Why, and what to do where it is not ready."""


def encoder_availability(name: str) -> Availability:
    """What can be said of an encoder without importing timm or touching the network.

    Raises
    ------
    ConfigError, WeightsError
        For `timm:<model>`: as `encoder_spec`, which does import timm.
    """
    spec = encoder_spec(name)
    ready, state = _state(spec)
    terms = (
        spec.published.terms if spec.published is not None else "torchvision's; trained on ImageNet"
    )
    return Availability(
        name=name,
        input_px=spec.input_px,
        features=spec.features,
        terms="trained by you" if name == "small_cnn" else terms,
        ready=ready,
        state=state,
    )


def all_encoders() -> tuple[Availability, ...]:
    """Every encoder that has a name of its own; any model of timm goes beside them."""
    return tuple(encoder_availability(name) for name in ENCODERS)


def _state(spec: EncoderSpec) -> tuple[bool, str]:
    if spec.name == "small_cnn":
        return True, "no weights needed: it is trained"
    if spec.library == "torchvision":
        if torchvision_cache(spec).is_file():
            return True, "weights in the cache"
        return False, "weights not here: downloaded when first used, or give a file"
    return _timm_state(spec)


def _timm_state(spec: EncoderSpec) -> tuple[bool, str]:
    if importlib.util.find_spec("timm") is None:
        return False, "library missing: pip install 'axilla[timm]'"
    if spec.published is None:
        return False, "no published weights: give a file"
    if cached_file(spec.published) is not None:
        return True, "weights in the cache"
    if not spec.published.gated:
        return False, "weights not here: downloaded when first used, or give a file"
    access = how_to_get_access(spec.published)
    return False, f"gated: {access} Or give a file ({spec.published.file})."
