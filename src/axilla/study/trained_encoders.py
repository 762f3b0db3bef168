"""How the encoder of a model trained end to end is computed in prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from axilla.features.computing import FrozenEncoder, choose_computing
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
        computing = choose_computing(setting, encoder=encoder)
        # A model must not become useless for weights that training happened to give.
        frozen = FrozenEncoder(encoder, computing=computing, falls_back=setting == "auto")
        self.encode = frozen.encode


_READY: WeakKeyDictionary[DLCNB, _Predicting] = WeakKeyDictionary()
"""An encoder is compiled once, however many slides and cohorts it is asked for."""
