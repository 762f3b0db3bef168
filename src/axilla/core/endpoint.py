"""Endpoints: from the number of positive nodes, or any column, to a class (DESIGN, Endpoints)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from axilla.core.config import ClassesEndpoint, ColumnEndpoint, NodeEndpoint
from axilla.core.table import parse_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Stage = Literal["N0", "N+(1-2)", "N+(>=3)", "N(+)"]

_STATUS: Mapping[str, Stage] = {
    "n0": "N0",
    "0": "N0",
    "n+(1-2)": "N+(1-2)",
    "n1-2": "N+(1-2)",
    "n+(>2)": "N+(>=3)",
    "n+(>=3)": "N+(>=3)",
    "n+(≥3)": "N+(>=3)",
    "n3plus": "N+(>=3)",
    "n+": "N(+)",
    "n(+)": "N(+)",
    "npos": "N(+)",
}

_CLASS_OF: Mapping[NodeEndpoint, Mapping[Stage, int]] = {
    "n0-vs-npos": {"N0": 0, "N+(1-2)": 1, "N+(>=3)": 1, "N(+)": 1},
    "n1-2-vs-n3plus": {"N+(1-2)": 0, "N+(>=3)": 1},
    "n0-vs-n1-2-vs-n3plus": {"N0": 0, "N+(1-2)": 1, "N+(>=3)": 2},
    "n0-vs-n1-2": {"N0": 0, "N+(1-2)": 1},
    "n0-vs-n3plus": {"N0": 0, "N+(>=3)": 1},
}

_CLASSES: Mapping[NodeEndpoint, tuple[str, ...]] = {
    "n0-vs-npos": ("N0", "N(+)"),
    "n1-2-vs-n3plus": ("N+(1-2)", "N+(>=3)"),
    "n0-vs-n1-2-vs-n3plus": ("N0", "N+(1-2)", "N+(>=3)"),
    "n0-vs-n1-2": ("N0", "N+(1-2)"),
    "n0-vs-n3plus": ("N0", "N+(>=3)"),
}


@dataclass(frozen=True, slots=True)
class Outside:
    """The patient is not part of this endpoint."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The cell does not say what the endpoint needs."""

    cause: str
    remedy: str


def class_names(endpoint: NodeEndpoint | ColumnEndpoint | ClassesEndpoint) -> tuple[str, ...]:
    """Names of the classes, negative first."""
    return _CLASSES[endpoint] if isinstance(endpoint, str) else endpoint.names


def are_node_classes(classes: Sequence[str]) -> bool:
    """Whether these are the classes of a node endpoint whose negative class is N0."""
    return classes[0] == "N0" and tuple(classes) in _CLASSES.values()


def node_stage(*, nodes: str | None, aln_status: str | None) -> Stage | Unclear:
    """Stage from the count of positive nodes or, where there is no count, the written status.

    Where both are given they must not contradict each other.
    """
    written = _STATUS.get(re.sub(r"\s+", "", (aln_status or "").lower()))
    if nodes:
        count = parse_number(nodes)
        if count is None or count < 0 or count != int(count):
            return Unclear(
                f"`nodes` is {nodes!r}, which is no count of positive lymph nodes.",
                "Write 0, 1, 2, ...",
            )
        stage: Stage = "N0" if count == 0 else "N+(1-2)" if count <= 2 else "N+(>=3)"
        if written not in {None, stage, "N0" if stage == "N0" else "N(+)"}:
            return Unclear(
                f"`nodes` is {nodes!r}, but `aln_status` is {aln_status!r}.",
                "Correct one of the two.",
            )
        return stage
    if aln_status:
        return written or Unclear(
            f"`aln_status` is {aln_status!r}, which is no node status.",
            "Write N0, N+(1-2), N+(>2) or N+.",
        )
    return Unclear("the node status is missing.", "Fill in `nodes` (a count) or `aln_status`.")


def node_class(stage: Stage, endpoint: NodeEndpoint) -> int | Outside | Unclear:
    """Class index of a stage, or why there is none."""
    index = _CLASS_OF[endpoint].get(stage)
    if index is not None:
        return index
    if stage == "N(+)":
        return Unclear(
            f"`aln_status` is only N(+), and {endpoint} needs the number of positive nodes.",
            "Fill in `nodes`, or choose the endpoint n0-vs-npos.",
        )
    return Outside(f"{stage} is not part of the endpoint {endpoint}")


def column_class(cell: str, endpoint: ColumnEndpoint | ClassesEndpoint) -> int | Unclear:
    """Class index of a cell of the endpoint's column."""
    for index, name in enumerate(endpoint.names):
        number = parse_number(cell)
        # 1 and 1.0: a column of whole numbers with a gap is stored as fractions.
        if cell.lower() == name.lower() or (number is not None and number == parse_number(name)):
            return index
    shown = repr(cell) if cell else "missing"
    names = list(map(repr, endpoint.names))
    two = len(names) == 2
    none = f"neither {names[0]} nor {names[1]}" if two else f"none of {', '.join(names)}"
    return Unclear(
        f"`{endpoint.column}` is {shown}, {none}.", "Correct the cell, or leave the row out."
    )
