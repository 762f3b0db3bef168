"""What a file of features says of its encoder, without reading the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

if TYPE_CHECKING:
    from pathlib import Path


def read_weights_digest(path: Path) -> str | None:
    """Digest of the encoder's weights that the features were made with; None if it does not say."""
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("weights_digest")
    except OSError:
        return None
    return None if found is None else str(found)
