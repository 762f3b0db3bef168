"""Weights of encoders: from a file, a cache or a download, never a pickle, and whether they fit."""

from __future__ import annotations

import hashlib
import re
import zipfile
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from axilla.core.archives import is_packed
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.errors import WeightsError
from axilla.features.hub import hub_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from axilla.features.spec import EncoderSpec

_UNLOADABLE = (
    OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    HTTPException, SafetensorError, UnpicklingError,
)  # fmt: skip
"""What a download, and torch for a file that is no state dict, may raise."""

# torchvision's own checkpoints of DenseNet have older names: `denselayer1.norm.1.weight`.
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")


def find_state(spec: EncoderSpec, weights: str, *, only_shapes: bool = False) -> dict[str, Tensor]:
    """The state dict that `encoder.weights` names, as its file has it.

    Parameters
    ----------
    only_shapes
        Tensors without values, on the device `meta`: gigabytes need not be read to see whether
        they fit.

    Raises
    ------
    WeightsError
        There is none, it cannot be had here, or the file cannot be read safely.
    """
    if weights not in WEIGHTS_WORDS:
        path = Path(weights)
    elif weights not in spec.words:
        raise _no_such_weights(spec, weights)
    elif spec.published is None:
        return _torchvision_state(spec, only_shapes=only_shapes)
    else:
        path = hub_file(spec.name, spec.published)
    return _file_state(path, only_shapes=only_shapes)


def fitting_state(
    wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], spec: EncoderSpec, *, source: str
) -> dict[str, Tensor]:
    """The part of a weights file that the network takes, under the network's names.

    Raises
    ------
    WeightsError
        A name is missing or unknown, or a shape is another.
    """
    renamed = {_OLD_DENSENET.sub(r"\1\2", n): tensor for n, tensor in spec.rename(state).items()}
    ignored = spec.ignored or "\0"
    known = {name: tensor for name, tensor in renamed.items() if name in wanted}
    absent = [n for n in wanted if n not in known and not n.startswith(ignored)]
    absent = [n for n in absent if not n.endswith("num_batches_tracked")]
    strange = [n for n in renamed if n not in wanted and not n.startswith(ignored)]
    wrong = [n for n, t in known.items() if t.shape != wanted[n].shape]
    wrong = [n for n in wrong if not n.startswith(ignored)]
    whose = (
        f"torchvision's {spec.name}" if spec.library == "torchvision"
        else f"{spec.name}, as its authors publish it"
    )  # fmt: skip
    for names, what in ((absent, "lack"), (strange, "have unknown"), (wrong, "misshape")):
        if names:
            raise WeightsError(
                f"the weights `{source}` do not fit {spec.name}: they {what} {names[0]} "
                f"({len(names)} such).",
                f"Give the state dict of {whose}.",
            )
    return {n: t for n, t in known.items() if t.shape == wanted[n].shape}


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and values of a state dict."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().data)  # no copy
    return total.hexdigest()


def torchvision_cache(spec: EncoderSpec) -> Path:
    """Where torch keeps the ImageNet weights of a torchvision network, there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / spec.imagenet_file


def _no_such_weights(spec: EncoderSpec, weights: str) -> WeightsError:
    if not spec.words:
        remedy = "Set encoder.weights: none and encoder.trainable: true, or give a file."
    else:
        remedy = f"Set encoder.weights: {' or '.join(spec.words)}, or give a file."
    kind = {"imagenet": "ImageNet", "published": "published"}[weights]
    return WeightsError(f"encoder {spec.name} has no {kind} weights.", remedy)


def _torchvision_state(spec: EncoderSpec, *, only_shapes: bool) -> dict[str, Tensor]:
    cached = torchvision_cache(spec)
    if not cached.is_file():
        _download(spec, cached.name)
    try:
        loaded = _read(cached, only_shapes=only_shapes)
    except _UNLOADABLE as error:
        raise WeightsError(
            f"the ImageNet weights of {spec.name} in the cache are damaged ({_first(error)}).",
            "Delete the file; it is then downloaded again.",
            file=cached,
        ) from error
    return _state_dict(loaded, cached)


def _download(spec: EncoderSpec, file: str) -> None:
    import torchvision  # late: it takes seconds, and 130 MB

    weights = torchvision.models.get_model_weights(spec.name)["IMAGENET1K_V1"]
    try:
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except _UNLOADABLE as error:
        raise WeightsError(
            f"the ImageNet weights of {spec.name} are not on this machine and could not be "
            f"downloaded ({_first(error)}).",
            "Either connect this machine to the network once, or fetch the file elsewhere and set "
            f"encoder.weights to its path ({file}).",
        ) from error


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _file_state(path: Path, *, only_shapes: bool) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(
            "there is no such file of weights.",
            "Set encoder.weights to imagenet, published, none, or an existing .safetensors, .pth "
            "or .bin file.",
            file=path,
        )
    if is_packed(path):
        raise WeightsError(
            "the file is a packed archive, which torch.save does not write.",
            "Save the weights as .safetensors, or by torch.save(model.state_dict(), file).",
            file=path,
        )
    try:
        loaded = _read(path, only_shapes=only_shapes)
    except _UNLOADABLE as error:
        raise WeightsError(
            f"the weights cannot be read safely ({_first(error)}).",
            "Save them as .safetensors, or as a plain state dict.",
            file=path,
        ) from error
    return _state_dict(loaded, path)


def _read(path: Path, *, only_shapes: bool) -> object:
    if path.suffix == ".safetensors":
        return _safetensors_shapes(path) if only_shapes else load_file(path)
    # weights_only: a pickle that holds anything but tensors is refused, never run.
    place = "meta" if only_shapes else "cpu"
    # Mapped, not read: gigabytes of numbers are in memory once, as the network's.
    mapped = not only_shapes and zipfile.is_zipfile(path)
    loaded: object = torch.load(path, map_location=place, weights_only=True, mmap=mapped)
    return loaded


def _state_dict(loaded: object, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError("the file holds no state dict.", "Save model.state_dict().", file=path)
    return dict(loaded)


def _safetensors_shapes(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
