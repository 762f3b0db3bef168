"""The slides of a new case and their outlines: given, shown, taken out."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from axilla.core.errors import AxillaError, CohortError
from axilla.web.new_cases import MOST_SLIDES, NewCase
from axilla.web.new_files import (
    MAX_OUTLINE_BYTES,
    GivenSlide,
    announced_bytes,
    check_slide,
    link_picked,
    outline_suffix,
    pickable,
    read_outline,
    receive,
    slide_suffix,
)
from axilla.web.new_requests import (
    Sent,
    case_of,
    new_of,
    open_case,
    read_body,
    sentences,
)
from axilla.web.served import NotThereError
from axilla.wsi.tiles import TILE_PX, levels_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from axilla.web.served import Served

_READ_BYTES = 4096
"""Enough of a file to tell what it is."""


class Picked(Sent):
    """A slide of the owner's folder, by its place in the list."""

    pick: int = Field(ge=0)


def slide_of(request: Request, case: NewCase) -> GivenSlide:
    """The slide that an address names.

    Raises
    ------
    NotThereError
        There is none.
    """
    found = case.slides.get(int(request.path_params["slide"]))
    if found is None:
        raise NotThereError("There is no such slide.")
    return found


async def upload(request: Request) -> Response:
    """A slide, as the request's body."""
    new, case = new_of(request), open_case(request)
    most = new.max_upload - case.bytes
    with _next(case, own_bytes=announced_bytes(request, most=most)) as number:
        part = case.folder / f"slide-{number}.part"
        count = await receive(request, part, most=most)
        open_case(request)
        with part.open("rb") as file:
            suffix = slide_suffix(file.read(_READ_BYTES))
        path = part.rename(part.with_suffix(suffix))
        given = check_slide(path, number=number, own_bytes=count, title="")
        return await _take(request, given)


async def pick(request: Request) -> Response:
    """A slide of the owner's folder."""
    new = new_of(request)
    asked = await read_body(request, Picked)
    there = await run_in_threadpool(pickable, new.pick)
    if asked.pick >= len(there):
        raise NotThereError("There is no such slide; reload the page.")
    case, picked = open_case(request), there[asked.pick]
    with _next(case, own_bytes=0) as number:
        link = link_picked(picked, case.folder, number=number)
        given = check_slide(link, number=number, own_bytes=0, title=picked.name)
        return await _take(request, given)


@contextmanager
def _next(case: NewCase, *, own_bytes: int) -> Iterator[int]:
    """Number of a slide that is to come; where it does not, none of its files is left.

    Its place and its bytes are taken until then: slides may come in at the same time.

    Raises
    ------
    CohortError
        The case takes no more.
    """
    if case.full:
        raise CohortError(f"a case has at most {MOST_SLIDES} slides.", "Take one out.")
    case.numbered += 1
    number = case.numbered
    case.coming[number] = own_bytes
    with case.used():
        try:
            yield number
        finally:
            del case.coming[number]
            if number not in case.slides:
                case.remove_slide_files(number)


async def _take(request: Request, given: GivenSlide) -> Response:
    """Open the slide for the viewer, so that whatever is wrong with it is told at once.

    It is one of the case's only then: of what is not answered for, nothing stays.
    """
    case = open_case(request)
    try:
        facts = await image_facts(request, case, given)
        open_case(request).slides[given.number] = given
    finally:
        if given.number not in case.slides:
            new_of(request).forget(case, given)
    return JSONResponse({"slide": given.number, "title": given.title, **facts}, 201)


async def image_facts(request: Request, case: NewCase, given: GivenSlide) -> dict[str, Any]:
    """A slide's size and scale, and where its tiles are."""
    served: Served = request.app.state.served
    new, image = new_of(request), given.slide.images[0]
    reader = await served.workshop.make(
        f"open new {case.id} {given.number}", lambda: new.slides.reader(given.slide, image)
    )
    levels = levels_of(reader)
    return {
        "width": levels.width, "height": levels.height, "tile": TILE_PX,
        "highest": levels.highest, "mpp": reader.mpp, "nuclei": False,
        "tiles": f"/tiles/new/{case.id}/{given.number}/0",
    }  # fmt: skip


async def image(request: Request) -> Response:
    """The same again, for the viewer."""
    case = case_of(request)
    return JSONResponse(await image_facts(request, case, slide_of(request, case)))


async def remove(request: Request) -> Response:
    """Take a slide out."""
    case = open_case(request)
    given = slide_of(request, case)
    new_of(request).drop_slide(case, given.number)
    return JSONResponse({})


async def outline(request: Request) -> Response:
    """The tumour of a slide, uploaded or drawn; it takes the place of one that was given before."""
    case = open_case(request)
    given = slide_of(request, case)
    # Two may come in at once, of which the last holds.
    coming = f"{given.name}-outline-{secrets.token_hex(4)}"
    part = case.folder / f"{coming}.part"
    with case.used():
        try:
            await receive(request, part, most=MAX_OUTLINE_BYTES)
            open_case(request)
            with part.open("rb") as file:
                suffix = outline_suffix(file.read(_READ_BYTES))
            trial = part.rename(part.with_suffix(suffix))
            found = await run_in_threadpool(read_outline, trial, given=given)
            given = slide_of(request, open_case(request))  # it may have been taken out
        except (AxillaError, NotThereError):
            for path in case.folder.glob(f"{coming}.*"):
                path.unlink()
            raise
        _drop_outline(case, given)
        kept = found.path.rename(case.folder / f"{given.name}{found.path.suffix}")
        case.slides[given.number] = replace(given, outline=replace(found, path=kept))
    return JSONResponse(
        {"rings": found.rings, "regions": found.regions, "repaired": found.repaired}
    )


async def no_outline(request: Request) -> Response:
    """Take a slide's outline away."""
    case = open_case(request)
    given = slide_of(request, case)
    _drop_outline(case, given)
    case.slides[given.number] = replace(given, outline=None)
    return JSONResponse({})


def _drop_outline(case: NewCase, given: GivenSlide) -> None:
    for suffix in (".json", ".xml"):
        (case.folder / f"{given.name}{suffix}").unlink(missing_ok=True)


_SLIDES = "/api/new/{case:str}/slides"
_SLIDE = f"{_SLIDES}/{{slide:int}}"
ROUTES = [
    Route(_SLIDES, sentences(upload), methods=["PUT"]),
    Route(_SLIDES, sentences(pick), methods=["POST"]),
    Route(_SLIDE, sentences(remove), methods=["DELETE"]),
    Route(f"{_SLIDE}/images/0", sentences(image)),
    Route(f"{_SLIDE}/outline", sentences(outline), methods=["PUT"]),
    Route(f"{_SLIDE}/outline", sentences(no_outline), methods=["DELETE"]),
]
