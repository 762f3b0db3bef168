"""The command that takes in a model trained elsewhere; `cli` adds it to the others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from axilla.console import say


class BatchNorm(StrEnum):
    """What `--batch-norm` may say."""

    running = "running"
    batch = "batch"


def import_checkpoint(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="best.pth", help="The state dict that the authors' code saved."),
    ],
    *,
    encoder: Annotated[
        str,
        typer.Option(
            help="That it was trained with: vgg16_bn, alexnet, resnet50, densenet121, inception_v3."
        ),
    ],
    clinical: Annotated[
        bool, typer.Option("--clinical", help="It is DL-CNB+C, with clinical data.")
    ] = False,
    task: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=4,
            help="The authors' endpoint, as for import-bcnb; 2 for three classes and 0 for two "
            "unless given.",
        ),
    ] = None,
    batch_norm: Annotated[
        BatchNorm,
        typer.Option(
            help="Statistics in prediction: running, or of each bag, as the authors' code."
        ),
    ] = BatchNorm.running,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the model; <name>-<encoder> unless given.")
    ] = None,
) -> None:
    """Make a model of the paper's authors one of ours; no code in the file is run."""
    from axilla.study.checkpoints import import_checkpoint as import_now

    found = import_now(
        checkpoint,
        encoder=encoder,
        clinical=clinical,
        task=task,
        batch_norm=batch_norm.value,
        out=out,
    )
    for note in found.notes:
        say(f"Note: {note}")
    say(f"{found.method} with {encoder}, {' / '.join(found.classes)}, in {found.folder}")
