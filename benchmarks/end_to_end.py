"""Training VGG16_BN with clinical data end to end: axilla's step against the original's.

Both train on the same bags of 10 patches of real tumour regions, one bag a step, from the same
weights, step by step in turns. The original's way is float32 in PyTorch's default layout with its
plain Adam; axilla's is Fabric's bfloat16 (the weights stay float32), channels last and the fused
Adam. The machine's limit is the rate at which it multiplies large bfloat16 matrices. Weights are
drawn, and the label says of which of two patients a bag is: a task that can be learnt, not a
result. Losses go to `benchmarks/out/end_to_end.csv`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axilla.core.config import Aggregator, Encoder, Patches, Training
from axilla.core.types import Slide
from axilla.features.encoders import build_encoder
from axilla.mil.model import DLCNB
from axilla.mil.training import denormals_flushed, make_fabric
from axilla.wsi.patches import cut_and_read
from axilla.wsi.regions import find_regions
from encoding import count_products
from machine import DATA, matrix_rate, peak_mib, region_files

BAG, CLINICAL = 10, 8
BAGS = 4_498
"""Of the original's cohort: an epoch."""
OUT = Path(__file__).resolve().parent / "out" / "end_to_end.csv"
TARGET = 2.2


class Bag(NamedTuple):
    """What a step sees."""

    patches: Tensor
    """[10, 3, 256, 256] uint8."""
    clinical: Tensor
    label: Tensor


Step = Callable[[Bag], float]
"""One step of training; its loss."""


def make_bags(count: int) -> list[Bag]:
    """Bags of one patient and the other in turns, of patches drawn from their regions."""
    rng = np.random.default_rng(0)
    pools: dict[str, list[np.ndarray]] = {}
    for path in region_files():
        patient = path.stem.split("_")[0]
        slide = Slide(slide_id=path.stem, patient_id=patient, images=(path,))
        regions = find_regions(slide, mode="whole")
        pools.setdefault(patient, []).append(cut_and_read(slide, regions, config=Patches())[1])
    found = []
    for number in range(count):
        label = number % 2
        pixels = np.concatenate(pools[sorted(pools)[label]])
        some = pixels[rng.choice(len(pixels), BAG, replace=False)]
        patches = torch.from_numpy(some).permute(0, 3, 1, 2)
        clinical = torch.from_numpy(rng.normal(size=(1, CLINICAL))).float()
        found.append(Bag(patches, clinical, torch.tensor([label])))
    return found


def make_model(seed: int) -> DLCNB:
    """DL-CNB+C on VGG16_BN, its weights drawn from the seed."""
    encoder = build_encoder(Encoder(name="vgg16_bn", weights="none", trainable=True), seed=seed)
    torch.manual_seed(seed)
    features = encoder.features
    return DLCNB(
        encoder=encoder, features=features, clinical=CLINICAL, classes=2, config=Aggregator()
    ).train()


class _DefaultLayout(nn.Module):
    """An encoder whose weights and maps lie in PyTorch's default layout."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.body.to(memory_format=torch.contiguous_format)

    def forward(self, patches: Tensor) -> Tensor:
        """Encode patches."""
        x = self.encoder.normalised(self.encoder.sized(patches))
        return self.encoder.body(x.contiguous()).flatten(1)


def original(seed: int) -> Step:
    """One bag a step in float32 and the default layout."""
    model = make_model(seed)
    model.encoder = _DefaultLayout(model.encoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-3)

    def step(bag: Bag) -> float:
        loss = F.cross_entropy(model(bag.patches, [BAG], bag.clinical).logits, bag.label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def axilla(seed: int) -> Step:
    """As `training.precision: bfloat16` does it."""
    fabric = make_fabric(Training(precision="bfloat16"))
    module = make_model(seed)
    adam = torch.optim.Adam(module.parameters(), lr=1e-4, weight_decay=1e-3, fused=True)
    model, optimizer = fabric.setup(module, adam)

    def step(bag: Bag) -> float:
        loss = F.cross_entropy(model(bag.patches, [BAG], bag.clinical).logits.float(), bag.label)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        return float(loss.detach())

    return step


def run(bags: list[Bag], *, seeds: int) -> pd.DataFrame:
    """Every step of every seed, the ways in turns: way, seed, step, seconds, loss."""
    rows = []
    for seed in range(seeds):
        ways = {"original": original(seed), "axilla": axilla(seed)}
        states = {way: torch.Generator().manual_seed(seed).get_state() for way in ways}
        for number, bag in enumerate(bags):
            for way, step in ways.items():
                torch.set_rng_state(states[way])  # each has its own dropout, of the same seed
                start = time.perf_counter()
                loss = step(bag)
                seconds = time.perf_counter() - start
                states[way] = torch.get_rng_state()
                rows.append((way, seed, number, seconds, loss))
    return pd.DataFrame(rows, columns=["way", "seed", "step", "seconds", "loss"])


def compare_losses(table: pd.DataFrame) -> tuple[float, float]:
    """Mean difference between the ways of one seed, and between seeds of the original's way."""
    losses = table.pivot_table(index="step", columns=["way", "seed"], values="loss")
    seeds = losses["original"].columns
    own = np.mean([(losses["axilla"][s] - losses["original"][s]).abs().mean() for s in seeds])
    pairs = [
        (losses["original"][a] - losses["original"][b]).abs() for a, b in combinations(seeds, 2)
    ]
    print(losses.round(4).to_string())
    return float(own), float(np.mean(pairs)) if pairs else float("nan")


def main() -> int:
    """Print times, their ratio, share of the limit and losses; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    if not DATA:
        print("end to end: left out, AXILLA_DATA is not set")
        return 0
    torch.set_num_threads(options.threads)
    with denormals_flushed():
        rates = [matrix_rate()]
        table = run(make_bags(options.steps), seeds=options.seeds)
        rates.append(matrix_rate())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(OUT, index=False)
    # The first step of each seed makes kernels and memory ready; both ways pay it once a training.
    steady = table[table.step > 0] if options.steps > 1 else table
    ours, theirs = (
        statistics.median(steady.loc[steady.way == way, "seconds"])
        for way in ("axilla", "original")
    )
    body = build_encoder(Encoder(name="vgg16_bn", weights="none")).body
    share = 3 * BAG * count_products(body, 224) / ours / max(rates)
    difference, spread = compare_losses(table)
    print(
        f"end to end, vgg16_bn with clinical data, a bag of {BAG}, {options.threads} threads: "
        f"axilla {ours:.2f} s a step ({ours * BAGS / 3600:.1f} hours for {BAGS:,} bags), the "
        f"original's way {theirs:.2f} s ({theirs * BAGS / 3600:.1f} hours), {theirs / ours:.2f} "
        f"times as long; {share:.0%} of the rate of large bfloat16 products; medians of "
        f"{len(steady) // 2}; peak memory of both {peak_mib():.0f} MiB"
    )
    print(
        f"end to end, losses over {options.steps} steps: the ways differ by {difference:.4f} on "
        f"the same seed, seeds of the original's way by {spread:.4f} (mean absolute differences)"
    )
    return int(theirs / ours < TARGET or difference > spread)


if __name__ == "__main__":
    sys.exit(main())
