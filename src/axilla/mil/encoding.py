"""Features of patches, once each, for models that hold an encoder of their own."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

    from axilla.mil.model import DLCNB

Encode = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
"""From RGB patches [n, h, w, 3] to their features [n, D]."""

PATCHES_AT_ONCE = 64
"""Patches read and handed to the encoder together."""
_PIXELS_AT_ONCE = {"cpu": 8 * 256**2, "other": 128 * 256**2}
"""Pixels computed at once: of VGG16's widest maps each takes 256 bytes, and more patches are no
faster on a CPU."""


def encodes_alone(model: DLCNB) -> bool:
    """Whether the model has an encoder, and a patch's feature does not depend on its companions.

    It does under `batch_norm: batch`, as in the original code; then nothing can be computed once.
    """
    return model.encoder is not None and model.batch_norm == "running"


def head_of(model: DLCNB) -> DLCNB:
    """The model without its encoder, in evaluation mode; the weights are the very same.

    It takes features where the model took patches.
    """
    own = itertools.chain(model.parameters(), model.buffers(), (model.encoder,))
    # What is known already is not copied.
    head = copy.deepcopy(model, {id(part): part for part in own})
    head.encoder = None
    return head.eval()


def own_encoding(
    encoder: nn.Module,
    *,
    device: str = "cpu",
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Encode:
    """The encoder itself in evaluation mode, by PyTorch.

    Parameters
    ----------
    encoder
        On `device`, from [n, 3, h, w] uint8 to [n, D].
    precision
        bfloat16 multiplies in it, as training with `precision: bfloat16` does; the features are
        float32 all the same.
    """
    kind = torch.device(device).type
    pixels_at_once = _PIXELS_AT_ONCE.get(kind, _PIXELS_AT_ONCE["other"])

    def encode(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        encoder.eval()
        side = getattr(encoder, "input_px", None) or max(patches.shape[1:3])
        step = max(1, pixels_at_once // side**2)
        parts = []
        with (
            torch.inference_mode(),
            torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"),
        ):
            for start in range(0, len(patches), step):
                chunk = torch.from_numpy(np.ascontiguousarray(patches[start : start + step]))
                found = encoder(chunk.to(device).permute(0, 3, 1, 2))  # [n, D]
                parts.append(found.float().cpu().numpy())
        return np.concatenate(parts)

    return encode


def encode_rows(
    patches: Any, rows: Sequence[int] | NDArray[np.int64], *, encode: Encode
) -> NDArray[np.floating[Any]]:
    """Features of some of a slide's patches, each encoded once.

    Parameters
    ----------
    patches
        [n, h, w, 3] uint8: an array, or what reads the patches it is asked for.
    rows
        Which ones; what the other rows of the result hold is undefined.

    Returns
    -------
    ndarray
        [n, D], of the type that `encode` gives.
    """
    found: NDArray[np.floating[Any]] | None = None
    for start in range(0, len(rows), PATCHES_AT_ONCE):
        some = np.asarray(rows[start : start + PATCHES_AT_ONCE])
        features = encode(patches[some])
        if found is None:
            # Rows that nobody writes take no memory.
            found = np.empty((len(patches), features.shape[1]), features.dtype)
        found[some] = features
    return np.empty((len(patches), 0), np.float32) if found is None else found
