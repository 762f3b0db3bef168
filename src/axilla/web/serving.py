"""Serve a study, models for new cases, or both, until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from axilla.core.errors import ConfigError
from axilla.core.private_folder import sweep_private_folders
from axilla.web.app import create_app
from axilla.web.new_cases import NewCases
from axilla.web.new_files import MAX_UPLOAD_BYTES
from axilla.web.offered import Offered, offers_of, study_offers
from axilla.web.security import Access
from axilla.web.served import Served

if TYPE_CHECKING:
    from collections.abc import Callable

    import uvicorn

    from axilla.core.config import StudyConfig

_BACKLOG = 2048
_CONNECTIONS = 1000
"""Open at once; whoever comes beyond is told that the server is busy."""


@dataclass(frozen=True, slots=True)
class NewCaseSettings:
    """What new cases may be."""

    models: tuple[Path, ...] = ()
    """Folders of models, beside those of the study."""
    encoder_weights: Path | None = None
    """File of the frozen encoder's weights, for models whose study named a file."""
    pick: Path | None = None
    """A folder of slides that can be chosen from."""
    max_upload: int = MAX_UPLOAD_BYTES
    """Bytes of all files of one case."""


def served_of(config: StudyConfig | None, settings: NewCaseSettings) -> Served:
    """What is to be served.

    Raises
    ------
    StoreError
        The study was not run to its end, or changed since; or a model is damaged.
    ConfigError
        A model cannot be asked about a new case.
    WeightsError
        A model's encoder needs weights that are not here.
    """
    offers = offers_of(settings.models, encoder_weights=settings.encoder_weights)
    own = None if config is None else Served.of(config)
    found = Offered([*offers, *(study_offers(own.endpoints) if own is not None else ())])
    for place in range(len(offers)):
        found.load(place)  # whatever is wrong with a model that was named is told at once
    if not len(found):
        new = None
    else:
        new = NewCases(found, max_upload=settings.max_upload, pick=settings.pick)
    if own is not None:
        return replace(own, new=new)
    return Served("New cases", all(offer.generated for offer in offers), (), new=new)


def serve_study(
    config: StudyConfig | None,
    *,
    host: str,
    port: int,
    ready: Callable[[Access], None],
    settings: NewCaseSettings | None = None,
) -> None:
    """Serve a study that was run and its models, until the process is interrupted.

    Parameters
    ----------
    config
        None serves new cases alone.
    host, port
        Where to listen; port 0 takes one that is free.
    ready
        Is told, once it is listened, what address to open.
    settings
        Which models are served besides, and how new cases come in.

    Raises
    ------
    ConfigError
        The address cannot be listened on.
    AxillaError
        As `served_of`.
    """
    with bound(host, port) as listening:
        # Before the study is read: a port in use is told at once, and what a killed server left
        # goes.
        sweep_private_folders()
        access = Access.at(host, listening.getsockname()[1])
        server = server_of(served_of(config, settings or NewCaseSettings()), access=access)
        _allow_connections()
        ready(access)
        # Ctrl-C is how it ends; uvicorn raises it again once all is put away.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises
    ------
    ConfigError
        The address is another program's, or none of this machine's.
    """
    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # From here on a browser waits for the server rather than being refused.
        listening.listen(_BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise ConfigError(
            f"the address {host}, port {port} cannot be listened on ({error.strerror or error}).",
            "Give another --port, or 0 for one that is free; is `axilla serve` running already?",
        ) from error
    return listening


def server_of(served: Served, *, access: Access) -> uvicorn.Server:
    """The server of an application, not started yet."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            create_app(served, access=access),
            # Requests hold patients' places only, and no line of them is kept.
            access_log=False,
            log_level="warning",
            server_header=False,
            # Tiles still being made need not be waited for.
            timeout_graceful_shutdown=3,
            timeout_keep_alive=30,
            limit_concurrency=_CONNECTIONS,
            backlog=_BACKLOG,
        )
    )


def _allow_connections() -> None:
    """As many files open as the connections and the slides need, where the system allows it."""
    try:
        import resource
    except ImportError:  # Windows counts otherwise
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * _CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
