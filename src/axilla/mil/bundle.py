"""A model as `models/<method>/` holds it: enough to predict anywhere, and no patient's row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from axilla.core.config import Aggregator
from axilla.core.errors import AxillaError, StoreError
from axilla.core.store import StoredModel
from axilla.mil.boosting import BoostingModel
from axilla.mil.clinical import LogisticModel, Preprocessor
from axilla.mil.model import DLCNB
from axilla.mil.original import OriginalPreprocessor, network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from axilla.core.types import Patient

    AnyPreprocessor = Preprocessor | OriginalPreprocessor
    Tensors = Mapping[str, NDArray[Any]]
    MakeEncoder = Callable[[Mapping[str, Any]], nn.Module]


class ClinicalModel(Protocol):
    """A model of clinical data alone."""

    @property
    def preprocessor(self) -> Preprocessor:
        """From a patient's values to a vector."""

    def predict(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """Probability of each class, float64 [n, K]."""


@dataclass(frozen=True, slots=True)
class ClinicalKind:
    """How one kind of clinical model becomes tensors and comes back."""

    model: type
    to_tensors: Callable[[Any], Tensors]
    from_tensors: Callable[[Preprocessor, Tensors, int], ClinicalModel]
    """The last is the number of classes."""


CLINICAL_KINDS: Mapping[str, ClinicalKind] = {
    "logistic": ClinicalKind(
        LogisticModel,
        lambda model: {"weights": model.weights, "intercept": model.intercept},
        lambda preprocessor, tensors, _: LogisticModel(
            preprocessor=preprocessor, weights=tensors["weights"], intercept=tensors["intercept"]
        ),
    ),
    "boosting": ClinicalKind(
        BoostingModel,
        lambda model: model.tensors(),
        lambda preprocessor, tensors, classes: BoostingModel.from_tensors(
            tensors, preprocessor=preprocessor, classes=classes
        ),
    ),
}
"""By `architecture.kind`; another learner is another entry."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One trained model: a clinical model, or a network, with the preprocessor of what it fuses."""

    network: DLCNB | None = None
    preprocessor: AnyPreprocessor | None = None
    clinical_model: ClinicalModel | None = None

    @property
    def reads(self) -> AnyPreprocessor | None:
        """The preprocessor of either."""
        return (
            self.preprocessor if self.clinical_model is None else self.clinical_model.preprocessor
        )


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A trained method: one model, or an ensemble whose score is the members' mean."""

    method: str
    classes: tuple[str, ...]
    record: Mapping[str, Any]
    """What the study adds; see `core.store.ModelRecord`."""
    members: tuple[Member, ...]

    @classmethod
    def single(
        cls,
        method: str,
        classes: tuple[str, ...],
        record: Mapping[str, Any],
        *,
        network: DLCNB | None = None,
        preprocessor: AnyPreprocessor | None = None,
        clinical_model: ClinicalModel | None = None,
    ) -> Bundle:
        """A bundle of one model."""
        return cls(method, classes, record, (Member(network, preprocessor, clinical_model),))

    @property
    def network(self) -> DLCNB | None:
        """The first member's network: all members have its shape."""
        return self.members[0].network

    @property
    def clinical_model(self) -> ClinicalModel | None:
        """The first member's clinical model."""
        return self.members[0].clinical_model

    @property
    def preprocessor(self) -> AnyPreprocessor | None:
        """The first member's preprocessor; members of several folds each have their own."""
        return self.members[0].reads


def to_stored(bundle: Bundle) -> StoredModel:
    """Tensors and record of a bundle.

    A single model's tensors keep their own names; those of the i-th of several members begin with
    `member<i>.`.
    """
    parts = [_tensors(member) for member in bundle.members]
    first = bundle.members[0]
    common = None if first.reads is None else first.reads.to_json()
    told = bundle.record.get("members") or [{} for _ in parts]
    own = [None if m.reads is None or m.reads == first.reads else m.reads.to_json()
           for m in bundle.members]  # fmt: skip
    record: dict[str, Any] = {
        **bundle.record,
        "method": bundle.method,
        "classes": list(bundle.classes),
        "clinical": common,
        "architecture": _architecture(first),
        "members": [
            {**said, "clinical": clinical} for said, clinical in zip(told, own, strict=True)
        ],
    }
    if len(parts) == 1:
        return StoredModel(tensors=parts[0], record=record)
    return StoredModel(
        tensors={
            f"{_prefix(index)}{name}": tensor
            for index, part in enumerate(parts)
            for name, tensor in part.items()
        },
        record=record,
    )


def from_stored(stored: StoredModel, *, make_encoder: MakeEncoder) -> Bundle:
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


def _from_stored(stored: StoredModel, *, make_encoder: MakeEncoder) -> Bundle:
    record = stored.record
    told = record["members"]
    parts = [dict(stored.tensors)] if len(told) == 1 else _parts(stored.tensors, len(told))
    members = []
    for said, tensors in zip(told, parts, strict=True):
        clinical = said.get("clinical") or record["clinical"]
        preprocessor = _preprocessor(clinical)
        members.append(_member(record, preprocessor, tensors, make_encoder=make_encoder))
    return Bundle(
        method=str(record["method"]),
        classes=tuple(str(name) for name in record["classes"]),
        record=record,
        members=tuple(members),
    )


def _member(
    record: Mapping[str, Any],
    preprocessor: AnyPreprocessor | None,
    tensors: Tensors,
    *,
    make_encoder: MakeEncoder,
) -> Member:
    shape = record["architecture"]
    if shape["kind"] != "dl-cnb":
        if shape["kind"] not in CLINICAL_KINDS:
            raise ValueError(f"{shape['kind']} is no kind of model that this axilla knows")
        if not isinstance(preprocessor, Preprocessor):
            raise ValueError("a clinical model holds its preprocessor")
        kind = CLINICAL_KINDS[shape["kind"]]
        return Member(
            clinical_model=kind.from_tensors(preprocessor, tensors, len(record["classes"]))
        )
    network = network_of(record)(
        encoder=make_encoder(record["encoder"]) if shape["end_to_end"] else None,
        features=int(shape["features"]),
        # Folds may have seen other categories: each member's vector has its own length.
        clinical=0 if preprocessor is None else preprocessor.width,
        classes=len(record["classes"]),
        config=Aggregator.model_validate(record["aggregator"]),
    )
    network.load_state_dict({n: torch.from_numpy(t) for n, t in tensors.items()})
    return Member(network=network.eval(), preprocessor=preprocessor)


def _preprocessor(value: Mapping[str, Any] | None) -> AnyPreprocessor | None:
    if value is None:
        return None
    if value.get("kind") == "original":
        return OriginalPreprocessor.from_json(value)
    return Preprocessor.from_json(value)


def _architecture(member: Member) -> dict[str, Any]:
    if member.clinical_model is not None:
        kinds = [n for n, k in CLINICAL_KINDS.items() if isinstance(member.clinical_model, k.model)]
        return {"kind": kinds[0]}
    if member.network is None:
        raise ValueError("a member of a bundle is a clinical model or a network")
    return {
        "kind": "dl-cnb",
        "features": member.network.features,
        "clinical": member.network.clinical,
        "end_to_end": member.network.encoder is not None,
    }


def _tensors(member: Member) -> dict[str, NDArray[Any]]:
    if member.clinical_model is not None:
        return dict(CLINICAL_KINDS[_architecture(member)["kind"]].to_tensors(member.clinical_model))
    if member.network is None:
        raise ValueError("a member of a bundle is a clinical model or a network")
    return {n: tensor.cpu().numpy() for n, tensor in member.network.state_dict().items()}


def _prefix(index: int) -> str:
    return f"member{index}."


def _parts(tensors: Tensors, count: int) -> list[dict[str, NDArray[Any]]]:
    """The tensors of each member, under their own names."""
    parts: list[dict[str, NDArray[Any]]] = [{} for _ in range(count)]
    places = {_prefix(index): index for index in range(count)}
    for name, tensor in tensors.items():
        head, dot, rest = name.partition(".")
        if head + dot not in places:
            raise ValueError(f"the tensor {name} belongs to none of the {count} members")
        parts[places[head + dot]][rest] = tensor
    return parts
