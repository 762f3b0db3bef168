"""Verbs of a finished model elsewhere: one new case, or a scanner's folder of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from axilla.cli_running import ModelFolder
from axilla.console import ConsoleReporter, say

if TYPE_CHECKING:
    from axilla.deploy.case_inputs import CaseInput

DOUBTFUL = 3
"""The case is done, and a warning says not to believe the number."""


def add_deploy_commands(app: typer.Typer) -> None:
    """Give the program these verbs."""
    app.command("predict-case")(predict_case)


def predict_case(
    model: ModelFolder,
    slides: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SLIDE...",
            help="The patient's slides. With --regions whole, <id>_<k>.jpg are the cut regions of "
            "one. None for a model of clinical data alone.",
        ),
    ] = None,
    *,
    annotation: Annotated[
        list[Path] | None,
        typer.Option(help="Outline of the tumour, named as its slide; may be given again."),
    ] = None,
    patient_id: Annotated[
        str | None, typer.Option(help="The first slide's name unless given.")
    ] = None,
    age: Annotated[str | None, typer.Option(help="Years.")] = None,
    tumor_size_cm: Annotated[str | None, typer.Option(help="cm.")] = None,
    er: Annotated[str | None, typer.Option(help="positive or negative.")] = None,
    pr: Annotated[str | None, typer.Option(help="positive or negative.")] = None,
    her2: Annotated[str | None, typer.Option(help="positive or negative.")] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any clinical column of the model, by its name."
        ),
    ] = None,
    clinical_json: Annotated[
        Path | None, typer.Option(help="A JSON object of clinical values by column.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel, where the slides do not say it.")
    ] = None,
    regions: Annotated[
        Literal["auto", "annotation", "tissue", "whole"],
        typer.Option(help="auto: the annotation where there is one, else tissue."),
    ] = "auto",
    encoder_weights: Annotated[
        Path | None,
        typer.Option(help="File of the frozen encoder's weights, where the study named a file."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to; case-<patient> unless given."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print case.json, and nothing else, to standard output.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of case.json, and end.")
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Instead of SLIDE: every case that comes into this folder, each once, into "
            "OUT/<slide>/. A case is a slide, an annotation of the same name and <slide>.json of "
            "clinical values.",
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="With --watch: what is there now, then end.")
    ] = False,
) -> None:
    """Ask a model about one new patient: case.html, case.json, patches for QuPath.

    Ends with 0; with 2 where the input is wrong; with 3 where a warning says not to believe the
    number.
    """
    if schema:
        from axilla.deploy.case_record import CaseRecord

        sys.stdout.write(json.dumps(CaseRecord.model_json_schema(), indent=2) + "\n")
        return
    if watch is not None:
        if slides or out is None:
            raise typer.BadParameter("--watch FOLDER goes with --out DIR and without a slide")
        _watch(model, watch, out, encoder_weights, regions=regions, mpp=mpp, once=once)
        return
    if once:
        raise typer.BadParameter("--once goes with --watch")
    named = {"age": age, "tumor_size_cm": tumor_size_cm, "er": er, "pr": pr, "her2": her2}
    from axilla.deploy.case_inputs import CaseInput, read_values

    clinical = {} if clinical_json is None else read_values(clinical_json)
    clinical |= {name: value for name, value in named.items() if value is not None}
    clinical |= dict(map(_pair, values or ()))
    case = CaseInput(
        slides=tuple(slides or ()),
        annotations=tuple(annotation or ()),
        clinical=clinical,
        patient_id=patient_id,
        regions=regions,
        mpp=mpp,
    )
    _predict(model, case, out, encoder_weights, as_json=as_json)


def _predict(
    model: Path, case: CaseInput, out: Path | None, encoder_weights: Path | None, *, as_json: bool
) -> None:
    from axilla.core.progress import Silent
    from axilla.deploy.loading import load_model
    from axilla.deploy.predicting import predict_case as predict_now
    from axilla.deploy.predicting import write_case

    loaded = load_model(model, encoder_weights=encoder_weights)
    result = predict_now(loaded, case, reporter=Silent() if as_json else ConsoleReporter())
    folder = out or Path(f"case-{result.record.patient_id}")
    # Printed alone it leaves nothing behind, unless a folder is named.
    files = () if as_json and out is None else write_case(result, folder)
    if as_json:
        sys.stdout.write(result.json)
    else:
        for warning in result.record.warnings:
            say(f"{'WARNING' if warning.severe else 'note':<9} {warning.sentence}")
        for note in result.record.notes:
            say(f"note      {note}")
        told = result.record.probability
        say("; ".join(f"{name} {value:.3f}" for name, value in told.items()))
        say(f"Look at: {files[0].resolve()}")
    if result.doubtful:
        raise typer.Exit(DOUBTFUL)


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name.strip():
        raise typer.BadParameter(f"--set {text}: write NAME=VALUE")
    return name.strip(), value


def _watch(
    model: Path,
    folder: Path,
    out: Path,
    encoder_weights: Path | None,
    *,
    regions: Literal["auto", "annotation", "tissue", "whole"],
    mpp: float | None,
    once: bool,
) -> None:
    from axilla.deploy.loading import load_model
    from axilla.deploy.watching import Watch, watch_folder

    loaded = load_model(model, encoder_weights=encoder_weights)
    settings = Watch(folder, out, regions=regions, mpp=mpp)
    watch_folder(loaded, settings, reporter=ConsoleReporter(), once=once)
