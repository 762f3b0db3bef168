"""Nuclei as other people's networks find them: Cellpose, InstanSeg, StarDist, weights from a file.

Each is an extra. Nothing is ever downloaded: these libraries would fetch what they do not find, so
the file is looked for before they are asked.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.core.errors import WeightsError
from axilla.core.nucleus_tools import NucleusTool
from axilla.nuclei.segmentation import Segmenter, ToolSegmenter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Find = Callable[[Pixels], NDArray[Any]]

LIBRARIES: dict[NucleusTool, str] = {
    "cellpose": "cellpose", "instanseg": "instanseg", "stardist": "stardist",
}  # fmt: skip
"""What Python imports of each tool, which is an extra of the same name."""
_MPP: dict[NucleusTool, float] = {"cellpose": 0.4, "instanseg": 0.5, "stardist": 0.5}
"""µm per pixel at which a tool is shown images, where its file does not tell and nobody says.

Cellpose takes nuclei of any usual size; the others learned from slides scanned at 20 times."""
_FILES: dict[NucleusTool, str] = {
    "cellpose": "Give a model of Cellpose 4, such as `cpsam`.",
    "instanseg": "Give the model in TorchScript, `instanseg.pt`.",
    "stardist": "Give `weights_best.h5` of a StarDist model, unpacked, with config.json beside it.",
}
_PERCENTILES = (1, 99.8)
"""Between which StarDist has images scaled."""


def open_tool(
    tool: NucleusTool, weights: Path, *, mpp: float | None = None, scale: Segmenter
) -> ToolSegmenter:
    """A tool with its weights, ready to find nuclei.

    Parameters
    ----------
    tool
    weights
        A local file: a model of Cellpose 4, the TorchScript of InstanSeg, or `weights_best.h5` of a
        StarDist model with its config.json beside it. A TorchScript is a program: take it from
        people you trust.
    mpp
        µm per pixel of the images that it was trained on; None for what the tool's own models were
        trained on.
    scale
        Tells the scale of images where nobody knows it.

    Raises
    ------
    WeightsError
        The tool is not installed, or the file is missing or none of its models.
    """
    if importlib.util.find_spec(LIBRARIES[tool]) is None:
        raise WeightsError(
            f"{tool} is not installed.",
            f"Run: pip install 'axilla[{tool}]'; or let the network of the package find nuclei.",
        )
    if not weights.is_file():
        raise WeightsError(
            "is no file.",
            f"{_FILES[tool]} Where there is no network, fetch it elsewhere and copy it here.",
            file=weights,
        )
    try:
        find, told = _OPENERS[tool](weights)
    # What a library says of a file that is not its own: each raises something else.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"does not open with {tool} ({said[:90]}).", _FILES[tool], file=weights
        ) from error
    return ToolSegmenter(find, mpp=mpp or told or _MPP[tool], scale=scale)


def _cellpose(weights: Path) -> tuple[Find, float | None]:
    import pickle

    from cellpose.models import CellposeModel

    try:
        # In float32: half the precision is slower where a processor does not multiply it.
        model = CellposeModel(gpu=False, pretrained_model=str(weights), use_bfloat16=False)
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError("no weights of torch") from error

    def find(pixels: Pixels) -> NDArray[Any]:
        with warnings.catch_warnings():
            # Of a matrix that it builds itself.
            warnings.filterwarnings("ignore", message="Sparse invariant checks")
            masks, *_ = model.eval(pixels, channel_axis=2)
        return np.asarray(masks)

    return find, None


def _instanseg(weights: Path) -> tuple[Find, float | None]:
    import torch
    from instanseg import InstanSeg

    with warnings.catch_warnings():
        # Deprecated in torch, and the one form in which these models come.
        warnings.simplefilter("ignore", FutureWarning)
        network = torch.jit.load(str(weights), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    told = float(network.pixel_size)
    model = InstanSeg(network, device="cpu", image_reader="skimage.io", verbosity=0)

    def find(pixels: Pixels) -> NDArray[Any]:
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        with torch.inference_mode(), warnings.catch_warnings():
            # It asks for half the precision of a GPU, where there is none.
            warnings.filterwarnings("ignore", message="CUDA is not available")
            found = model.eval_small_image(
                image.float(), normalise=True, return_image_tensor=False, target="nuclei"
            )
        return np.asarray(found[0, 0].cpu().numpy())  # [1, kinds, h, w], nuclei first

    return find, told if told > 0 else None


def _stardist(weights: Path) -> tuple[Find, float | None]:
    # It tells on the standard output what it loads.
    with contextlib.redirect_stdout(sys.stderr):
        from stardist.models import StarDist2D

        if not (weights.parent / "config.json").is_file():
            raise ValueError("no config.json beside it")
        folder = weights.resolve().parent
        model = StarDist2D(None, name=folder.name, basedir=folder.parent)
        model.load_weights(weights.name)
    channels = int(model.config.n_channel_in)
    if channels != 3:
        raise ValueError(f"a model for {channels} channels, not for red, green and blue")

    def find(pixels: Pixels) -> NDArray[Any]:
        low, high = np.percentile(pixels, _PERCENTILES)
        scaled = (pixels - low) / max(high - low, 1e-3)
        labels, _ = model.predict_instances(scaled.astype(np.float32), verbose=False)
        return np.asarray(labels)

    return find, None


_OPENERS: dict[NucleusTool, Callable[[Path], tuple[Find, float | None]]] = {
    "cellpose": _cellpose, "instanseg": _instanseg, "stardist": _stardist,
}  # fmt: skip
