"""Every encoder by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axilla.core.encoder_names import TIMM_PREFIX
from axilla.features.pathology import PATHOLOGY_SPECS
from axilla.features.timm_models import timm_spec
from axilla.features.torchvision_specs import TORCHVISION_SPECS

if TYPE_CHECKING:
    from axilla.features.spec import EncoderSpec


def encoder_spec(name: str) -> EncoderSpec:
    """The specification of a named encoder; nothing is loaded.

    Raises
    ------
    ConfigError
        timm has no model of that name.
    WeightsError
        The encoder needs a library that is not installed.
    """
    if name.startswith(TIMM_PREFIX):
        return timm_spec(name)
    return TORCHVISION_SPECS[name] if name in TORCHVISION_SPECS else PATHOLOGY_SPECS[name]
