"""The names that `methods` may have, and what each stands for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

AggregatorKind = Literal[
    "attention", "gated", "mean", "max", "transmil", "clam", "dsmil", "dtfdmil", "transformer"
]
AGGREGATORS: tuple[AggregatorKind, ...] = get_args(AggregatorKind)
"""Ways in which a bag's instances become one vector."""
ZOO: tuple[AggregatorKind, ...] = ("transmil", "clam", "dsmil", "dtfdmil", "transformer")
"""Those of them that the extra `zoo` brings, from the library torchmil."""
ZOO_HEADS = 8
"""Heads of the zoo's self-attention at most; they share the width equally."""
_PRINTED = {"transmil": "TransMIL", "clam": "CLAM", "dsmil": "DSMIL", "dtfdmil": "DTFD-MIL"}
_FAMILIES = {"dl-cnb": "DL-CNB", "dl-cnb+c": "DL-CNB+C"}
NUCLEI = "dl-cnb-nuclei"
"""DL-CNB re-trained on bags of nucleus features (paper, section 2.4)."""
_CLINICAL = {
    "clinical": "Clinical data only",
    "clinical-boosting": "Clinical data, gradient boosting",
}


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """What a method reads, and how it differs from the study's own settings."""

    name: str
    title: str
    """As tables and figures print it."""
    images: bool
    clinical: bool
    variant: AggregatorKind | None = None
    """The aggregator that the name asks for (`dl-cnb-gated`); None takes the study's."""
    nuclei: bool = False
    """Looks at nucleus features instead of patches."""


@cache
def _specs() -> dict[str, MethodSpec]:
    specs = [MethodSpec(n, title, images=False, clinical=True) for n, title in _CLINICAL.items()]
    for family, title in _FAMILIES.items():
        fused = family.endswith("+c")
        specs.append(MethodSpec(family, f"{title} model", images=True, clinical=fused))
        specs += [
            MethodSpec(
                f"{family}-{kind}", f"{title}, {aggregator_title(kind)}", True, fused, variant=kind
            )
            for kind in AGGREGATORS
        ]
    specs.append(MethodSpec(NUCLEI, "DL-CNB, nucleus features", True, False, nuclei=True))
    return {spec.name: spec for spec in specs}


def aggregator_title(kind: AggregatorKind) -> str:
    """How an aggregator is printed."""
    return _PRINTED.get(kind, kind)


def method_names() -> tuple[str, ...]:
    """Every name that `methods` may have."""
    return tuple(_specs())


def method_spec(name: str) -> MethodSpec:
    """What a method of the study stands for; its name was checked with the study."""
    return _specs()[name]


def method_title(name: str) -> str:
    """How a method is printed; predictions made elsewhere keep the name they came with."""
    spec = _specs().get(name)
    return name if spec is None else spec.title


def _known(name: str) -> str:
    if name in _specs():
        return name
    said = (
        f"{', '.join([*_CLINICAL, *_FAMILIES])}, one of the last two with an aggregator, as "
        f"dl-cnb-gated, or {NUCLEI}"
    )
    # Every name is too long a sentence; the sentence names the nearest of them.
    raise PydanticCustomError(
        "unknown_name", "may be {expected}", {"expected": said, "known": list(method_names())}
    )


MethodName = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"enum": list(method_names()), "type": "string"})
]
