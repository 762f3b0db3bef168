"""One training step end to end: axilla's layout and precision against the original's, in one run.

The original ran one bag a step in float32 and the default layout. The machine's limit is the rate
at which it multiplies large bfloat16 matrices. Network: small_cnn, a bag of 128 patches of 32 px.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
import torch.nn.functional as F

from axilla.core.config import Aggregator, Encoder
from axilla.features.encoders import build_encoder
from axilla.mil.model import DLCNB

ROUNDS = 15
BAG = 128
MACS = 29 * 29 * 36 * 48 + 12 * 12 * 48 * 36 * 9 + 1728 * 512 + 512 * 512 + 512 * 256
"""Multiplications of one patch, forward; backward is twice that."""


def step_time(*, precision: torch.dtype, channels_last: bool, fused: bool) -> float:
    """Seconds of one step."""
    torch.manual_seed(0)
    encoder = build_encoder(Encoder(name="small_cnn", weights="none", trainable=True))
    model = DLCNB(encoder=encoder, features=512, clinical=0, classes=2, config=Aggregator())
    layout = torch.channels_last if channels_last else torch.contiguous_format
    encoder.body.to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    patches = torch.randint(0, 256, (BAG, 3, 32, 32), dtype=torch.uint8)
    label = torch.tensor([1])
    times = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = model(patches, [BAG]).logits
        optimizer.zero_grad()
        F.cross_entropy(logits, label).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def matrix_rate() -> float:
    """Multiplications a second of a large bfloat16 matrix product."""
    a = torch.randn(2048, 2048).bfloat16()
    start = time.perf_counter()
    for _ in range(4):
        a @ a
    return 4 * 2048**3 / (time.perf_counter() - start)


def main() -> int:
    """Alternate the two and print medians."""
    axilla, original, rates = [], [], []
    for _ in range(ROUNDS):
        axilla.append(step_time(precision=torch.bfloat16, channels_last=True, fused=True))
        original.append(step_time(precision=torch.float32, channels_last=False, fused=False))
        rates.append(matrix_rate())
    a, b = statistics.median(axilla), statistics.median(original)
    share = 3 * MACS * BAG / a / statistics.median(rates)
    print(
        f"training step, {torch.get_num_threads()} threads: axilla {1000 * a:.0f} ms, the "
        f"original's way {1000 * b:.0f} ms, {b / a:.1f} times as long; {share:.0%} of the rate of "
        f"large bfloat16 matrix products (medians of {ROUNDS})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
