"""The trained nuclear network: its weights with their provenance, and what it says of pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from axilla.core import store
from axilla.core.errors import WeightsError
from axilla.nuclei.network import OUTPUTS, STRIDE, NucleusNet, as_input
from axilla.nuclei.segmentation import RADIUS_PX, ZOOMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Plane = NDArray[np.float32]

SHIPPED = Path(__file__).parent / "weights" / "nuclei.safetensors"
"""Weights that come with the package; `nuclei.json` beside them says what they were trained on."""
MAX_BYTES = 64 << 20
MAX_WIDTH = 1024
_RADIUS = "median_radius_px"
_SMOOTH_PX = 1.0
"""Of the depth, so that its ripples are no valleys."""


class LearnedSegmenter:
    """A `Segmenter` of a trained network, the mean of what it says of an image in several views.

    Parameters
    ----------
    network
        As it is now: what it learns later is not seen.
    precision
        bfloat16 takes half the time or less where the processor multiplies it in hardware.
    sizes
        At which the image is seen. Smaller, less debris is taken for nuclei; larger, fewer small
        nuclei are lost.
    turns
        Quarter turns in which it is seen at each size.
    """

    zooms: tuple[float, ...] = (1.0, 0.5, 2.0)

    def __init__(
        self,
        network: NucleusNet,
        precision: torch.dtype = torch.float32,
        *,
        sizes: tuple[float, ...] = (1.0, 0.65),
        turns: int = 2,
    ) -> None:
        self.network = network.ready(precision)
        self.precision, self.sizes, self.turns = precision, sizes, turns
        radius = network.radius_px
        self.own_zoom = None if radius is None else float(np.clip(RADIUS_PX / radius, *ZOOMS))
        """Images are taken to be as those it learned from; None for a network of any scale."""

    def __call__(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """See `Segmenter`."""
        return self._look(pixels, sizes=self.sizes, turns=self.turns)

    def glance(self, pixels: Pixels) -> tuple[Plane, Plane]:
        """See `Segmenter`: in one view alone."""
        return self._look(pixels, sizes=(1.0,), turns=1)

    def _look(self, pixels: Pixels, *, sizes: tuple[float, ...], turns: int) -> tuple[Plane, Plane]:
        height, width = pixels.shape[:2]
        found = np.zeros((height, width, 2), np.float32)
        for size in sizes:
            seen = pixels
            if size != 1:
                seen = np.asarray(cv2.resize(
                    pixels, (max(1, round(size * width)), max(1, round(size * height))),
                    interpolation=cv2.INTER_AREA,
                ), np.uint8)  # fmt: skip
            planes = self._mean(seen, turns)
            if seen is not pixels:
                planes = np.asarray(
                    cv2.resize(planes, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
                )
            found += planes / len(sizes)
        depth = cv2.GaussianBlur(found[..., 1], (0, 0), _SMOOTH_PX)
        return np.ascontiguousarray(found[..., 0]), np.asarray(depth, np.float32)

    def _mean(self, pixels: Pixels, turns: int) -> Plane:
        """P(nuclear) and depth [h, w, 2], the mean over the turns."""
        height, width = pixels.shape[:2]
        below, right = -height % STRIDE, -width % STRIDE
        padded = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        with torch.inference_mode():
            x = as_input(torch.from_numpy(padded)[None]).to(self.precision)  # [1, 3, h, w]
            mean = torch.zeros(*x.shape[-2:], OUTPUTS)
            for turn in range(turns):
                turned = x.rot90(turn, (2, 3)).contiguous(memory_format=torch.channels_last)
                out = self.network(turned)[0].float().rot90(-turn, (1, 2))
                mean[..., 0] += out[0].sigmoid() / turns
                mean[..., 1] += out[1] / turns
        return np.ascontiguousarray(mean.numpy()[:height, :width])


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
    told = {} if network.radius_px is None else {_RADIUS: f"{network.radius_px:.3f}"}
    store.write_bytes(path, save(tensors, metadata=told))
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
    network.radius_px = _told_radius(path)
    return network.eval().to(memory_format=torch.channels_last)


def _told_radius(path: Path) -> float | None:
    """What the file says of its nuclei's radius; None where that is nothing or no radius."""
    with safe_open(path, framework="pt") as opened:
        told = (opened.metadata() or {}).get(_RADIUS, "")
    try:
        radius = float(told)
    except ValueError:
        return None
    return radius if 0 < radius < math.inf else None


def _widths(tensors: dict[str, torch.Tensor]) -> list[int] | None:
    """Channels of each level, from the weights themselves."""
    widths: list[int] = []
    while (weight := tensors.get(f"down.{len(widths)}.0.weight")) is not None and len(widths) < 8:
        if weight.ndim != 4 or not 1 <= weight.shape[0] <= MAX_WIDTH:
            return None
        widths.append(int(weight.shape[0]))
    return widths if len(widths) > 1 else None
