"""A model as `models/<method>/` holds it: enough to predict anywhere, and no patient's row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from axilla.core.config import Aggregator
from axilla.core.errors import AxillaError, StoreError
from axilla.core.store import StoredModel
from axilla.mil.boosting import BoostingModel
from axilla.mil.clinical import LogisticModel, Preprocessor
from axilla.mil.model import DLCNB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A trained method: a clinical model, or the network with its preprocessor."""

    method: str
    classes: tuple[str, ...]
    record: Mapping[str, Any]
    """What study.py adds: endpoint, encoder, patches, bags, threshold, training summary."""
    logistic: LogisticModel | None = None
    network: DLCNB | None = None
    preprocessor: Preprocessor | None = None
    boosting: BoostingModel | None = None

    @property
    def clinical_model(self) -> LogisticModel | BoostingModel | None:
        """The model that reads clinical data alone, where the method is one."""
        return self.boosting if self.logistic is None else self.logistic


def to_stored(bundle: Bundle) -> StoredModel:
    """Tensors and record of a bundle."""
    record: dict[str, Any] = {
        **bundle.record,
        "method": bundle.method,
        "classes": list(bundle.classes),
        "clinical": None if bundle.preprocessor is None else bundle.preprocessor.to_json(),
    }
    if bundle.logistic is not None:
        record["architecture"] = {"kind": "logistic"}
        record["clinical"] = bundle.logistic.preprocessor.to_json()
        tensors = {"weights": bundle.logistic.weights, "intercept": bundle.logistic.intercept}
        return StoredModel(tensors=tensors, record=record)
    if bundle.boosting is not None:
        record["architecture"] = {"kind": "boosting"}
        record["clinical"] = bundle.boosting.preprocessor.to_json()
        return StoredModel(tensors=bundle.boosting.tensors(), record=record)
    if bundle.network is None:
        raise ValueError("a bundle holds a regression or a network")
    record["architecture"] = {
        "kind": "dl-cnb",
        "features": bundle.network.project[0].in_features,
        "clinical": bundle.network.clinical,
        "end_to_end": bundle.network.encoder is not None,
    }
    state = bundle.network.state_dict()
    return StoredModel(
        tensors={name: tensor.cpu().numpy() for name, tensor in state.items()}, record=record
    )


def from_stored(
    stored: StoredModel, *, make_encoder: Callable[[Mapping[str, Any]], nn.Module]
) -> Bundle:
    """The bundle as it was; `make_encoder` builds the encoder that the record describes.

    Raises
    ------
    StoreError
        Record and weights do not make a model: the file was changed, or comes from elsewhere.
    """
    try:
        return _from_stored(stored, make_encoder=make_encoder)
    except AxillaError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(
            f"the record of the model does not describe its weights "
            f"({(str(error).splitlines() or [type(error).__name__])[0]}).",
            "Get the model's folder again as it was written, or train it again.",
        ) from error


def _from_stored(
    stored: StoredModel, *, make_encoder: Callable[[Mapping[str, Any]], nn.Module]
) -> Bundle:
    record = stored.record
    classes = tuple(str(name) for name in record["classes"])
    method = str(record["method"])
    preprocessor = (
        None if record["clinical"] is None else Preprocessor.from_json(record["clinical"])
    )
    shape = record["architecture"]
    if shape["kind"] == "logistic":
        if preprocessor is None:
            raise ValueError("a logistic bundle holds its preprocessor")
        logistic = LogisticModel(
            preprocessor=preprocessor,
            weights=stored.tensors["weights"],
            intercept=stored.tensors["intercept"],
        )
        return Bundle(method=method, classes=classes, record=record, logistic=logistic)
    if shape["kind"] == "boosting":
        if preprocessor is None:
            raise ValueError("a boosting bundle holds its preprocessor")
        boosting = BoostingModel.from_tensors(
            stored.tensors, preprocessor=preprocessor, classes=len(classes)
        )
        return Bundle(method=method, classes=classes, record=record, boosting=boosting)
    network = DLCNB(
        encoder=make_encoder(record["encoder"]) if shape["end_to_end"] else None,
        features=int(shape["features"]),
        clinical=int(shape["clinical"]),
        classes=len(classes),
        config=Aggregator.model_validate(record["aggregator"]),
    )
    network.load_state_dict({n: torch.from_numpy(t) for n, t in stored.tensors.items()})
    return Bundle(
        method=method,
        classes=classes,
        record=record,
        network=network.eval(),
        preprocessor=preprocessor,
    )
