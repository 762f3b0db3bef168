"""Verbs about nuclei."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from axilla.console import say

nuclei = typer.Typer(help="Nuclei of an image: measured.", no_args_is_help=True)


def add_nuclei_commands(app: typer.Typer) -> None:
    """Give the program these verbs."""
    app.add_typer(nuclei, name="nuclei")


@nuclei.command()
def measure(
    found: Annotated[
        Path,
        typer.Argument(
            metavar="NUCLEI",
            help="An instance map (.npz with inst_map, .npy, .tif), or outlines of QuPath, "
            "StarDist, CellViT (.geojson) or HoVer-Net (.json).",
        ),
    ],
    image: Annotated[Path, typer.Argument(help="The image they were found in.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Table to write: .parquet or .csv.")],
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel, where the image does not tell, or wrongly.")
    ] = None,
) -> None:
    """Measure each nucleus: axes, area, orientation, circumference, shape, order and density."""
    from axilla.core.types import MicronsPerPixel
    from axilla.study.nuclei import measure_image

    scale = None if mpp is None else MicronsPerPixel(mpp)
    measured = measure_image(found, image, out, mpp=scale)
    say(f"{out}: {len(measured.table):,} nuclei")
    if measured.mpp is None:
        say("Note: lengths are in pixels; give --mpp for µm.")
    else:
        say(f"Lengths in µm, at {measured.mpp:g} µm per pixel.")
