"""Bundles read back: those that a study trained, and imported ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axilla.core import store
from axilla.core.config_encoder import Encoder
from axilla.core.errors import StoreError
from axilla.core.naming import first_few
from axilla.features.encoders import PatchEncoder, encoder_to_fill
from axilla.mil.bundle import Bundle, from_stored

_NO_SETTINGS = ("weights_sha256", "weights_digest", "licence", "computing")
"""What a record tells of an encoder beside the settings of the study."""
_RECORD = "model.json"


def read_bundle(folder: Path) -> Bundle:
    """A model's folder as a bundle, ready to predict: imported, or one that a study trained.

    Raises
    ------
    StoreError
        The folder holds no whole model of this version.
    """
    refuse_folder_of_models(folder)
    return from_stored(store.read_model(folder), make_encoder=encoder_of)


def refuse_folder_of_models(folder: Path) -> None:
    """Say which models a folder holds that is none itself, such as `out/models` or `out`.

    Raises
    ------
    StoreError
        There are models in it, each in a folder of its own.
    """
    if (folder / _RECORD).is_file():
        return
    within = sorted(folder.glob(f"*/{_RECORD}")) or sorted(folder.glob(f"models/*/{_RECORD}"))
    names = [path.parent.relative_to(folder).as_posix() for path in within]
    if not names:
        return
    several = f"holds several models: {first_few(names)}."
    raise StoreError(
        f"the folder {several if len(names) > 1 else f'is no model; it holds one: {names[0]}.'}",
        "Name one of them." if len(names) > 1 else "Name that one.",
        file=folder,
    )


def encoder_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """The study's settings of an encoder, from a model's record."""
    return {n: v for n, v in record.items() if n not in _NO_SETTINGS}


def encoder_of(record: Mapping[str, Any]) -> PatchEncoder:
    """The encoder that a bundle's record describes, to be filled with the bundle's weights."""
    # Those that the training began with are not needed.
    return encoder_to_fill(Encoder.model_validate({**encoder_settings(record), "weights": "none"}))
