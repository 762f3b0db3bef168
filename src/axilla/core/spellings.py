"""Spellings of positive and negative: one value written in several ways is several categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axilla.core.config_clinical import KNOWN_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPELLINGS = (
    frozenset({"positive", "positiv", "pos", "pos.", "p", "+", "+ve", "1", "1.0"}),
    frozenset({"negative", "negativ", "neg", "neg.", "n", "-", "-ve", "0", "0.0"}),
)
"""Of positive and of negative, in lower case."""


def several_spellings(name: str, cells: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Spellings of each value that a column of categories writes in more than one way.

    Asked of the receptors, and of a column that holds nothing but positive and negative. Nothing is
    merged here: whether `1` means positive is for the study to say.
    """
    levels = {cell.lower() for cell in cells} - {""}
    if name not in KNOWN_CATEGORIES and levels - frozenset().union(*_SPELLINGS):
        return ()
    if any(level.isdecimal() and int(level) > 1 for level in levels):
        # HER2 by immunohistochemistry: 0 to 3 are scores there, and a score of 1 is negative.
        levels = {level for level in levels if not level[0].isdecimal()}
    found = (tuple(sorted(levels & spellings)) for spellings in _SPELLINGS)
    return tuple(several for several in found if len(several) > 1)
