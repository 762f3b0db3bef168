"""Encoder and head as one ONNX graph, checked against torch before it is kept; the extra `onnx`."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from axilla.core.errors import ConfigError, StoreError
from axilla.core.store.atomic import atomic_path
from axilla.mil.model import CLINICAL_COPIES, DLCNB, AttentionPool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from axilla.mil.bundle import AnyPreprocessor, Bundle

OPSET = 18
"""The first whose Resize knows antialiasing."""
TOLERANCE = 1e-5
"""Most that ONNX Runtime's figures may differ from torch's."""
MAX_BYTES = 2**31 - 2**24
"""Of weights in one file: protobuf's limit, less room for the graph itself."""
_BAGS = (1, 3, 10)
"""Sizes of the bags on which both are compared."""
_THRESHOLD_USE = (
    "The graph scores one bag; axilla.threshold is for the mean of a patient's probabilities over "
    "all of the patient's bags."
)
_CLINICAL_USE = (
    "The input `clinical` takes the values that axilla.clinical names, not raw ones: of every "
    "number its mean is taken off and the rest divided by its sd, both in axilla.preprocessors; "
    "`column=value` is 1 where the patient has the value, else 0; `column_missing` is 1 where the "
    "value is missing, which then counts as the mean or as the mode."
)
_STAIN_USE = (
    "The input `patches` takes patches of normalised stain, not raw ones: the stain of each slide, "
    "estimated by axilla.stain's method, is brought to the target in axilla.stain."
)
_NO_STAIN_USE = "The input `patches` takes colours as the scanner gave them: none are normalised."


@dataclass(frozen=True, slots=True)
class Exported:
    """What a graph takes and how far it is from torch."""

    inputs: dict[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]
    largest_difference: float
    """Over the bags compared, of probabilities, spread and attention."""
    prepared: tuple[str, ...] = ()
    """What must be done to a slide's patches that the graph itself does not do, of each a phrase;
    empty where it takes features."""


