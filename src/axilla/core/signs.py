"""Plus and minus as tables write them: a lone sign may be a category of its own."""

from __future__ import annotations

_DASHES = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d")
_PLUSES = frozenset("+\ufe62\uff0b")


def plain_sign(text: str) -> str:
    """`-` for any dash that stands alone, `+` for any plus; other text as it is."""
    if text in _DASHES:
        return "-"
    return "+" if text in _PLUSES else text
