"""Region files to features: axilla against the original's way, on real biopsy regions, in one run.

The original read every patch's JPEG file with Pillow, resized and normalised it, and ran bags of
10 in float32 and PyTorch's default layout. Axilla cuts, reads, encodes and writes the slides' h5
files, by OpenVINO and by PyTorch alone. Weights are drawn, which costs the same as trained ones.
The machine's limit is the rate at which it multiplies large bfloat16 matrices. Each way runs in a
process of its own, in turns; peak memory is that of axilla's process.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from axilla.core import store
from axilla.core.ahead import ahead
from axilla.core.config import Encoder, Patches
from axilla.core.types import PatchGrid, Slide
from axilla.features.computing import Computing, FrozenEncoder
from axilla.features.encoders import build_encoder
from axilla.wsi.patches import PatchReader, cut_and_read, cut_patches
from axilla.wsi.regions import find_regions
from machine import (
    DATA,
    answer,
    child_options,
    core_counts,
    in_child,
    matrix_rate,
    peak_mib,
    region_files,
    seconds,
)  # fmt: skip

ENCODERS = ("vgg16_bn", "resnet50", "densenet121", "alexnet", "inception_v3")
WAYS = ("original", "openvino", "torch")
ROUNDS = {"vgg16_bn": 3}
"""Processes a way, one where nothing else is said; each takes the median of `REPEATS`."""
REPEATS = 3
PATCHES = 24
"""Of the first region: a whole cohort is only more of the same, as `--slides` shows."""
SLIDES = 4
"""So often the region is embedded: the next one is read while one is encoded."""
BAG = 10


def count_products(network: nn.Module, side: int) -> int:
    """Multiplications of one patch, of convolutions and linear layers."""
    total = 0

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        total += out[0].numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.inference_mode():
        network(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total


def _slide(path: Path) -> Slide:
    return Slide(slide_id=path.stem, patient_id=path.stem, images=(path,))


def first_patches() -> np.ndarray:
    """The patches that every way encodes: [n, 256, 256, 3]."""
    slide = _slide(region_files()[0])
    return cut_and_read(slide, find_regions(slide, mode="whole"), config=Patches())[1][:PATCHES]


def original(name: str) -> dict[str, float]:
    """JPEG files of patches to features."""
    encoder = build_encoder(Encoder(name=name, weights="none"))
    body = encoder.body.eval().to(memory_format=torch.contiguous_format)
    side = encoder.input_px or 224
    prepare = transforms.Compose(
        [
            transforms.Resize((side, side)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for number, patch in enumerate(first_patches()):
            cv2.imwrite(f"{folder}/{number:03d}.jpg", patch[..., ::-1], [1, 100])
        files = sorted(Path(folder).iterdir())
        body(torch.zeros(1, 3, side, side))

        def go() -> None:
            for start in range(0, len(files), BAG):
                bag = [
                    prepare(Image.open(file).convert("RGB")) for file in files[start : start + BAG]
                ]
                body(torch.stack(bag)).flatten(1)

        return {"rate": len(files) / statistics.median(seconds(go) for _ in range(REPEATS))}


def axilla(name: str, backend: str, slides: int) -> dict[str, float]:
    """Region files to h5 files, `slides` times over."""
    encoder = build_encoder(Encoder(name=name, weights="none"))
    frozen = FrozenEncoder(encoder, computing=Computing("bfloat16", backend))
    some = first_patches()
    found = frozen.encode(some).astype(np.float64)  # compiles, and compares with float32
    slide = _slide(region_files()[0])

    def read() -> Iterator[tuple[int, PatchGrid, np.ndarray]]:
        for number in range(slides):
            regions = find_regions(slide, mode="whole")
            grid = cut_patches(slide, regions, config=Patches())
            with PatchReader(slide, grid, regions, config=Patches()) as reader:
                yield number, grid, reader.read(np.arange(min(PATCHES, len(grid))))

    def embed(folder: str) -> None:
        for number, grid, pixels in ahead(read()):
            value = store.Features(
                np.empty((0, encoder.features), np.float16), grid.xy[: len(pixels)], name, "", 256,
                None,
            )  # fmt: skip
            parts = iter([frozen.encode(pixels)])
            store.write_features(Path(folder) / f"{number}.h5", value, key="k", parts=parts)

    with tempfile.TemporaryDirectory() as folder:
        taken = statistics.median(seconds(lambda: embed(folder)) for _ in range(REPEATS))
    peak = peak_mib()  # before the whole comparison, which no study makes
    exact = FrozenEncoder(encoder, computing=Computing()).encode(some).astype(np.float64)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
    return {
        "rate": slides * len(some) / taken,
        "cosine": float(((found * exact).sum(axis=1) / lengths).min()),
        "products": count_products(encoder.body, encoder.input_px or 224),
        "peak_mib": peak,
    }


def measure(name: str, way: str, slides: int) -> int:
    """One way, in this process."""
    limit = matrix_rate()
    found = original(name) if way == "original" else axilla(name, way, slides)
    return answer({**found, "limit": max(limit, matrix_rate())})


def compare(name: str, cores: int) -> None:
    """Alternate the ways and print medians."""
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    rounds = ROUNDS.get(name, 1)
    for _ in range(rounds):
        for way in WAYS:
            runs[way].append(in_child(__file__, cores=cores, encoder=name, way=way, slides=SLIDES))

    def middle(way: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[way])

    theirs = middle("original", "rate")
    limit = statistics.median(run["limit"] for way in WAYS for run in runs[way])
    text = f"encoding, {name}, {cores} core{'s' * (cores > 1)}: the original's way {theirs:.1f} "
    text += "patches/s"
    for way, title in (("openvino", "with OpenVINO"), ("torch", "with PyTorch alone")):
        rate = middle(way, "rate")
        text += (
            f"; axilla {title} {rate:.1f}, {rate / theirs:.1f} times as many, "
            f"{rate * middle(way, 'products') / limit:.0%} of the rate of large bfloat16 products, "
            f"cosine to float32 {min(run['cosine'] for run in runs[way]):.5f}, peak memory "
            f"{max(run['peak_mib'] for run in runs[way]):.0f} MiB"
        )
    print(f"{text} (medians of {rounds * REPEATS})", flush=True)


def main() -> int:
    """All encoders; the options are those of its own child processes."""
    options = child_options(encoder=str, way=str, slides=int)
    if options is not None:
        torch.set_num_threads(options.cores)
        return measure(options.encoder, options.way, options.slides)
    if not DATA:
        print("encoding: left out, AXILLA_DATA is not set")
        return 0
    for name in ENCODERS:
        compare(name, core_counts()[-1])
    few, many = (
        in_child(__file__, cores=core_counts()[-1], encoder="alexnet", way="openvino", slides=count)
        for count in (2, 40)
    )
    print(
        f"encoding, peak memory of alexnet's process: 2 slides {few['peak_mib']:.0f} MiB, 40 "
        f"slides {many['peak_mib']:.0f} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