class BagGraph(nn.Module):
    """One bag through every member: mean probabilities, their spread, mean attention.

    p = (1/M) sum_m softmax(logits_m); spread as `mil.ensemble.combine`; with a frozen encoder f all
    members see the same f(x).
    """

    def __init__(self, bundle: Bundle, *, encoder: nn.Module | None) -> None:
        super().__init__()
        networks = [member.network for member in bundle.members if member.network is not None]
        self.heads = nn.ModuleList(networks)
        self.encoder = encoder
        self.slices = clinical_slices([member.preprocessor for member in bundle.members])
        self.eval()

    def forward(
        self, instances: Tensor, clinical: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Score one bag.

        Parameters
        ----------
        instances
            Patches [N, 3, h, w] uint8 or features [N, D] float32.
        clinical
            Vector [C]; those of members with preprocessors of their own one after the other.

        Returns
        -------
        tuple of Tensor
            Probabilities [K], attention [N]; of an ensemble also the spread, [].
        """
        shared = instances if self.encoder is None else self.encoder(instances)
        scores, maps = [], []
        for head, where in zip(self.heads, self.slices, strict=True):
            own = None if clinical is None else clinical[slice(*where)]
            p, attention = _one_bag(head, shared, own)  # type: ignore[arg-type]
            scores.append(p)
            maps.append(attention)
        stacked = torch.stack(scores)  # [M, K]
        mean, attention = stacked.mean(dim=0), torch.stack(maps).mean(dim=0)
        if len(scores) == 1:
            return mean, attention
        shown = stacked[:, 1] if mean.shape[0] == 2 else stacked[:, mean.argmax()]
        # By its definition: `std` is taken apart by exporters, each in another way.
        spread = ((shown - shown.mean()) ** 2).sum().div(len(scores) - 1).sqrt()
        return mean, attention, spread


def _one_bag(head: DLCNB, instances: Tensor, clinical: Tensor | None) -> tuple[Tensor, Tensor]:
    """Probabilities [K] and attention [N]; what `DLCNB.forward` does for a single bag.

    Its lengths are numbers of Python, which a graph of any N cannot hold.
    """
    f = instances if head.encoder is None else head.encoder(instances)  # [N, D]
    h = head.project(f.to(head.dtype))[None]  # [1, N, width]
    z, attention = head.pool(h, torch.ones_like(h[..., 0], dtype=torch.bool))
    if clinical is not None:
        z = torch.cat([z, clinical[None].to(z.dtype).repeat(1, CLINICAL_COPIES)], dim=1)
    return head.classifier(z).float().softmax(dim=1)[0], attention[0]


def clinical_slices(preprocessors: Sequence[AnyPreprocessor | None]) -> list[tuple[int, int]]:
    """Where each member's clinical vector lies in the graph's; equal preprocessors share it."""
    places: list[tuple[AnyPreprocessor, tuple[int, int]]] = []
    found: list[tuple[int, int]] = []
    for preprocessor in preprocessors:
        if preprocessor is None:
            found.append((0, 0))
            continue
        known = next((where for other, where in places if other == preprocessor), None)
        if known is None:
            start = places[-1][1][1] if places else 0
            known = (start, start + preprocessor.width)
            places.append((preprocessor, known))
        found.append(known)
    return found


def export_onnx(
    bundle: Bundle, path: Path, *, encoder: nn.Module | None, seed: int = 0
) -> Exported:
    """Write the graph of a bundle's networks, and compare it with torch on random bags.

    Parameters
    ----------
    encoder
        The frozen encoder the head was trained on; None where the networks hold theirs, or where
        the graph is to take features.

    Raises
    ------
    ConfigError
        The bundle holds no network, its encoder cannot be exported, or the extra is missing.
    StoreError
        The graph and torch do not agree, or the disk refuses; no file is left.
    """
    onnx_runtime = _import_runtime()
    if bundle.network is None:
        raise ConfigError(
            f"the model {bundle.method} looks at no slides: there is no network to export.",
            "Give the folder of a model such as models/dl-cnb.",
        )
    if not isinstance(bundle.network.pool, AttentionPool):
        raise ConfigError(
            f"the aggregator {type(bundle.network.pool).__name__} is not exported.",
            "Only attention, gated, mean and max are.",
        )
    if bundle.record.get("batch_norm", "running") == "batch":
        raise ConfigError(
            "the model normalises by the bag's own patches (batch_norm: batch), which ONNX's "
            "inference does not.",
            "Import the checkpoint again with batch_norm: running.",
        )
    graph = BagGraph(bundle, encoder=encoder)
    _refuse_too_large(graph, path)
    rng = np.random.default_rng(seed)
    example = _random_bag(bundle, graph, 3, rng=rng)
    options = onnx_runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with atomic_path(path) as temporary:
        _write(graph, example, temporary, bundle)
        session = onnx_runtime.InferenceSession(
            str(temporary), options, providers=["CPUExecutionProvider"]
        )
        bags = [_random_bag(bundle, graph, size, rng=rng) for size in _BAGS]
        largest = max(_difference(session, graph, bag) for bag in bags)
        if not largest <= TOLERANCE:
            raise StoreError(
                f"the exported graph differs from the model by {largest:.1e}, more than "
                f"{TOLERANCE:.0e}; it was not kept.",
                "Report it with the versions of torch, onnx and onnxruntime.",
                file=path,
            )
    shapes = {node.name: tuple(node.shape) for node in session.get_inputs()}
    names = tuple(node.name for node in session.get_outputs())
    prepared = _prepared(bundle) if "patches" in shapes else ()
    return Exported(shapes, names, largest_difference=largest, prepared=prepared)


def _prepared(bundle: Bundle) -> tuple[str, ...]:
    """Phrases on patches that are not as the slide has them."""
    mpp, stain = bundle.record["patches"].get("mpp"), bundle.record.get("stain")
    found = [] if mpp is None else [f"cut at {mpp:g} µm per pixel"]
    if stain is not None:
        found.append(
            f"of normalised stain ({stain['method']}, each slide's own brought to the target in "
            "axilla.stain)"
        )
    return tuple(found)


def _refuse_too_large(graph: BagGraph, path: Path) -> None:
    total = sum(t.numel() * t.element_size() for t in graph.state_dict().values())
    if total > MAX_BYTES:
        raise ConfigError(
            f"the graph would hold {total / 2**30:.1f} GiB of weights; one file of ONNX holds "
            "less than 2.",
            "Export the model of one fold, or one of fewer seeds.",
            file=path,
        )


def _import_runtime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"to export, the library {error.name} is needed, which is not installed.",
            "pip install 'axilla[onnx]'.",
        ) from error
    return onnxruntime


def _random_bag(
    bundle: Bundle, graph: BagGraph, size: int, *, rng: np.random.Generator
) -> tuple[Tensor, ...]:
    """A bag of noise: patches of the model's side, or features; and a clinical vector."""
    network = bundle.network
    if network is None:
        raise ValueError("a graph needs a network")
    if network.encoder is None and graph.encoder is None:
        instances = torch.from_numpy(rng.normal(size=(size, network.features)).astype(np.float32))
    else:
        side = int(bundle.record["patches"]["size"])
        pixels = rng.integers(0, 256, (size, 3, side, side), dtype=np.uint8)
        instances = torch.from_numpy(pixels)
    width = max(stop for _, stop in graph.slices)
    if not width:
        return (instances,)
    return instances, torch.from_numpy(rng.normal(size=width).astype(np.float32))


def _write(graph: BagGraph, example: tuple[Tensor, ...], path: Path, bundle: Bundle) -> None:
    takes_pixels = example[0].dtype == torch.uint8
    outputs = ["probabilities", "attention", *(["spread"] if len(graph.heads) > 1 else [])]
    dynamic: tuple[Any, ...] = ({0: torch.export.Dim("patches_in_bag", min=1)},)
    if len(example) > 1:
        dynamic += (None,)
    with warnings.catch_warnings():
        # Of the exporter's own insides; what matters is measured below.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph, example, dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["patches" if takes_pixels else "features", "clinical"][: len(example)],
            output_names=outputs, dynamic_shapes=dynamic,
        )  # fmt: skip
    if program is None:
        raise ConfigError("torch gave no graph.", "Export with another version of torch.")
    # Held inside the graph: it is read by users as they are, not by code.
    program.model.metadata_props.update(_metadata(bundle, graph))
    if takes_pixels:
        program.model.metadata_props.update(_of_patches(bundle))
    program.save(str(path), external_data=False)


