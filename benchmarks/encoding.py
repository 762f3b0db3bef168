"""Region files to features: axilla against the original's way, on real biopsy regions, in one run.

Both start from the region files of one patient and end with the features of all kept patches. The
original wrote every patch as a JPEG file, read it with Pillow, resized and normalised it, and ran
bags of 10 in float32 and PyTorch's default layout. Axilla cuts, reads, encodes and writes the
slides' h5 files, by OpenVINO and by PyTorch alone. Weights are drawn, which costs the same as
trained ones, and read from a file as large as the published one. The machine's limit is the rate
at which it multiplies large bfloat16 matrices. Each way runs in a process of its own, in turns;
peak memory is that of axilla's process.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from axilla.core import store
from axilla.core.ahead import ahead
from axilla.core.config import Encoder, Patches
from axilla.core.types import PatchGrid, Slide
from axilla.features.computing import Computing, FrozenEncoder
from axilla.features.encoders import build_encoder
from axilla.features.registry import encoder_spec
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
from original_way import cut_to_files

ENCODERS = ("vgg16_bn", "resnet50", "densenet121", "alexnet", "inception_v3")
WAYS = ("original", "openvino", "torch")
ROUNDS = {"vgg16_bn": 3}
"""Processes a way, one where nothing else is said; each takes the median of `REPEATS`."""
REPEATS = 3
PATIENT = "389510"
"""71 patches in three regions; the mean of the cohort is 68."""
COMPARED = 24
"""Patches whose features are held against float32."""
TIMES = 2
"""So often axilla embeds the regions in a round: the next one is read while one is encoded."""
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


def case_files() -> list[Path]:
    """The region images of one patient."""
    return [path for path in region_files() if path.stem.split("_")[0] == PATIENT]


def some_patches() -> np.ndarray:
    """Patches of the first region: [n, 256, 256, 3]."""
    slide = _slide(case_files()[0])
    return cut_and_read(slide, find_regions(slide, mode="whole"), config=Patches())[1][:COMPARED]


def original(name: str, weights: str) -> dict[str, float]:
    """JPEG files of patches to features."""
    from torchvision import transforms  # late: its memory is not axilla's before there is need

    encoder = build_encoder(Encoder(name=name, weights=weights))
    body = encoder.body.eval().to(memory_format=torch.contiguous_format)
    side = encoder.input_px or 224
    prepare = transforms.Compose(
        [
            transforms.Resize((side, side)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.inference_mode():
        body(torch.zeros(1, 3, side, side))

        def go() -> int:
            with tempfile.TemporaryDirectory() as folder:
                for path in case_files():
                    cut_to_files(path, Path(folder))
                files = sorted(Path(folder).iterdir())
                for start in range(0, len(files), BAG):
                    some = files[start : start + BAG]
                    bag = [prepare(Image.open(file).convert("RGB")) for file in some]
                    body(torch.stack(bag)).flatten(1)
                return len(files)

        patches = go()
        return {"rate": patches / statistics.median(seconds(go) for _ in range(REPEATS))}


def axilla(name: str, weights: str, backend: str, times: int) -> dict[str, float]:
    """Region files to h5 files, `times` over."""
    config = Encoder(name=name, weights=weights)
    frozen = FrozenEncoder(build_encoder(config), computing=Computing("bfloat16", backend))
    some = some_patches()
    found = frozen.encode(some).astype(np.float64)  # compiles, and compares with float32

    def read() -> Iterator[tuple[PatchGrid, np.ndarray]]:
        for path in times * case_files():
            slide = _slide(path)
            regions = find_regions(slide, mode="whole")
            grid = cut_patches(slide, regions, config=Patches())
            with PatchReader(slide, grid, regions, config=Patches()) as reader:
                yield grid, reader.read(np.arange(len(grid)))

    def embed(folder: str) -> int:
        patches = 0
        for number, (grid, pixels) in enumerate(ahead(read())):
            value = store.Features(
                np.empty((0, frozen.features), np.float16), grid.xy, name, "", 256, None
            )
            parts = iter([frozen.encode(pixels)])
            store.write_features(Path(folder) / f"{number}.h5", value, key="k", parts=parts)
            patches += len(grid)
        return patches

    with tempfile.TemporaryDirectory() as folder:
        patches = embed(folder)
        taken = statistics.median(seconds(lambda: embed(folder)) for _ in range(REPEATS))
    peak = peak_mib()  # before the whole comparison, which no study makes
    encoder = build_encoder(config)
    exact = FrozenEncoder(encoder, computing=Computing()).encode(some).astype(np.float64)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
    return {
        "rate": patches / taken,
        "cosine": float(((found * exact).sum(axis=1) / lengths).min()),
        "products": count_products(encoder.body, encoder.input_px or 224),
        "peak_mib": peak,
    }


def measure(name: str, weights: str, way: str, times: int) -> int:
    """One way, in this process."""
    if way == "file":
        torch.save(encoder_spec(name).build().state_dict(), weights)
        return answer({})
    limit = matrix_rate()
    found = original(name, weights) if way == "original" else axilla(name, weights, way, times)
    return answer({**found, "limit": max(limit, matrix_rate())})


@contextmanager
def weights_file(name: str) -> Iterator[str]:
    """A file of drawn weights, as large as the published one; a child makes it, and ends."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/{name}.pth"
        in_child(__file__, cores=1, encoder=name, weights=path, way="file", times=0)
        yield path


def compare(name: str, cores: int) -> None:
    """Alternate the ways and print medians."""
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    rounds = ROUNDS.get(name, 1)
    with weights_file(name) as weights:
        given = {"cores": cores, "encoder": name, "weights": weights, "times": TIMES}
        for _ in range(rounds):
            for way in WAYS:
                runs[way].append(in_child(__file__, way=way, **given))

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
    options = child_options(encoder=str, weights=str, way=str, times=int)
    if options is not None:
        torch.set_num_threads(options.cores)
        return measure(options.encoder, options.weights, options.way, options.times)
    if not DATA:
        print("encoding: left out, AXILLA_DATA is not set")
        return 0
    for name in ENCODERS:
        compare(name, core_counts()[-1])
    with weights_file("alexnet") as weights:
        given = {"cores": core_counts()[-1], "encoder": "alexnet", "weights": weights}
        few, many = (in_child(__file__, way="openvino", times=times, **given) for times in (1, 20))
    print(
        f"encoding, peak memory of alexnet's process: 3 slides {few['peak_mib']:.0f} MiB, 60 "
        f"slides {many['peak_mib']:.0f} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
