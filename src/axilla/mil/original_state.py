"""The authors' checkpoint (`best.pth`): read without running it, and renamed to our network's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from axilla.core.archives import is_packed
from axilla.core.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CLINICAL_INPUTS = 5
"""Age, tumour size, and a flag each for negative ER, PR and HER2."""
COPIES = 10
MAX_BYTES = 2 << 30
"""The largest of the five, VGG16_BN's, is 86 MB; what is far larger is none of them."""

_ENCODER = "image_feature_extractor.extractor."
_HEAD = {
    "attention_aggregator.fc1.0.": "project.0.",
    "attention_aggregator.attention.0.": "pool.tanh.0.",
    "attention_aggregator.attention.3.": "pool.score.",
    "classifier.0.": "classifier.0.",
    "classifier.2.": "classifier.2.",
}
"""The authors' names and ours. Between the numbered layers are those without weights:
fc1 is Linear, Dropout, ReLU; attention is Linear, Dropout, Tanh, Linear, Dropout; classifier is
Linear, ReLU, Linear."""
_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
"""torchvision's children in their order: the authors' list has numbers instead."""
_UNUSED = {"inception_v3": f"{_ENCODER}fc."}
"""Weights that the authors' encoder holds, but does not use."""
_KINDS = ("weight", "bias")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_FEATURES = {25088: "vgg16_bn", 9216: "alexnet", 50176: "densenet121"}
"""Which encoder so many numbers a patch tell of; 2,048 are resnet50 or inception_v3."""
_TAKE = "Give best.pth as the authors' code saves it: torch.save(model.state_dict(), ...)."


@dataclass(frozen=True, slots=True, eq=False)
class HeadShape:
    """What a checkpoint says of the model it holds."""

    features: int
    """Numbers a patch, D."""
    clinical: bool
    classes: int


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint under the authors' names; no code of the file is run.

    A dict around it (`{"state_dict": ...}`) and the prefix `module.` of DataParallel are taken off.

    Raises
    ------
    WeightsError
        There is no such file, it is cut off or something else, or holds more than tensors.
    """
    if not path.is_file():
        raise WeightsError("there is no such file.", "Check the path of best.pth.", file=path)
    _refuse_what_is_none(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if not re.search(r"Unsupported (global|class)|reduce|build", str(error), re.IGNORECASE):
            raise _damaged(path, error) from error
        raise WeightsError(
            "the file holds Python objects besides weights; loading them could run foreign code, "
            "so it was not opened.",
            "Where you trust it, load it with the authors' code and save the weights alone: "
            "torch.save(model.state_dict(), 'best.pth').",
            file=path,
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError,
            AssertionError) as error:  # fmt: skip
        raise _damaged(path, error) from error
    state = _unwrapped(loaded)
    if state is None:
        raise WeightsError("the file holds no state dict.", _TAKE, file=path)
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def _refuse_what_is_none(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(
            f"the file has {size / 2**30:.1f} GB, far more than any model of the paper.",
            "Give the authors' best.pth.",
            file=path,
        )
    if is_packed(path):
        raise WeightsError("the file is a packed archive, no checkpoint.", _TAKE, file=path)
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise WeightsError(
            "this is a web page, not a checkpoint: the download gave a page instead of the file.",
            "Download the file itself again, signed in where that is needed.",
            file=path,
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            "this is only a pointer to the file, as Git LFS leaves it.",
            "Fetch the file itself: `git lfs pull`.",
            file=path,
        )


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    return WeightsError(
        f"the file is cut off, damaged, or no checkpoint of PyTorch ({reason}).",
        "Copy or download it again, and compare its size with the source's.",
        file=path,
    )


def _unwrapped(loaded: Any) -> dict[str, Tensor] | None:
    if isinstance(loaded, dict):
        inner = next((loaded[n] for n in _WRAPPERS if isinstance(loaded.get(n), dict)), loaded)
        if inner and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in inner.items()):
            return dict(inner)
    return None


def head_shape(state: Mapping[str, Tensor], *, path: Path) -> HeadShape:
    """Encoder's width, clinical data or not, and classes, read off the head's shapes.

    Raises
    ------
    WeightsError
        The head is not that of the paper's model.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    first, last = "classifier.0.weight", "classifier.2.weight"
    fused = 256 + CLINICAL_INPUTS * COPIES
    features = _columns(shapes, "attention_aggregator.fc1.0.weight", path=path)
    inputs = _columns(shapes, first, path=path)
    _columns(shapes, last, path=path)
    classes = shapes[last][0]
    if inputs not in {256, fused}:
        raise WeightsError(
            f"the classifier has {inputs} inputs, neither 256 (images only) nor {fused} (with the "
            "paper's five clinical data).",
            _TAKE,
            file=path,
        )
    if classes not in {2, 3}:
        raise WeightsError(
            f"the model's last layer gives {classes}, not a number for each of 2 or 3 classes.",
            _TAKE,
            file=path,
        )
    wanted = {
        "attention_aggregator.fc1.0.weight": (256, features),
        "attention_aggregator.fc1.0.bias": (256,),
        "attention_aggregator.attention.0.weight": (1, 256),
        "attention_aggregator.attention.0.bias": (1,),
        "attention_aggregator.attention.3.weight": (1, 1),
        "attention_aggregator.attention.3.bias": (1,),
        first: (64, inputs),
        "classifier.0.bias": (64,),
        last: (classes, 64),
        "classifier.2.bias": (classes,),
    }
    _refuse_misfit(wanted, shapes, what="the paper's head", remedy=_TAKE, path=path)
    return HeadShape(features=features, clinical=inputs == fused, classes=classes)


