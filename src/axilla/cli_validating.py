"""The verb for somebody else's model on a cohort of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from axilla.cli_running import Exclude, StudyFile
from axilla.console import ConsoleReporter, say


def add_validating_commands(app: typer.Typer) -> None:
    """Give the program this verb."""
    app.command("validate")(validate)


def validate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The model's folder, with model.json.")
    ],
    study: StudyFile,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; validation-<study> unless given.")
    ] = None,
    recalibrate: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Correct the probabilities on a sample: intercept, platt or isotonic (500 "
            "patients at least).",
        ),
    ] = None,
    recalibrate_on: Annotated[
        str | None,
        typer.Option(metavar="COLUMN=VALUE", help="Who is the sample; they are not measured."),
    ] = None,
    recalibrate_share: Annotated[
        float | None, typer.Option(help="A drawn share of the patients instead, such as 0.2.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 8888,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME=CLASS",
            help="The study's name of a class and the model's, where a column names them "
            "otherwise; once each class.",
        ),
    ] = None,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(help="File of the frozen encoder's weights, where the model's was a file."),
    ] = None,
    exclude_failed: Exclude = False,
) -> None:
    """Measure a model as it is on another cohort: nothing is trained, no threshold chosen."""
    from axilla.deploy.external import parse_classes
    from axilla.deploy.samples import parse_recalibrate
    from axilla.deploy.validating import validate as validate_now

    asked = parse_recalibrate(recalibrate, on=recalibrate_on, share=recalibrate_share, seed=seed)
    found = validate_now(
        model,
        study,
        out=out,
        recalibrate=asked,
        class_map=parse_classes(classes or ()),
        encoder_weights=encoder_weights,
        exclude_failed=exclude_failed,
        reporter=ConsoleReporter(),
    )
    say(f"Report: {found.report.resolve()}")
