"""Names in a sentence: the first few, and how many more there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FEW = 5


def first_few(names: Sequence[str], *, most: int = FEW) -> str:
    """The first names, separated by commas; the others are counted."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
