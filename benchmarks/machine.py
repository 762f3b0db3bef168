"""What the benchmarks share: a process on so many cores, its peak memory, the machine's limit."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

DATA = os.environ.get("AXILLA_DATA")


def region_files() -> list[Path]:
    """The real tumour regions, `<patient>_<k>.jpg`."""
    return sorted((Path(DATA or "") / "bcnb" / "regions").glob("*_*.jpg"))


def in_child(file: str, **options: str | int) -> dict[str, Any]:
    """Run `file` again in a process of its own and return what it answers.

    Threads of the parent and its memory are then not the child's; `cores` limits both the cores
    and the threads of every library.
    """
    cores = str(options["cores"])
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), cores)
    done = subprocess.run(
        [sys.executable, file, "--child", *words],
        stdout=subprocess.PIPE,
        env={**os.environ, **threads},
        check=True,
        text=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def child_options(**types: type) -> argparse.Namespace | None:
    """The options that `in_child` gave; None in the parent. Keeps the process to its cores."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--cores", type=int, default=1)
    for name, kind in types.items():
        parser.add_argument(f"--{name}", type=kind)
    options = parser.parse_args()
    if not options.child:
        return None
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    return options


def answer(value: Mapping[str, Any]) -> int:
    """Hand a child's result, with its peak memory, to the parent."""
    print(json.dumps({"peak_mib": peak_mib(), **value}))
    return 0


def peak_mib() -> float:
    """Most memory that this process ever held, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says begins at the parent's size.
        words = next(line for line in status.read_text().splitlines() if "VmHWM" in line).split()
        return int(words[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def core_counts() -> list[int]:
    """One core, and two where the machine has them."""
    return [1, 2] if len(os.sched_getaffinity(0)) > 1 else [1]


def seconds(way: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def matrix_rate() -> float:
    """Multiplications a second of large bfloat16 matrix products: the machine's limit."""
    import torch

    a = torch.randn(2048, 2048).bfloat16()
    a @ a
    return 4 * 2048**3 / seconds(lambda: [a @ a for _ in range(4)])
