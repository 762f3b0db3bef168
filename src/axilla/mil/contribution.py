"""What each patch gives to the score: attention says where the model looks, not what it finds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from axilla.mil.encoding import PATCHES_AT_ONCE, encodes_alone, head_of, own_encoding
from axilla.mil.prediction import covering_bags, score_bags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from axilla.mil.batches import BagDrawer, Instances, PatientInstances
    from axilla.mil.encoding import Encode
    from axilla.mil.model import DLCNB


ROWS_AT_ONCE = 4 * PATCHES_AT_ONCE
"""At least so many patches are projected together: of VGG16_BN in float32 these are 26 MB."""


def is_told(model: DLCNB) -> bool:
    """Whether contributions can be told: two classes, and patches that do not change one another.

    Under `batch_norm: batch` a patch left out would change the features of all others.
    """
    alone = model.encoder is None or encodes_alone(model)
    return alone and model.classes == 2


def patch_contribution(
    model: DLCNB,
    patient: PatientInstances,
    slide_id: str,
    *,
    slides: Mapping[str, Instances],
    cover: BagDrawer,
    seed: int,
    draws: int = 4,
    device: str = "cpu",
    encode: Encode | None = None,
) -> NDArray[np.float64]:
    r"""Signed contribution of every patch of a slide to the log-odds of the positive class.

    .. math::
        c_i = \frac{1}{|B_i|} \sum_{b \in B_i} \ell(b) - \ell(b \setminus \{i\})

    :math:`\ell` is the model's log-odds of a bag and :math:`B_i` are the bags drawn that hold patch
    :math:`i`: what the score loses without it. The contributions of a bag do not add up to its
    score, since the classifier behind the pooling is no sum.

    Parameters
    ----------
    model
        Of two classes; see `is_told`.
    cover
        Draws bags in which every patch of the slide occurs at least once. Not asked where the
        patient's bags are given.
    draws
        Covers of the slide.
    encode
        What computes the model's encoder, where it has one; see `score_bags`.

    Returns
    -------
    ndarray
        float64 [n]; above 0 a patch speaks for the positive class. NaN where a patch is in no bag,
        or only ever alone in one.

    Raises
    ------
    ValueError
        The model's contributions cannot be told.
    """
    if not is_told(model):
        raise ValueError("contributions are told of two classes, with patches encoded alone")
    total = len(slides[slide_id])
    covers = covering_bags(patient, slide_id, patches=total, cover=cover, seed=seed, draws=draws)
    bags = [bag for bag in covers if len(bag.indices) > 1]
    without_one = [
        replace(bag, indices=np.delete(bag.indices, i))
        for bag in bags
        for i in range(len(bag.indices))
    ]
    pool, projected = projected_patches(model, slides[slide_id], device=device, encode=encode)
    own = {slide_id: projected}
    found = score_bags(pool, [*bags, *without_one], slides=own, device=device)
    odds = np.log([scores[1] for scores, _ in found]) - np.log([scores[0] for scores, _ in found])
    sums, counts = np.zeros(total), np.zeros(total)
    at = len(bags)
    for bag, whole in zip(bags, odds, strict=False):
        sums[bag.indices] += whole - odds[at : at + len(bag.indices)]
        counts[bag.indices] += 1
        at += len(bag.indices)
    mean = np.full(total, np.nan)
    np.divide(sums, counts, out=mean, where=counts > 0)
    return mean


def projected_patches(
    model: DLCNB, instances: Instances, *, device: str = "cpu", encode: Encode | None = None
) -> tuple[DLCNB, NDArray[np.float32]]:
    """The model behind its projection, and every patch projected, [n, width].

    A bag of n patches is scored n times, each time with all others: what does not depend on the
    bag is computed once, of fewer than twice `ROWS_AT_ONCE` patches at a time.
    """
    own = None if model.encoder is None else encode or own_encoding(model.encoder, device=device)
    pool = head_of(model)
    total = len(instances)
    # The rest goes with the last block: of a single row the sums would have another last digit.
    ends = range(ROWS_AT_ONCE, total - ROWS_AT_ONCE + 1, ROWS_AT_ONCE)
    found = np.empty((0, 0), np.float32)
    for rows in np.split(np.arange(total), ends):
        features = _features_of(instances, rows, encode=own)
        with torch.inference_mode():
            h = pool.project(torch.as_tensor(features, device=device).to(pool.dtype))
        if len(found) == 0:
            # In one piece: blocks that are kept among those let go of would tear up the memory.
            found = np.empty((total, h.shape[1]), np.float32)
        found[rows] = h.float().cpu().numpy()
    pool.project = nn.Sequential()
    return pool, found


def _features_of(
    instances: Instances, rows: NDArray[np.int64], *, encode: Encode | None
) -> NDArray[Any]:
    """Features [k, D] of some instances, which are such already where nothing encodes them."""
    if encode is None:
        return instances[rows]
    chunks = np.split(rows, range(PATCHES_AT_ONCE, len(rows), PATCHES_AT_ONCE))
    return np.concatenate([encode(instances[chunk]) for chunk in chunks])
