"""How the encoder of a model trained end to end is computed in prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from axilla.core.errors import WeightsError
from axilla.features.computing import Computing, FrozenEncoder, choose_computing
from axilla.features.encoders import PatchEncoder
from axilla.mil.model import DLCNB

if TYPE_CHECKING:
    from axilla.core.config_encoder import Encoder as EncoderConfig
    from axilla.mil.encoding import Encode


def encode_of(network: DLCNB, *, config: EncoderConfig) -> Encode | None:
    """What computes a trained network's encoder; None leaves it to the network.

    It is computed as a frozen one is, `encoder.precision` and the extra `openvino` alike. A small
    one that takes patches as they are cut is quick anyway and stays in float32. The network is
    taken as trained: its weights do not change any more.
    """
    encoder = network.encoder
    if not isinstance(encoder, PatchEncoder) or encoder.input_px is None:
        return None
    known = _READY.get(network)
    if known is None or known.setting != config.precision:
        known = _READY[network] = _Predicting(encoder, setting=config.precision)
    return known.encode


class _Predicting:
    """In the precision that `auto` chose, if it leaves the features as they are."""

    def __init__(
        self, encoder: PatchEncoder, *, setting: Literal["auto", "float32", "bfloat16"]
    ) -> None:
        self.setting = setting
        self._encoder = encoder
        computing = choose_computing(setting, encoder=encoder)
        self._frozen = FrozenEncoder(encoder, computing=computing)

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float16]:
        """RGB [n, h, w, 3] to features [n, D]."""
        try:
            return self._frozen.encode(patches)
        except WeightsError:
            # A model must not become useless for weights that training happened to give.
            if self.setting != "auto" or self._frozen.computing.precision == "float32":
                raise
        exact = Computing("float32", self._frozen.computing.backend)
        self._frozen = FrozenEncoder(self._encoder, computing=exact)
        return self._frozen.encode(patches)


_READY: WeakKeyDictionary[DLCNB, _Predicting] = WeakKeyDictionary()
"""An encoder is compiled once, however many slides and cohorts it is asked for."""
