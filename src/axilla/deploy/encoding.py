"""The frozen encoder of a finished model: the very weights that it was trained with, or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import ConfigError, WeightsError
from axilla.features.computing import FrozenEncoder
from axilla.study.bundles import encoder_settings
from axilla.study.embedding import ready_encoder

_SHOWN = 12
"""So many digits of a digest are printed: enough to tell two files apart."""


def encoder_for(record: Mapping[str, Any], given: Path | None) -> dict[str, Any]:
    """`encoder:` of a study that applies the model, from the model's record.

    Parameters
    ----------
    record
        Of the bundle.
    given
        File of the frozen encoder's weights, where the user names one.

    Raises
    ------
    ConfigError
        The model holds its encoder, or takes features made elsewhere, and a file is given.
    WeightsError
        The weights came from a file, and none is given.
    """
    if record["architecture"]["end_to_end"] or record["encoder"].get("imported"):
        if given is not None:
            raise ConfigError(
                "the model takes no encoder's weights: it "
                + ("takes features made elsewhere." if record["encoder"].get("imported")
                   else "holds its encoder."),
                "Leave out --encoder-weights.",
                file=given,
            )  # fmt: skip
        settings = encoder_settings(record["encoder"])
        # Those that the training began with are not needed.
        return {} if record["encoder"].get("imported") else {**settings, "weights": "none"}
    settings = encoder_settings(record["encoder"])
    if given is not None:
        return {**settings, "weights": str(given.resolve())}
    name = str(settings["weights"])
    if name not in WEIGHTS_WORDS:
        sha = record["encoder"].get("weights_sha256")
        raise WeightsError(
            f"the model's features come from {settings['name']} with the weights of the file "
            f"{name}, which the model's folder does not hold.",
            "Give that file with --encoder-weights"
            + (f" (its SHA-256 begins with {sha[:_SHOWN]})." if sha else "."),
        )
    return settings


def load_encoder(record: Mapping[str, Any], *, config: StudyConfig) -> FrozenEncoder | None:
    """The frozen encoder with the weights that the model was trained with; None without one.

    Raises
    ------
    WeightsError
        There are no weights, or they are not the model's.
    """
    if record.get("encoder") is None or not config.uses_patches:
        return None
    if config.encoder.trainable or config.imported is not None:
        return None
    _refuse_other_file(record["encoder"], config.encoder.weights)
    ready = ready_encoder(config)
    trained = record["encoder"].get("weights_digest")
    if trained is not None and ready.weights_digest != trained:
        raise _other_weights(config, trained, ready.weights_digest)
    return ready


def _refuse_other_file(record: Mapping[str, Any], weights: str) -> None:
    """A file is told from the model's by its bytes where the tensors' digest is not known."""
    sha = record.get("weights_sha256")
    if weights in WEIGHTS_WORDS or sha is None or record.get("weights_digest") is not None:
        return
    path = Path(weights)
    if not path.is_file():
        return  # told by whoever reads it
    found = store.file_identity(path, content=True)
    if found != sha:
        raise WeightsError(
            "these are not the weights that the model was trained with (SHA-256 "
            f"{found[:_SHOWN]}…, the model's {sha[:_SHOWN]}…).",
            "Give the file that the study named.",
            file=path,
        )


def _other_weights(config: StudyConfig, trained: str, found: str) -> WeightsError:
    told = f"(digest {found[:_SHOWN]}…, the model's {trained[:_SHOWN]}…)"
    weights = config.encoder.weights
    if weights in WEIGHTS_WORDS:
        return WeightsError(
            f"the {weights} weights of {config.encoder.name} on this machine are not those that "
            f"the model was trained with {told}, so its scores would mean nothing.",
            "Give the very weights with --encoder-weights FILE.",
        )
    return WeightsError(
        f"these are not the weights that the model was trained with {told}.",
        "Give the file that the study named.",
        file=Path(weights),
    )