def _columns(shapes: Mapping[str, tuple[int, ...]], name: str, *, path: Path) -> int:
    shape = shapes.get(name)
    if shape is None or len(shape) != 2:
        raise WeightsError(
            f"this is no model of the paper: the matrix `{name}` is missing in the file.",
            _TAKE,
            file=path,
        )
    return shape[1]


def _refuse_misfit(
    wanted: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    what: str,
    remedy: str,
    path: Path,
) -> None:
    missing = [name for name in wanted if name not in shapes]
    wrong = [name for name in wanted if name in shapes and shapes[name] != wanted[name]]
    if missing:
        cause = f"the file does not fit {what}: it lacks `{missing[0]}` ({len(missing)} such)."
        raise WeightsError(cause, remedy, file=path)
    if wrong:
        name = wrong[0]
        cause = (
            f"the file does not fit {what}: `{name}` is {_times(shapes[name])} instead of "
            f"{_times(wanted[name])} ({len(wrong)} such)."
        )
        raise WeightsError(cause, remedy, file=path)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{side:,}" for side in shape) or "a single number"


def renamed_state(
    state: Mapping[str, Tensor],
    head: HeadShape,
    *,
    encoder: str,
    features: int,
    wanted: Mapping[str, Tensor],
    path: Path,
) -> dict[str, Tensor]:
    """The checkpoint under our network's names, float32.

    Parameters
    ----------
    head
        Of `head_shape`.
    features
        What the named encoder gives a patch, D.
    wanted
        The state dict of the network's encoder (`body.` and on), for its shapes.

    Raises
    ------
    WeightsError
        Another encoder, a name that is missing or unknown, another shape, or a value that is no
        number.
    """
    found = head.features
    if found != features:
        likely = _FEATURES.get(found, "resnet50 or inception_v3" if found == 2048 else None)
        raise WeightsError(
            f"the model's encoder gives {found:,} numbers a patch, and {encoder} {features:,}.",
            f"Give --encoder {likely}." if likely else "The five encoders of the paper are read.",
            file=path,
        )
    source = _their_names(wanted, encoder)
    shapes = {source[n]: tuple(t.shape) for n, t in wanted.items()}
    # Checkpoints of old versions of PyTorch do not count the batches.
    counts = {n for n in shapes if n.endswith("num_batches_tracked") and n not in state}
    needed = {n: s for n, s in shapes.items() if n not in counts}
    remedy = "Give --encoder the one that it was trained with."
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items()}
    _refuse_misfit(needed, theirs, what=encoder, remedy=remedy, path=path)
    known = {*shapes, *(part + kind for part in _HEAD for kind in _KINDS)}
    strange = [n for n in state if n not in known and not n.startswith(_UNUSED.get(encoder, "\0"))]
    if strange:
        raise WeightsError(
            f"the file does not fit {encoder}: nothing takes its `{strange[0]}` "
            f"({len(strange)} such).",
            remedy,
            file=path,
        )
    ours = {f"encoder.{n}": theirs for n, theirs in source.items() if theirs not in counts}
    ours |= {own + kind: part + kind for part, own in _HEAD.items() for kind in _KINDS}
    zero = torch.zeros((), dtype=torch.long)
    return {own: _plain(state[theirs], theirs, path=path) for own, theirs in ours.items()} | {
        f"encoder.{n}": zero for n, theirs in source.items() if theirs in counts
    }


def _their_names(wanted: Iterable[str], encoder: str) -> dict[str, str]:
    """Of each name of our encoder (`body.` and on) the authors'."""
    found = {}
    for name in wanted:
        rest = name.removeprefix("body.")
        if encoder == "resnet50":
            child, _, tail = rest.partition(".")
            rest = f"{_RESNET.index(child)}.{tail}"
        found[name] = _ENCODER + rest
    return found


def _plain(tensor: Tensor, name: str, *, path: Path) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    value = tensor.detach().float()
    if not bool(value.isfinite().all()):
        raise WeightsError(
            f"the weights `{name}` hold values that are no numbers: the training diverged.",
            "Take the checkpoint of another epoch.",
            file=path,
        )
    return value
