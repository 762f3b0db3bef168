"""A study under `torchrun` or `fabric run`: the first process works, the others help it train.

Everybody trains together; whatever else there is to do, and to write, the first process does
alone. The others wait until it has tiled and embedded, and read that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from axilla.mil.devices import check_devices, make_fabric, started_processes
from axilla.mil.feeding import batch_size

if TYPE_CHECKING:
    from axilla.core.config import StudyConfig


def check_means(config: StudyConfig) -> None:
    """Refuse before any computing what training will need and is not here.

    Raises
    ------
    ConfigError
        The study asks for other devices than there are processes, or for batches that these
        cannot share.
    """
    if not config.uses_slides:
        return
    check_devices(config.training)
    batch_size(config.training, learns=config.encoder.trainable, processes=started_processes())


def is_helper() -> bool:
    """Whether another process leads."""
    return started_processes() > 1 and os.environ["RANK"] != "0"


def call_helpers(config: StudyConfig) -> None:
    """What the training reads is there: let the others come; nothing where there are none."""
    if started_processes() > 1 and not is_helper():
        make_fabric(config.training).barrier()


def wait_for_call(config: StudyConfig) -> None:
    """Wait, as a helper, until the first process is about to train."""
    make_fabric(config.training).barrier()
