"""The names that `methods` may have, and what each stands for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

AGGREGATORS = ("attention", "gated", "mean", "max")
"""Ways in which a bag's instances become one vector."""
_FAMILIES = {"dl-cnb": "DL-CNB", "dl-cnb+c": "DL-CNB+C"}
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
    variant: str | None = None
    """The aggregator that the name asks for (`dl-cnb-gated`); None takes the study's."""


@cache
def _specs() -> dict[str, MethodSpec]:
    specs = [MethodSpec(n, title, images=False, clinical=True) for n, title in _CLINICAL.items()]
    for family, title in _FAMILIES.items():
        fused = family.endswith("+c")
        specs.append(MethodSpec(family, f"{title} model", images=True, clinical=fused))
        specs += [
            MethodSpec(f"{family}-{kind}", f"{title}, {kind}", True, fused, variant=kind)
            for kind in AGGREGATORS
        ]
    return {spec.name: spec for spec in specs}


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
    # The kind of a Literal's error: its sentence names the nearest known value.
    raise PydanticKnownError("literal_error", {"expected": ", ".join(method_names())})


MethodName = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"enum": list(method_names()), "type": "string"})
]
