"""Features once, for a frozen encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from axilla.core.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from axilla.features.encoders import PatchEncoder


def extract_features(
    batches: Iterable[NDArray[np.uint8]], *, encoder: PatchEncoder, device: str = "cpu"
) -> NDArray[np.float16]:
    """Encode batches of patches with a frozen encoder in evaluation mode.

    Parameters
    ----------
    batches
        Arrays [n, h, w, 3] of uint8 RGB.

    Returns
    -------
    ndarray
        float16 [total n, D].

    Raises
    ------
    WeightsError
        The weights give features that float16 cannot hold.

    Notes
    -----
    Evaluation mode: a patch's feature does not depend on its companions, as it did in the
    original code (DESIGN, What the original code got wrong).
    """
    encoder = encoder.to(device).eval()
    parts = []
    with torch.inference_mode():
        for batch in batches:
            pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2)  # [n, 3, h, w]
            found = encoder(pixels).to(torch.float16).cpu().numpy()
            if not np.isfinite(found).all():
                raise WeightsError(
                    f"encoder {encoder.name} gives features that are no numbers or too large.",
                    "Check the file of weights that encoder.weights names.",
                )
            parts.append(found)
    if not parts:
        return np.zeros((0, encoder.features), np.float16)
    return np.concatenate(parts)
