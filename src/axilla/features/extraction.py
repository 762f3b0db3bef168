"""Features once, for a frozen encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from axilla.features.computing import Computing, FrozenEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from axilla.features.encoders import PatchEncoder

_AS_DEFINED = Computing()


def extract_features(
    batches: Iterable[NDArray[np.uint8]],
    *,
    encoder: PatchEncoder,
    device: str = "cpu",
    computing: Computing = _AS_DEFINED,
) -> NDArray[np.float16]:
    """Encode batches of patches with a frozen encoder in evaluation mode.

    Parameters
    ----------
    batches
        Arrays [n, h, w, 3] of uint8 RGB.
    computing
        Precision and library, of `choose_computing`; float32 by PyTorch where none is given. For
        many slides make one `FrozenEncoder` instead.

    Returns
    -------
    ndarray
        float16 [total n, D].

    Raises
    ------
    WeightsError
        The weights give features that float16 cannot hold, or that bfloat16 changes.

    Notes
    -----
    Evaluation mode: a patch's feature does not depend on its companions, as it did in the
    original code (DESIGN, What the original code got wrong).
    """
    frozen = FrozenEncoder(encoder, computing=computing, device=device)
    parts = [frozen.encode(batch) for batch in batches if len(batch)]
    if not parts:
        return np.zeros((0, encoder.features), np.float16)
    return np.concatenate(parts)
