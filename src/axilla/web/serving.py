"""Serve a study until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from axilla.core.errors import ConfigError
from axilla.web.app import create_app
from axilla.web.security import Access
from axilla.web.served import Served

if TYPE_CHECKING:
    from collections.abc import Callable

    import uvicorn

    from axilla.core.config import StudyConfig

_BACKLOG = 2048
_CONNECTIONS = 1000
"""Open at once; whoever comes beyond is told that the server is busy."""


def serve_study(
    config: StudyConfig, *, host: str, port: int, ready: Callable[[Access], None]
) -> None:
    """Serve a study that was run, until the process is interrupted.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes one that is free.
    ready
        Is told, once it is listened, what address to open.

    Raises
    ------
    ConfigError
        The address cannot be listened on.
    StoreError
        The study was not run to its end, or changed since.
    """
    with bound(host, port) as listening:
        # Before the study is read: a port in use is told at once.
        access = Access.at(host, listening.getsockname()[1])
        server = server_of(Served.of(config), access=access)
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
