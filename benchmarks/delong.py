"""DeLong's test: axilla's O(n log n) against the definition, in one run, on generated scores."""

from __future__ import annotations

import os
import statistics
import sys
import time

import numpy as np
from numpy.typing import NDArray

from axilla.analysis.roc import compare_paired

ROUNDS = 5
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def by_definition(y: NDArray[np.int64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return z of the paired test from all pairs of patients (doi:10.2307/2531595)."""
    parts = []
    for scores in (a, b):
        difference = scores[y == 1][:, None] - scores[y == 0][None, :]
        wins = (difference > 0) + 0.5 * (difference == 0)
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    positive = np.cov([part[0] for part in parts])
    negative = np.cov([part[1] for part in parts])
    total = positive / (y == 1).sum() + negative / (y == 0).sum()
    variance = total[0, 0] + total[1, 1] - 2 * total[0, 1]
    return float((parts[0][0].mean() - parts[1][0].mean()) / np.sqrt(variance))


def main() -> int:
    """Print medians for growing cohorts and their growth; the definition up to 10,000 patients."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    rng = np.random.default_rng(1)
    medians: list[float] = []
    for n in SIZES:
        y = (rng.random(n) < 0.38).astype(np.int64)
        a, b = (y + rng.normal(0, 2, n) for _ in range(2))
        fast, slow = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            z = compare_paired(y, a, b).z
            fast.append(time.perf_counter() - start)
            if n <= 10_000:
                start = time.perf_counter()
                oracle = by_definition(y, a, b)
                slow.append(time.perf_counter() - start)
                if abs(z - oracle) > 1e-9:
                    print(f"delong: {z} against {oracle} by definition")
                    return 1
        text = f"delong, {n:,} patients: axilla {statistics.median(fast):.4f} s"
        if slow:
            ratio = statistics.median(slow) / statistics.median(fast)
            text += f", by definition {statistics.median(slow):.4f} s, {ratio:.0f} times as long"
        print(f"{text} (medians of {ROUNDS}, one core)")
        medians.append(statistics.median(fast))
    # n log n grows, over these sizes, as n to the power of 1.1; the definition as n squared.
    steps = np.diff(np.log10(medians)) / np.diff(np.log10(SIZES))
    whole = np.polyfit(np.log10(SIZES), np.log10(medians), 1)[0]
    said = ", ".join(f"{step:.2f}" for step in steps)
    print(f"delong, time as a power of the patients: {whole:.2f} overall, {said} step by step")
    return 0


if __name__ == "__main__":
    sys.exit(main())
