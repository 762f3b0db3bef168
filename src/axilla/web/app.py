"""The application: routes, what their mistakes are told as, and the guard around all of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from axilla.core.errors import AxillaError, CohortError, SlideError, StoreError
from axilla.web import (
    case_routes,
    file_routes,
    new_result_routes,
    new_routes,
    new_slide_routes,
    study_routes,
    tile_routes,
)
from axilla.web.pages import message
from axilla.web.security import Guard
from axilla.web.served import NotThereError, Served
from axilla.web.tiles import BusyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from axilla.web.security import Access


def create_app(served: Served, *, access: Access) -> ASGIApp:
    """The whole application: a study that was run, models for new cases, or both."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeping = None if served.new is None else asyncio.create_task(served.new.keep_sweeping())
        yield
        if sweeping is not None:
            sweeping.cancel()
        served.close()

    first = "/e/0" if served.endpoints else "/new"
    static = StaticFiles(directory=str(files("axilla.web") / "static"))
    app = Starlette(
        routes=[
            Route("/", lambda request: RedirectResponse(first, 303)),
            *study_routes.ROUTES,
            *case_routes.ROUTES,
            *file_routes.ROUTES,
            *new_routes.ROUTES,
            *new_slide_routes.ROUTES,
            *new_result_routes.ROUTES,
            Mount("/static", static),
        ],
        exception_handlers={
            HTTPException: _not_served,
            NotThereError: _not_there,
            BusyError: _busy,
            AxillaError: _told,
        },
        lifespan=lifespan,
    )
    app.state.served = served
    return Guard(
        tile_routes.Tiles(app, served=served),
        access=access,
        most_bytes=functools.partial(new_routes.most_bytes, served.new),
    )


def _answer(request: Request, title: str, sentence: str, status: int) -> Response:
    """As JSON to the page's own requests, as a page to a reader."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"problem": sentence}, status)
    return message(request, title, sentence, status=status)


def _not_served(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return _answer(request, "Not done here", "This address does not do that.", status)
    return _answer(request, "Not here", "There is no such page.", status)


def _not_there(request: Request, error: Exception) -> Response:
    return _answer(request, "Not here", str(error), 404)


def _busy(request: Request, _: Exception) -> Response:
    response = _answer(request, "Busy", "Too much is asked for at once. Try again.", 503)
    response.headers["retry-after"] = "1"
    return response


def _told(request: Request, error: Exception) -> Response:
    """A mistake in what was typed, or in the study's files: a sentence with its remedy.

    The file is told by name: where it lies is nobody's business on another machine.
    """
    if not isinstance(error, AxillaError):
        raise error
    problem = error.problem
    where = "" if problem.file is None else f"{problem.file.name}: "
    sentence = f"{where}{problem.cause} {problem.remedy}"
    if isinstance(error, SlideError | StoreError):
        return _answer(request, "A file is missing or damaged", sentence, 410)
    return _answer(
        request, "This cannot be shown", sentence, 422 if isinstance(error, CohortError) else 404
    )
