"""Verbs about models' folders: which there are, the card of one, its graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from axilla.cli_running import ModelFolder
from axilla.console import say, say_table


def add_model_commands(app: typer.Typer) -> None:
    """Give the program these verbs."""
    app.command("models")(models)
    app.command("model-card")(model_card)
    app.command("export-onnx")(export_onnx)


def models(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER", exists=True, file_okay=False,
            help="Where to look, six levels deep; the folder at hand if none is given.",
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:  # fmt: skip
    """List the models under some folders: endpoint, encoder, AUC on validation, threshold, digest.

    A damaged one is told as such.
    """
    from axilla.study.listing import find_models, models_table

    found = find_models(folders or [Path()])
    if as_json:
        say(json.dumps([model.as_json() for model in found], indent=2, ensure_ascii=False))
    elif found:
        say_table(models_table(found))
    else:
        say("No model found.")


def model_card(model: ModelFolder) -> None:
    """Write model_card.md into a model's folder, from the bundle alone."""
    from axilla.study.model_card import write_card

    say(f"Model card: {write_card(model).resolve()}")


def export_onnx(
    model: ModelFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.")],
    encoder_weights: Annotated[
        Path | None,
        typer.Option(help="File of the frozen encoder's weights, where the study named a file."),
    ] = None,
) -> None:
    """Write a model as one ONNX graph of encoder and head, compared with the model before kept."""
    from axilla.study.exporting import export_bundle

    found = export_bundle(model, out, encoder_weights=encoder_weights)
    graph = found.exported
    taken = ", ".join(f"{name} {list(shape)}" for name, shape in graph.inputs.items())
    say(f"{out}: {taken} -> {', '.join(graph.outputs)}")
    say(f"Largest difference from the model on random bags: {graph.largest_difference:.1e}")
    if graph.prepared:
        say(
            "Note: the graph takes patches as the model was trained on them, "
            f"{', '.join(graph.prepared)}; patches as they come from a slide are scored wrongly."
        )
    if found.without_encoder is not None:
        say(f"Note: the graph holds the head alone and takes features: {found.without_encoder}.")
