"""Verbs about one model's folder: its card, its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from axilla.cli_running import ModelFolder
from axilla.console import say


def add_model_commands(app: typer.Typer) -> None:
    """Give the program these verbs."""
    app.command("model-card")(model_card)
    app.command("export-onnx")(export_onnx)


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
    if found.without_encoder is not None:
        say(f"Note: the graph holds the head alone and takes features: {found.without_encoder}.")
