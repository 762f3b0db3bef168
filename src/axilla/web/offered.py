"""The models that new cases are shown to: named by the server's owner, and the study's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axilla.core import store
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import AxillaError, ConfigError
from axilla.core.methods import method_names, method_spec, method_title
from axilla.core.recent import Recent
from axilla.deploy.loading import LoadedModel, load_model
from axilla.study.bundles import encoder_settings
from axilla.web.file_routes import model_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from axilla.study.opened import OpenedEndpoint

_HELD = 3
"""Models held in memory; an encoder may have a gigabyte of weights."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One model."""

    folder: Path
    title: str
    generated: bool
    """Whether it was trained on a generated cohort."""
    encoder_weights: Path | None


class Offered:
    """Models by their place in a list, each loaded when first asked for.

    Parameters
    ----------
    offers
        Of `offers_of` and `study_offers`; a folder named twice is offered once.
    """

    def __init__(self, offers: Sequence[Offer]) -> None:
        once: dict[Path, Offer] = {}
        for offer in offers:
            once.setdefault(offer.folder.resolve(), offer)
        self.offers = tuple(once.values())
        self._held: Recent[LoadedModel] = Recent(_HELD)

    def load(self, place: int) -> LoadedModel:
        """The model at a place.

        Raises
        ------
        LookupError
            There is none.
        AxillaError
            It is damaged, or its encoder's weights are not here.
        """
        if not 0 <= place < len(self.offers):
            raise LookupError("There is no such model.")
        offer = self.offers[place]
        return self._held.get(
            place, lambda: load_model(offer.folder, encoder_weights=offer.encoder_weights)
        )

    def __len__(self) -> int:
        return len(self.offers)


def offers_of(folders: Sequence[Path], *, encoder_weights: Path | None) -> tuple[Offer, ...]:
    """Models that the server's owner named; what cannot be asked is refused at once.

    Raises
    ------
    StoreError
        A folder holds no whole model.
    ConfigError
        A model takes features made elsewhere, or nuclei.
    """
    return tuple(_offer(folder, encoder_weights=encoder_weights) for folder in folders)


def study_offers(endpoints: Sequence[OpenedEndpoint]) -> Iterator[Offer]:
    """The models of a study that can be asked about a slide; the others are passed over."""
    for endpoint in endpoints:
        named = Path(endpoint.config.encoder.weights)
        weights = named if named.is_file() else None
        for _, folder in model_folders(endpoint):
            try:
                yield _offer(folder, encoder_weights=weights)
            except AxillaError:
                continue


def _offer(folder: Path, *, encoder_weights: Path | None) -> Offer:
    record = store.read_model_record(folder)
    method = str(record["method"])
    if method not in method_names() or method_spec(method).nuclei:
        raise ConfigError(
            f"a new case cannot be shown to a model of the method {method}.",
            "Serve a model of patches or of clinical values, such as dl-cnb+c.",
            file=folder,
        )
    if (record.get("encoder") or {}).get("imported"):
        raise ConfigError(
            "the model takes features made elsewhere, and the page takes slides.",
            "Ask it with `axilla predict-case`.",
            file=folder,
        )
    classes = " against ".join(record["classes"])
    study = record.get("study")
    return Offer(
        folder=folder,
        title=f"{method_title(method)}: {classes}" + (f" ({study})" if study else ""),
        generated=bool(record.get("generated")),
        encoder_weights=encoder_weights if _from_file(record) else None,
    )


def _from_file(record: Mapping[str, Any]) -> bool:
    """Whether the features come from an encoder whose weights a file held."""
    encoder = record.get("encoder")
    if encoder is None or (record.get("architecture") or {}).get("end_to_end"):
        return False
    return str(encoder_settings(encoder).get("weights")) not in WEIGHTS_WORDS
