"""The verb that shows a study in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from axilla.console import say

if TYPE_CHECKING:
    from axilla.web.security import Access


def serve(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY", help="A study.yaml that was run, or the folder it is in."),
    ] = None,
    *,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="MODEL",
            help="A model's folder, to be asked about new cases; may be given again. With a STUDY "
            "its own models are offered too.",
        ),
    ] = None,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(
            help="File of the frozen encoder's weights, where MODEL's study named a file."
        ),
    ] = None,
    pick: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Slides that new cases can be made of without uploading them.",
        ),
    ] = None,
    max_upload: Annotated[
        int, typer.Option(min=1, help="MB of all files that one new case may upload.")
    ] = 4096,
    host: Annotated[
        str,
        typer.Option(
            help="Where to listen. Anything but this machine's own address asks everybody for the "
            "token that is printed."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")
    ] = 8765,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Show a study that was run, or ask models about new cases, in a browser.

    In either way nothing leaves this machine. Ctrl-C ends it, and deletes what was uploaded.
    """
    from axilla.core.config import load_config

    if study is None and not model:
        raise typer.BadParameter("give a STUDY that was run, or a model: --model MODEL")
    # Before the heavy imports: told at once.
    config = None if study is None else load_config(find_study(study))
    from axilla.web.serving import NewCaseSettings, serve_study

    def ready(access: Access) -> None:
        say(f"Open: {access.address}")
        if access.token is not None:
            say(
                "Other machines reach this address, and nothing on the way is encrypted: serve "
                "patients' slides on a network you trust only, or through an SSH tunnel."
            )
        if open_page:
            import webbrowser

            webbrowser.open(access.address)

    settings = NewCaseSettings(
        models=tuple(model or ()),
        encoder_weights=encoder_weights,
        pick=pick,
        max_upload=max_upload * 2**20,
    )
    serve_study(config, host=host, port=port, ready=ready, settings=settings)
    say("Ended.")


def find_study(path: Path) -> Path:
    """The study file: the path itself, or the one study in a folder.

    Raises
    ------
    ConfigError
        There is no study in the folder, or more than one.
    """
    from axilla.core.errors import ConfigError
    from axilla.core.yaml_file import read_mapping

    if not path.is_dir():
        return path
    found = []
    for file in sorted([*path.glob("*.yaml"), *path.glob("*.yml")]):
        try:
            if "cohort" in read_mapping(file):
                found.append(file)
        except ConfigError:
            continue  # some other file that is no mapping
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            "there is no study in this folder: no .yaml file of it has `cohort:`.",
            "Give the study.yaml itself.",
            file=path,
        )
    raise ConfigError(
        f"there are {len(found)} studies in this folder ({', '.join(f.name for f in found)}).",
        "Give the one that is meant.",
        file=path,
    )
