"""The authors' trained DL-CNB and DL-CNB+C, computed as their code computes (Xu 2021)."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axilla.core.errors import CohortError
from axilla.mil.model import DLCNB, BagOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from axilla.core.config import Aggregator
    from axilla.core.types import Patient

BatchNormBy = Literal["running", "batch"]
"""Whose mean and variance BatchNorm takes in prediction: those gathered in training, or the bag's.

The authors' code switched dropout off at test time, and nothing else: BatchNorm stayed in training
mode, took the statistics of the ten patches before it, and went on updating its running statistics
from validation and test bags. `batch` gives what that code printed. `running` is right: a patch's
feature does not depend on its companions. The saved running statistics are mostly those of the last
test bags, which came just before the weights were saved.
"""


class BagBatchNorm2d(nn.BatchNorm2d):
    """y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias over what is fed, in prediction too.

    In evaluation mode the running statistics are neither used nor updated; in training mode it is
    the ordinary layer. Names of weights are those of the ordinary layer.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [n, C, h, w]."""
        if self.training:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


def use_bag_statistics(network: nn.Module) -> None:
    """Make every BatchNorm2d of a network normalise by what it is fed; the weights stay."""
    for name, layer in list(network.named_children()):
        if isinstance(layer, nn.BatchNorm2d):
            with torch.device("meta"):
                own = BagBatchNorm2d(layer.num_features, eps=layer.eps, momentum=layer.momentum)
            # The very same tensors, so that whoever holds them holds these.
            own.load_state_dict(layer.state_dict(keep_vars=True), assign=True)
            setattr(network, name, own.train(layer.training))
        else:
            use_bag_statistics(layer)


class OriginalDLCNB(DLCNB):
    """DL-CNB with the authors' weights, an encoder of its own, and a choice of BatchNorm.

    Under `batch` each bag goes through the encoder alone, so that its patches, and no other bag's,
    make its statistics. Source: paper, section 2.2, and the authors' published code.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module | None,
        features: int,
        clinical: int,
        classes: int,
        config: Aggregator,
        batch_norm: BatchNormBy = "running",
    ) -> None:
        super().__init__(
            encoder=encoder, features=features, clinical=clinical, classes=classes, config=config
        )
        if batch_norm not in get_args(BatchNormBy):
            raise ValueError(f"batch_norm is {batch_norm!r}, neither running nor batch")
        self.batch_norm = batch_norm
        if batch_norm == "batch" and encoder is not None:
            use_bag_statistics(encoder)

    def forward(
        self, instances: Tensor, lengths: list[int], clinical: Tensor | None = None
    ) -> BagOutput:
        """Logits and attention of bags; see `DLCNB.forward` for the shapes."""
        if self.batch_norm == "running" or len(lengths) == 1:
            return super().forward(instances, lengths, clinical)
        outputs = [
            super(OriginalDLCNB, self).forward(
                bag, [len(bag)], None if clinical is None else clinical[index : index + 1]
            )
            for index, bag in enumerate(torch.split(instances, lengths))
        ]
        longest = max(lengths)
        return BagOutput(
            logits=torch.cat([output.logits for output in outputs]),  # [B, K]
            attention=torch.cat(
                [F.pad(o.attention, (0, longest - o.attention.shape[1])) for o in outputs]
            ),  # [B, N]
        )


def network_of(record: Mapping[str, Any]) -> Callable[..., DLCNB]:
    """What makes the network that a bundle's record describes: ours, or the authors'."""
    if not record.get("original"):
        return DLCNB
    return functools.partial(OriginalDLCNB, batch_norm=record["batch_norm"])


@dataclass(frozen=True, slots=True)
class OriginalPreprocessor:
    """The authors' five clinical inputs: two standardised numbers, three flags of negatives.

    Means and standard deviations (population, n) are those of the training patients the authors
    standardised with.
    """

    numeric: tuple[str, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    statuses: tuple[str, ...]
    """Columns that say positive or negative; each gives 1 where negative, else 0."""

    @property
    def width(self) -> int:
        """Length C of a patient's vector."""
        return len(self.numeric) + len(self.statuses)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each entry of a patient's vector."""
        return (*self.numeric, *(f"{column}=negative" for column in self.statuses))

    def transform(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """Vectors of patients, float64 [n, C].

        Raises
        ------
        CohortError
            A value is missing, or a status is neither positive nor negative.
        """
        return np.array([self._row(patient) for patient in patients]).reshape(-1, self.width)

    def _row(self, patient: Patient) -> list[float]:
        row = []
        for column, mean, sd in zip(self.numeric, self.means, self.sds, strict=True):
            row.append((float(_value(patient, column)) - mean) / sd)
        for column in self.statuses:
            status = str(_value(patient, column)).strip().lower()
            if status not in {"positive", "negative"}:
                raise CohortError(
                    f"`{column}` is {status!r}, which the imported model does not know.",
                    "Write positive or negative.",
                    patient=patient.patient_id,
                )
            row.append(float(status == "negative"))
        return row

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `kind` tells it from the preprocessor of our own models."""
        return {"kind": "original", **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> OriginalPreprocessor:
        """From what `to_json` gave."""
        return cls(
            numeric=tuple(value["numeric"]),
            means=tuple(value["means"]),
            sds=tuple(value["sds"]),
            statuses=tuple(value["statuses"]),
        )


def _value(patient: Patient, column: str) -> float | str:
    value = patient.clinical.get(column)
    if value is None:
        raise CohortError(
            f"`{column}` is missing, and the imported model has no rule for that.",
            f"Fill it in; the model needs `{column}` of every patient.",
            patient=patient.patient_id,
        )
    return value