def _metadata(bundle: Bundle, graph: BagGraph) -> dict[str, str]:
    """What a reader of the graph alone must know."""
    preprocessors = {
        start: member.preprocessor
        for member, (start, _) in zip(bundle.members, graph.slices, strict=True)
        if member.preprocessor is not None
    }
    ordered = [preprocessors[start] for start in sorted(preprocessors)]
    record = bundle.record
    found = {
        "axilla.method": bundle.method,
        "axilla.classes": json.dumps(list(bundle.classes)),
        "axilla.threshold": json.dumps(record.get("threshold", {}).get("value")),
        "axilla.threshold_use": _THRESHOLD_USE,
        "axilla.members": str(len(bundle.members)),
        "axilla.weights_sha256": str(record.get("weights_sha256", "")),
        "axilla.clinical": json.dumps([name for one in ordered for name in one.names]),
        "axilla.use": "Research use only: not a medical device.",
    }
    if ordered:
        found["axilla.preprocessors"] = json.dumps([one.to_json() for one in ordered])
        found["axilla.clinical_use"] = _CLINICAL_USE
    return found


def _of_patches(bundle: Bundle) -> dict[str, str]:
    """How the patches are cut, and what is done to their colours, before the graph has them."""
    stain = bundle.record.get("stain")
    return {
        "axilla.patches": json.dumps(bundle.record["patches"]),
        "axilla.stain": json.dumps(stain),
        "axilla.stain_use": _NO_STAIN_USE if stain is None else _STAIN_USE,
    }


def _difference(session: Any, graph: BagGraph, bag: tuple[Tensor, ...]) -> float:
    """Largest difference between ONNX Runtime and torch on one bag."""
    names = [node.name for node in session.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, bag, strict=True)}
    found = session.run(None, feed)
    with torch.inference_mode():
        wanted = graph(*bag)
    return max(
        float(np.abs(ours - theirs.numpy()).max())
        for ours, theirs in zip(found, wanted, strict=True)
    )
