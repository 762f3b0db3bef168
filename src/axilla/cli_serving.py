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
        Path,
        typer.Argument(metavar="STUDY", help="A study.yaml that was run, or the folder it is in."),
    ],
    *,
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
    """Show a study that was run in a browser; nothing leaves this machine. Ctrl-C ends it."""
    from axilla.core.config import load_config

    config = load_config(find_study(study))  # before the heavy imports: told at once
    from axilla.web.serving import serve_study

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

    serve_study(config, host=host, port=port, ready=ready)
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
