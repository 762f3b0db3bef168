"""A model loaded once, to be asked about many cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axilla.core.config import StudyConfig
from axilla.deploy.applying import clinical_columns
from axilla.deploy.encoding import load_encoder
from axilla.deploy.settings import config_of
from axilla.features.computing import FrozenEncoder
from axilla.mil.bundle import Bundle
from axilla.study.bundles import read_bundle


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A bundle with its encoder's weights read and compared with those it was trained with."""

    folder: Path
    bundle: Bundle
    encoder_weights: Path | None
    ready: FrozenEncoder | None
    """The frozen encoder; None where the bundle holds its own, or needs none."""

    @property
    def record(self) -> Mapping[str, Any]:
        """`model.json`."""
        return self.bundle.record

    @property
    def looks_at_slides(self) -> bool:
        """False for a clinical model."""
        return self.bundle.network is not None

    @property
    def takes_features(self) -> bool:
        """Whether it takes files of features made elsewhere in place of slides."""
        return bool((self.record.get("encoder") or {}).get("imported"))

    @property
    def columns(self) -> tuple[str, ...]:
        """Clinical columns that it reads, in its order."""
        return tuple(clinical_columns(self.bundle))

    @property
    def title(self) -> str:
        """What it predicts, such as 'N0 against N(+)'."""
        return " against ".join(self.bundle.classes)

    def config(self, out: Path) -> StudyConfig:
        """The study of cases under a folder."""
        return config_of(self.record, base=None, encoder_weights=self.encoder_weights, out=out)


def load_model(folder: Path, *, encoder_weights: Path | None = None) -> LoadedModel:
    """Read a bundle's folder, and its encoder where that is not within it.

    Parameters
    ----------
    folder
        Such as `out/models/dl-cnb`: model.safetensors and model.json.
    encoder_weights
        File of the frozen encoder's weights, where the study named a file.

    Raises
    ------
    StoreError
        The folder holds no whole model of this version.
    ConfigError
        The model cannot be applied to slides, or needs no file of weights and one is given.
    WeightsError
        The encoder's weights are not here, or not those that the model was trained with.
    """
    bundle = read_bundle(folder)
    config = config_of(bundle.record, base=None, encoder_weights=encoder_weights, out=folder)
    return LoadedModel(folder, bundle, encoder_weights, load_encoder(bundle.record, config=config))
