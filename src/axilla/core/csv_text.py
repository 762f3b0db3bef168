"""What a CSV file is not: separated by commas, or written in UTF-8."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""How files begin that Excel calls Unicode text."""
_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_QUOTED = re.compile(r'"[^"]*"')
_KEY = "patient_id"
"""The column that every table of ours has."""


class Flaw(NamedTuple):
    """What is wrong with the text of a table."""

    cause: str
    remedy: str
    """Without its full stop: who asks may know of other kinds of file."""


def csv_flaw(path: Path) -> Flaw | None:
    """Why a file is no comma-separated UTF-8 table; None where it may be one.

    German Excel writes semicolons between the cells, since its numbers have decimal commas.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    data = path.read_bytes()
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        lines = data.removeprefix(codecs.BOM_UTF8)[: error.start].count(b"\n")
        line = 1 if data.startswith(_WIDE) else lines + 1
        return Flaw(f"is not written in UTF-8 (line {line}).", "Save it as CSV UTF-8")
    header = text.split("\n", 1)[0].strip("\r")
    if "\0" in header:  # UTF-16 without its mark
        return Flaw("is not written in UTF-8 (line 1).", "Save it as CSV UTF-8")
    for separator, name in _SEPARATORS.items():
        if _separates(separator, header):
            return Flaw(
                f"its columns are separated by {name}.",
                "Save it as CSV with commas and decimal points",
            )
    return None


def _separates(separator: str, header: str) -> bool:
    """Whether the names of the columns stand between these, and not between commas."""
    # A quoted name may hold either; what is asked is what stands between names.
    between = _QUOTED.sub(lambda name: re.sub(r"[,;\t]", " ", name[0]), header)
    names = [re.sub(r"\s+", "_", name.strip(' "').lower()) for name in between.split(",")]
    return between.count(separator) > between.count(",") and _KEY not in names
