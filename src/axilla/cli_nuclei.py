"""Verbs about nuclei."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from axilla.console import say
from axilla.core.nucleus_tools import NucleusTool

nuclei = typer.Typer(help="Nuclei of an image: found, measured, learned.", no_args_is_help=True)


def add_nuclei_commands(app: typer.Typer) -> None:
    """Give the program these verbs."""
    app.add_typer(nuclei, name="nuclei")


_Mpp = Annotated[
    float | None, typer.Option(help="µm per pixel, where the image does not tell, or wrongly.")
]

_NoCrop = Annotated[
    bool,
    typer.Option("--no-crop", help="The slide is opened in QuPath with its own --no-crop."),
]


@nuclei.command()
def segment(
    image: Annotated[Path, typer.Argument(help="A slide or picture.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Instance map to write: .npz; or outlines for QuPath, of slides of any size: "
            ".geojson.",
        ),
    ],
    *,
    mpp: _Mpp = None,
    classical: Annotated[
        bool, typer.Option("--classical", help="By colour and watershed, without the network.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="Of your own network, or of --tool; the shipped one without it."),
    ] = None,
    tool: Annotated[
        NucleusTool | None,
        typer.Option(help="Another network, an extra; its weights are a local file: --weights."),
    ] = None,
    tool_mpp: Annotated[
        float | None,
        typer.Option(min=0.01, help="µm per pixel that the tool's network was trained at."),
    ] = None,
    no_crop: _NoCrop = False,
) -> None:
    """Find the nuclei of an image: `inst_map` of OUT is 0 for background, else 1, 2, ..."""
    from axilla.core.types import MicronsPerPixel
    from axilla.study.nuclei_segmenting import Way, segment_file

    if tool is not None and classical:
        raise typer.BadParameter("goes without --classical", param_hint="--tool")
    if tool is None and tool_mpp is not None:
        raise typer.BadParameter("goes with --tool", param_hint="--tool-mpp")
    scale = None if mpp is None else MicronsPerPixel(mpp)
    way = Way(classical=classical, weights=weights, tool=tool, tool_mpp=tool_mpp)
    found = segment_file(image, out, mpp=scale, way=way, cropped=not no_crop)
    say(f"{out}: {found.count:,} nuclei")
    if found.as_learned:
        say("Note: µm per pixel is not known; the image was taken to be of the magnification of "
            "those that the network was fitted to. Give --mpp where you know it.")  # fmt: skip
    elif found.mpp is None and not found.count:
        say("Note: µm per pixel is not known, and without a nucleus nothing tells it. Give --mpp.")
    elif found.mpp is None:
        say(f"Note: µm per pixel is not known; the scale was told from the nuclei themselves "
            f"(enlarged {found.zoom:.2g} times). Give --mpp where you know it.")  # fmt: skip


@nuclei.command()
def train(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Weights to write: .safetensors.")],
    material: Annotated[
        list[Path],
        typer.Argument(
            metavar="MATERIAL...",
            help="Outlined images, <name>.png with <name>.npz beside it, and folders of them.",
        ),
    ],
    *,
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = 2600,
    generated: Annotated[
        int, typer.Option(min=0, help="Slides of generated tissue to learn from besides.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0)] = 2021,
    terms: Annotated[
        str, typer.Option(help="Terms of the material, to be written beside the weights.")
    ] = "not stated",
) -> None:
    """Train the network on outlined nuclei; OUT's .json says what it was trained on."""
    from axilla.console import ConsoleReporter
    from axilla.nuclei.training import NucleusTraining
    from axilla.study.nuclei_training import train_nuclei

    learned = train_nuclei(
        material, out, config=NucleusTraining(steps=steps, seed=seed), generated=generated,
        terms=terms, reporter=ConsoleReporter(),
    )  # fmt: skip
    say(f"{out}: learned from {learned:,} outlined nuclei and {generated} generated slides")


@nuclei.command()
def fit(
    points: Annotated[
        list[Path],
        typer.Argument(
            metavar="POINTS...",
            help="A point in every nucleus: GeoJSON of QuPath, with <name>.png beside "
            "<name>.geojson.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Weights to write: .safetensors.")] = Path(
        "nuclei.safetensors"
    ),
    image: Annotated[
        Path | None, typer.Option(help="The image of the one file of points, where it lies apart.")
    ] = None,
    steps: Annotated[int, typer.Option(min=3, help="Batches to learn from.")] = 900,
    seed: Annotated[int, typer.Option(min=0)] = 2021,
) -> None:
    """Train a network from one click in each nucleus, for a stain of your own."""
    from axilla.console import ConsoleReporter
    from axilla.nuclei.material import image_of
    from axilla.nuclei.training import NucleusTraining
    from axilla.study.nuclei_training import fit_nuclei

    if image is not None and len(points) > 1:
        raise typer.BadParameter("goes with one file of points", param_hint="--image")
    clicks = [(path, image or image_of(path)) for path in points]
    learned = fit_nuclei(
        clicks, out, config=NucleusTraining(steps=steps, seed=seed), reporter=ConsoleReporter()
    )
    say(f"{out}: learned from {learned:,} points")


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
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Table to write: .parquet or .csv; or .geojson for QuPath."
        ),
    ],
    mpp: _Mpp = None,
    *,
    no_crop: _NoCrop = False,
) -> None:
    """Measure each nucleus: axes, area, orientation, circumference, shape, order and density."""
    from axilla.core.types import MicronsPerPixel
    from axilla.study.nuclei_measuring import measure_image

    scale = None if mpp is None else MicronsPerPixel(mpp)
    measured = measure_image(found, image, out, mpp=scale, cropped=not no_crop)
    say(f"{out}: {len(measured.table):,} nuclei")
    if measured.mpp is None:
        say("Note: lengths are in pixels; give --mpp for µm.")
    else:
        say(f"Lengths in µm, at {measured.mpp:g} µm per pixel.")
