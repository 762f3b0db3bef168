"""What a file of features says of its encoder, without reading the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

if TYPE_CHECKING:
    from pathlib import Path


def read_weights_digest(path: Path) -> str | None:
    """Digest of the encoder's weights that the features were made with; None if it does not say."""
    return _attribute(path, "weights_digest")


def read_computing(path: Path) -> str | None:
    """Precision and library that the features were made with; None if it does not say."""
    return _attribute(path, "computing") or None


def _attribute(path: Path, name: str) -> str | None:
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get(name)
    except OSError:
        return None
    return None if found is None else str(found)
