"""The trained nuclear network: its weights with their provenance, and what it says of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from axilla.core import store
from axilla.core.errors import WeightsError
from axilla.nuclei.network import STRIDE, NucleusNet, as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Plane = NDArray[np.float32]

SHIPPED = Path(__file__).parent / "weights" / "nuclei.safetensors"
"""Weights that come with the package; `nuclei.json` beside them says what they were trained on."""
MAX_BYTES = 64 << 20
MAX_WIDTH = 1024
_SMOOTH_PX = 1.0
"""Of the depth, so that its ripples are no valleys."""


class LearnedSegmenter:
    """A `Segmenter` of a trained network.

    Parameters
    ----------
    network
        As it is now: what it learns later is not seen.
    precision
        bfloat16 takes half the time or less where the processor multiplies it in hardware.
    turns
        Quarter turns in which the image is seen: the mean of 4 is better than any alone.
    """

    zooms: tuple[float, ...] = (1.0, 0.5, 2.0)

    def __init__(
        self, network: NucleusNet, precision: torch.dtype = torch.float32, *, turns: int = 4
    ) -> None:
        self.network = network.ready(precision)
        self.precision, self.turns = precision, turns

    def __call__(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """See `Segmenter`."""
        return self._look(pixels, range(self.turns))

    def glance(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """See `Segmenter`: from one side alone."""
        return self._look(pixels, range(1))

    def _look(self, pixels: Pixels, turns: range) -> tuple[Plane, Plane]:
        height, width = pixels.shape[:2]
        below, right = -height % STRIDE, -width % STRIDE
        padded = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        with torch.inference_mode():
            x = as_input(torch.from_numpy(padded)[None]).to(self.precision)  # [1, 3, h, w]
            nuclear, depth = self._mean(x, turns).numpy()[:, :height, :width]
        return np.ascontiguousarray(nuclear), cv2.GaussianBlur(depth, (0, 0), _SMOOTH_PX)

    def _mean(self, x: torch.Tensor, turns: range) -> torch.Tensor:
        """P(nuclear) and depth [2, h, w], the mean over the turns."""
        found = torch.zeros(2, *x.shape[-2:])
        for turn in turns:
            turned = x.rot90(turn, (2, 3)).contiguous(memory_format=torch.channels_last)
            out = self.network(turned)[0].float().rot90(-turn, (1, 2))
            found[0] += out[0].sigmoid() / len(turns)
            found[1] += out[1] / len(turns)
        return found


def write_network(path: Path, network: NucleusNet, *, record: dict[str, Any]) -> None:
    """Write weights as float16 safetensors, and beside them what they were trained on as JSON.

    Raises
    ------
    StoreError
        The files cannot be written.
    """
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    store.write_bytes(path, save(tensors))
    store.write_json(path.with_suffix(".json"), record)


def read_network(path: Path = SHIPPED) -> NucleusNet:
    """Read weights that `write_network` wrote, ready to segment.

    Raises
    ------
    WeightsError
        The file does not open, is too large or holds other weights.
    """
    remedy = "Give a file that `axilla nuclei train` or `axilla nuclei fit` wrote."
    try:
        tensors = load(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise WeightsError(f"does not open ({error.strerror}).", remedy, file=path) from error
    except SafetensorError as error:
        raise WeightsError("holds no weights in safetensors.", remedy, file=path) from error
    if tensors is None:
        raise WeightsError(f"is larger than {MAX_BYTES >> 20} MB.", remedy, file=path)
    widths = _widths(tensors)
    if widths is None:
        raise WeightsError("holds the weights of another network.", remedy, file=path)
    with torch.device("meta"):  # shapes alone, before any memory is taken for them
        own = NucleusNet(widths).state_dict()
    learned = {name for name in own if not name.endswith("num_batches_tracked")}
    if set(tensors) != learned or any(tensors[n].shape != own[n].shape for n in learned):
        raise WeightsError("holds the weights of another network.", remedy, file=path)
    if not all(bool(tensors[n].isfinite().all()) for n in learned):
        raise WeightsError("holds weights that are not finite.", remedy, file=path)
    network = NucleusNet(widths)
    network.load_state_dict({n: tensors[n].float() for n in learned}, strict=False)
    return network.eval().to(memory_format=torch.channels_last)


def _widths(tensors: dict[str, torch.Tensor]) -> list[int] | None:
    """Channels of each level, from the weights themselves."""
    widths: list[int] = []
    while (weight := tensors.get(f"down.{len(widths)}.0.weight")) is not None and len(widths) < 8:
        if weight.ndim != 4 or not 1 <= weight.shape[0] <= MAX_WIDTH:
            return None
        widths.append(int(weight.shape[0]))
    return widths if len(widths) > 1 else None
