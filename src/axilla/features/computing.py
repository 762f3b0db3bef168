"""How a frozen encoder is computed: in which precision, and by which library."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from axilla.core.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from axilla.features.encoders import PatchEncoder

_AT_ONCE = 8
"""Patches computed at once where nothing else is measured: more are no faster on a CPU."""
_OTHERS_AT_ONCE = {
    ("alexnet", "torch"): 16, ("alexnet", "openvino"): 16,  # narrow maps: as much as 15% faster
    ("vgg16_bn", "torch"): 4, ("vgg16_bn", "openvino"): 4,
    ("inception_v3", "openvino"): 2,
}  # fmt: skip
"""Where other numbers are measured: VGG16_BN and Inception-v3 are as fast by fewer, with 60 to 100
MB less, so that peak memory stays below 1.5 GB."""
MIN_COSINE = 0.9999
"""Between a patch's features in bfloat16 and in float32; measured: 0.99997 and more."""
_COMPARED = 4
_CONVERTED = frozenset({"alexnet", "vgg16_bn", "resnet50", "densenet121", "inception_v3"})
"""Encoders whose features by OpenVINO are measured; tracing others may fix what varies."""
_HARDWARE = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True, slots=True)
class Computing:
    """What the features depend on besides patches and weights, as far as rounding goes.

    The same computing on the same machine with as many threads gives the same bytes; other
    machines, versions or numbers of threads may round the last bit of a sum another way.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    backend: Literal["torch", "openvino"] = "torch"

    def __str__(self) -> str:
        return f"{self.precision}, {self.backend}"


def choose_computing(
    setting: Literal["auto", "float32", "bfloat16"], *, encoder: PatchEncoder, device: str = "cpu"
) -> Computing:
    """What `encoder.precision` comes to on this machine.

    `auto` is bfloat16 where the CPU multiplies it in hardware, else float32. OpenVINO computes on
    a CPU where it is installed (the extra `openvino`) and the encoder is one of torchvision's.
    """
    cpu = device == "cpu"
    precision = setting
    if precision == "auto":
        precision = "bfloat16" if cpu and multiplies_bfloat16() else "float32"
    has_openvino = importlib.util.find_spec("openvino") is not None
    fits = cpu and has_openvino and encoder.name in _CONVERTED
    return Computing(precision=precision, backend="openvino" if fits else "torch")


class FrozenEncoder:
    """An encoder in evaluation mode, made ready when the first patches come.

    Once another network computes in its place, `encoder` is let go: its float32 weights would take
    memory for nothing.

    Parameters
    ----------
    encoder
        Is put into evaluation mode and moved to `device`; otherwise left as it is.
    computing
        Of `choose_computing`.
    falls_back
        Whether float32 takes the place of a bfloat16 that changes the features, as `auto` has it;
        else such weights are refused.
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        *,
        computing: Computing,
        device: str = "cpu",
        falls_back: bool = False,
    ) -> None:
        self.name = encoder.name
        self.features = encoder.features
        self.input_px = encoder.input_px
        self.weights_digest = encoder.weights_digest
        self.computing = computing
        self._at_once = _OTHERS_AT_ONCE.get((encoder.name, computing.backend), _AT_ONCE)
        self._device = device
        self._falls_back = falls_back
        self._network: nn.Module = encoder.to(device).eval()
        self._unprepared: PatchEncoder | None = encoder

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode patches.

        Parameters
        ----------
        batch
            RGB uint8 [n, h, w, 3].

        Returns
        -------
        ndarray
            float16 [n, D].

        Raises
        ------
        WeightsError
            The weights give features that float16 cannot hold, or that bfloat16 changes.
        """
        parts = []
        self.settle(batch)
        with torch.inference_mode():
            for start in range(0, len(batch), self._at_once):
                pixels = self._pixels(batch[start : start + self._at_once])
                found = self._network(pixels).to(torch.float16).cpu().numpy()  # [n, D]
                if not np.isfinite(found).all():
                    raise WeightsError(
                        f"encoder {self.name} gives features that are no numbers or too large.",
                        "Check the file of weights that encoder.weights names.",
                    )
                parts.append(found)
        return np.concatenate(parts)

    @property
    def may_fall_back(self) -> bool:
        """Whether the first patches may yet turn bfloat16 into float32."""
        return (
            self._falls_back
            and self._unprepared is not None
            and self.computing.precision == "bfloat16"
        )

    def stay_exact(self) -> None:
        """Fall back to float32 before any patch comes, as was found necessary before."""
        self.computing = replace(self.computing, precision="float32")

    def settle(self, batch: NDArray[np.uint8]) -> None:
        """Make the network ready by some patches, RGB uint8 [n, h, w, 3]; once.

        Raises
        ------
        WeightsError
            As of `encode`.
        """
        if self._unprepared is None:
            return
        with torch.inference_mode():
            some = self._pixels(batch[:_COMPARED])
            try:
                self._network = _prepared(self._unprepared, self.computing, some)
            except _ChangedError:
                if not self.may_fall_back:
                    raise
                self.stay_exact()
                self._network = _prepared(self._unprepared, self.computing, some)
        self._unprepared = None

    def _pixels(self, patches: NDArray[np.uint8]) -> Tensor:
        """[n, h, w, 3] -> [n, 3, h, w] on the device."""
        found = torch.from_numpy(np.ascontiguousarray(patches))
        return found.to(self._device).permute(0, 3, 1, 2)


def _prepared(encoder: PatchEncoder, computing: Computing, pixels: Tensor) -> nn.Module:
    """What computes `encoder` so, its features held against float32 on some patches."""
    if computing == Computing():
        return encoder
    # Before there is another network: both at once would be the peak of the memory taken.
    exact = _one_by_one(encoder, pixels) if computing.precision == "bfloat16" else None
    if computing.backend == "openvino" and encoder.input_px is not None:
        from axilla.features.openvino_backend import OpenVinoEncoder

        twin: nn.Module = OpenVinoEncoder(encoder, precision=computing.precision)
    else:
        twin = encoder.with_body(_Bfloat16Body(encoder.body))
    if exact is not None:
        _compare(exact, _one_by_one(twin, pixels))
    return twin


class _Bfloat16Body(nn.Module):
    """A body whose weights and maps are bfloat16, each batch norm folded into its convolution."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = copy.deepcopy(body).eval()
        for module in list(self.body.modules()):
            if isinstance(module, nn.Sequential):
                _fold(module)
        self.body.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] -> [n, ...], bfloat16."""
        features: Tensor = self.body(x.to(torch.bfloat16))
        return features


def _fold(layers: nn.Sequential) -> None:
    for place in range(len(layers) - 1):
        first, second = layers[place], layers[place + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            layers[place] = fuse_conv_bn_eval(first, second)
            layers[place + 1] = nn.Identity()


def _one_by_one(network: nn.Module, pixels: Tensor) -> Tensor:
    """Features of patches, float32 [n, D]; maps of several at once would take more memory."""
    return torch.cat([network(one).float() for one in torch.split(pixels, 1)])


class _ChangedError(WeightsError):
    """Features are others in bfloat16 than in float32."""


def _compare(exact: Tensor, found: Tensor) -> None:
    """Refuse bfloat16 where the weights are such that it changes the features, [n, D]."""
    length = exact.norm(dim=1) * found.norm(dim=1)
    same = (exact == found).all(dim=1)  # such as two vectors of zeros
    cosine = torch.where(same, 1.0, (exact * found).sum(dim=1) / length).min().item()
    # Features that are no numbers at all have their own error.
    if cosine < MIN_COSINE and bool(exact.isfinite().all()):
        raise _ChangedError(
            f"the features are others in bfloat16 than in float32: their cosine is {cosine:.5f}, "
            f"and {MIN_COSINE} is asked.",
            "Set encoder.precision: float32.",
        )


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; emulated it is slow."""
    get = getattr(torch.cpu, "get_capabilities", None)  # of later versions than we ask for
    if get is None:
        return False
    capabilities = get()
    return any(capabilities.get(name) for name in _HARDWARE)
