"""Bundles read back: those that a study trained, and imported ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axilla.core import store
from axilla.core.config_encoder import Encoder
from axilla.features.encoders import PatchEncoder, encoder_to_fill
from axilla.mil.bundle import Bundle, from_stored

_NO_SETTINGS = ("weights_sha256", "weights_digest", "licence", "computing")
"""What a record tells of an encoder beside the settings of the study."""


def read_bundle(folder: Path) -> Bundle:
    """A model's folder as a bundle, ready to predict: imported, or one that a study trained.

    Raises
    ------
    StoreError
        The folder holds no whole model of this version.
    """
    return from_stored(store.read_model(folder), make_encoder=encoder_of)


def encoder_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """The study's settings of an encoder, from a model's record."""
    return {n: v for n, v in record.items() if n not in _NO_SETTINGS}


def encoder_of(record: Mapping[str, Any]) -> PatchEncoder:
    """The encoder that a bundle's record describes, to be filled with the bundle's weights."""
    # Those that the training began with are not needed.
    return encoder_to_fill(Encoder.model_validate({**encoder_settings(record), "weights": "none"}))
