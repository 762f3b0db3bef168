"""Tiles by address: `/tiles/<endpoint>/<patient>/<slide>/<image>/<version>/<level>/<column>_<row>`.

Those of a new case: `/tiles/new/<case>/<slide>/0/<level>/<column>_<row>`.

Apart from the other routes, as most requests are for tiles: one that was made before is answered
from memory before any route is looked up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from axilla.core.errors import SlideError
from axilla.web.served import NotThereError
from axilla.web.tiles import BusyError, ImageKey, TileCache, make_tile

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from axilla.web.served import Served

PREFIX = "/tiles/"
_ADDRESS = re.compile(
    r"/tiles/(\d{1,6})/(\d{1,9})/(\d{1,6})/(\d{1,6})/[0-9a-f]{1,32}/(\d{1,2})/(\d{1,7})_(\d{1,7})",
    re.ASCII,
)
_NEW = re.compile(r"/tiles/new/([0-9a-f]{32})/(\d{1,6})/0/(\d{1,2})/(\d{1,7})_(\d{1,7})", re.ASCII)


class Tiles:
    """Answers requests for tiles, and hands all others on."""

    def __init__(self, app: ASGIApp, *, served: Served) -> None:
        self._app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        address = scope["path"]
        content = self._served.tiles.get(address)
        if content is not None and scope["method"] == "GET":
            await _send(send, content)
            return
        response = await self._made(address, scope["method"])
        await response(scope, receive, send)

    async def _made(self, address: str, method: str) -> Response:
        if address.startswith("/tiles/new/"):
            return await self._of_new_case(address, method)
        found = _ADDRESS.fullmatch(address)
        if found is None or method not in {"GET", "HEAD"}:
            return _problem(404 if found is None else 405, "There is no such tile.")
        *where, level, column, row = map(int, found.groups())
        served, key = self._served, ImageKey(*where)

        def work() -> bytes:
            slide = served.image(key)
            return make_tile(served.slides, slide, key.image, (level, column, row))

        return await self._answer(address, work, served.tiles)

    async def _of_new_case(self, address: str, method: str) -> Response:
        found, new = _NEW.fullmatch(address), self._served.new
        if found is None or new is None or method not in {"GET", "HEAD"}:
            return _problem(404 if method in {"GET", "HEAD"} else 405, "There is no such tile.")
        case = new.find(found[1])
        given = None if case is None else case.slides.get(int(found[2]))
        if given is None:
            return _problem(404, "This case is no longer here.")
        slide, (level, column, row) = given.slide, map(int, found.groups()[2:])
        content = new.tiles.get(address)
        if content is not None:
            return Response(content, media_type="image/jpeg")
        return await self._answer(
            address, lambda: make_tile(new.slides, slide, 0, (level, column, row)), new.tiles
        )

    async def _answer(self, address: str, work: Callable[[], bytes], tiles: TileCache) -> Response:
        try:
            content = await self._served.workshop.make(address, work)
        except BusyError:
            response = _problem(503, "Too many tiles are asked for at once.")
            response.headers["retry-after"] = "1"
            return response
        except SlideError as error:
            return _problem(410, f"{error.problem.cause} {error.problem.remedy}")
        except (NotThereError, LookupError):
            return _problem(404, "There is no such tile.")
        tiles.put(address, content)
        return Response(content, media_type="image/jpeg")


def _problem(status: int, sentence: str) -> Response:
    return JSONResponse({"problem": sentence}, status)


async def _send(send: Send, content: bytes) -> None:
    """Without a response object: this is what a viewer asks for a hundred times a second."""
    headers = [(b"content-type", b"image/jpeg"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
