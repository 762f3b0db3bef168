"""Export a bundle as ONNX: the encoder with the head where its very weights are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from axilla.core.config_encoder import Encoder
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import ConfigError, WeightsError
from axilla.features.encoders import build_encoder
from axilla.mil.bundle import Bundle
from axilla.mil.onnx_export import Exported, export_onnx
from axilla.study.bundles import encoder_settings, read_bundle


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """What was written, and what it does not hold."""

    exported: Exported
    without_encoder: str | None
    """Why the graph takes features, not patches; None where it takes patches."""


def export_bundle(folder: Path, path: Path, *, encoder_weights: Path | None = None) -> OnnxExport:
    """Write the model of a folder as one graph of encoder and head.

    Parameters
    ----------
    encoder_weights
        File of the frozen encoder's weights, where the model was trained with a file's.

    Raises
    ------
    StoreError
        The folder holds no whole model of this version, or graph and model do not agree.
    ConfigError
        There is nothing to export, or the extra `onnx` is not installed.
    """
    bundle = read_bundle(folder)
    encoder, why = _frozen_encoder(bundle, encoder_weights)
    return OnnxExport(export_onnx(bundle, path, encoder=encoder), without_encoder=why)


def _frozen_encoder(bundle: Bundle, given: Path | None) -> tuple[nn.Module | None, str | None]:
    """The encoder that the head was trained on, or why it is not to be had."""
    if bundle.network is None or bundle.network.encoder is not None:
        return None, None
    record = bundle.record["encoder"]
    if record.get("imported"):
        return None, "its features were made elsewhere"
    if given is None and record["weights"] not in WEIGHTS_WORDS:
        return None, f"its encoder's weights came from the file {record['weights']}, not given here"
    settings = encoder_settings(record) | ({} if given is None else {"weights": str(given)})
    try:
        encoder = build_encoder(Encoder.model_validate(settings))
    except (WeightsError, ConfigError) as error:
        if given is not None:
            raise
        return None, f"its encoder cannot be loaded here: {error.problem.cause}"
    if encoder.weights_digest != record.get("weights_digest"):
        cause = "the encoder's weights are not those that the model was trained with"
        if given is not None:
            raise WeightsError(f"{cause}.", "Give the file that the study named.", file=given)
        return None, cause
    return encoder.eval(), None
