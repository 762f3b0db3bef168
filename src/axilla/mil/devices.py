"""Where a training runs: devices, processes and precision, and what makes it repeatable."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from axilla.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_fabric import Fabric

    from axilla.core.config import Training

PATIENCE = timedelta(days=2)
"""How long a process waits for another: the first one may have a whole cohort to embed."""


def started_processes() -> int:
    """How many processes `torchrun` or `fabric run` started; 1 without them."""
    launched = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
    return int(os.environ["WORLD_SIZE"]) if launched else 1


def check_devices(config: Training) -> None:
    """Refuse another number of devices than processes were started.

    Raises
    ------
    ConfigError
        The study asks for such a number.
    """
    processes = started_processes()
    if config.devices not in {"auto", processes}:
        raise ConfigError(
            f"training.devices is {config.devices}, but {processes} "
            f"process{' was' if processes == 1 else 'es were'} started.",
            f"Start `torchrun --nproc-per-node {config.devices} -m axilla.cli run study.yaml`, or "
            "take the key out.",
        )


def make_fabric(config: Training) -> Fabric:
    """Devices and precision: one device, or as many as processes were started.

    Raises
    ------
    ConfigError
        The study asks for another number of devices than processes were started.
    """
    # Late: it takes seconds, and whoever only asks a model never trains.
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    # Fabric says its precision at every call; what went wrong is still heard.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    check_devices(config)
    processes = started_processes()
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if processes > 1 else 1
    several = processes > 1 and "LT_STRATEGY" not in os.environ
    fabric = Fabric(
        accelerator="auto",
        devices=local,
        num_nodes=processes // local,
        strategy=DDPStrategy(timeout=PATIENCE) if several else "auto",
        precision="bf16-mixed" if config.precision == "bfloat16" else "32-true",
    )
    fabric.launch()
    return fabric


def leave_together() -> None:
    """Let go of the other processes; one that ends while their threads run may be aborted."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def sum_over(fabric: Fabric, values: Tensor) -> Tensor:
    """The sum over all processes, on the CPU; the same to the last bit in each."""
    if fabric.world_size == 1:
        return values.cpu()
    total = fabric.all_reduce(fabric.to_device(values), reduce_op="sum")
    return cast("Tensor", total).cpu()


def gather(fabric: Fabric, values: Tensor) -> Tensor:
    """[n] of each process -> [processes, n], on the CPU."""
    if fabric.world_size == 1:
        return values.cpu()[None]
    return cast("Tensor", fabric.all_gather(fabric.to_device(values))).cpu()


def share_buffers(fabric: Fabric, module: torch.nn.Module) -> None:
    """Give every process the first one's buffers: each saw other bags, so BatchNorm's differ."""
    if fabric.world_size > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Treat numbers below 1e-38 as zero within the block; an x86 trains 3 times as fast for it.

    Adam's moments of units that fell silent shrink until they are such numbers and never reach
    zero; then every step costs a multiple. Torch's threads inherit the mode when they are made: a
    study enters before anything is computed.
    """
    before = bool(np.float32(1e-30) * np.float32(1e-10) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def repeatable(config: Training) -> Iterator[None]:
    """Within the block a GPU adds in the same order every time, where the study wants it.

    Raises
    ------
    ConfigError
        An operation of the model can only be done in any order.
    """
    if not config.deterministic:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise ConfigError(
            "training.deterministic: a layer of this model has no repeatable form on this device "
            f"({str(error).splitlines()[0]}).",
            "Take the key out, or train on a CPU.",
        ) from error
    finally:
        torch.use_deterministic_algorithms(before)
