"""New case: its page, and the files and values that are given to it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from axilla.core.errors import AxillaError, CohortError
from axilla.core.slide_files import is_file_name
from axilla.core.types import SANE_MPP
from axilla.deploy.case_inputs import CaseInput, Regions
from axilla.report.case_html import GENERATED_MODEL
from axilla.web.new_cases import MOST_SLIDES, NewCase, NewCases, TooManyCasesError
from axilla.web.new_files import (
    MAX_OUTLINE_BYTES,
    GivenSlide,
    check_slide,
    link_picked,
    outline_suffix,
    pickable,
    read_outline,
    receive,
    slide_suffix,
)
from axilla.web.new_form import form_of, needs_all, read_typed
from axilla.web.new_running import FullError, Job, full_error
from axilla.web.pages import page
from axilla.web.security import BODY_BYTES
from axilla.web.served import NotThereError
from axilla.wsi.tiles import TILE_PX, levels_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request

    from axilla.web.served import Served

Body = TypeVar("Body", bound=BaseModel)

_READ_BYTES = 4096
"""Enough of a file to tell what it is."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Picked(_Body):
    """A slide of the owner's folder, by its place in the list."""

    pick: int = Field(ge=0)


class Asked(_Body):
    """What the model is asked."""

    model: int = Field(ge=0)
    patient: str = Field(default="", max_length=200)
    regions: Literal["annotation", "tissue", "whole"]
    mpp: str = Field(default="", max_length=40)
    values: dict[str, str] = Field(max_length=200)


def most_bytes(new: NewCases | None, method: str, path: str) -> int:
    """Of a request's body."""
    if new is None or method != "PUT" or not path.startswith("/api/new/"):
        return BODY_BYTES
    return MAX_OUTLINE_BYTES if path.endswith("/outline") else new.max_upload


def told(error: AxillaError) -> JSONResponse:
    """A mistake in what was given, as a sentence."""
    return JSONResponse({"problem": f"{error.problem.cause} {error.problem.remedy}"}, 422)


def sentences(
    route: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A route whose mistakes are what somebody has just given, whatever their kind."""

    async def answered(request: Request) -> Response:
        try:
            return await route(request)
        except AxillaError as error:
            return told(error)

    return answered


def new_of(request: Request) -> NewCases:
    """The server's new cases.

    Raises
    ------
    NotThereError
        No model is served to show them to.
    """
    served: Served = request.app.state.served
    if served.new is None:
        raise NotThereError("No model is served: `axilla serve --model MODEL`.")
    return served.new


def case_of(request: Request) -> NewCase:
    """The case that an address names.

    Raises
    ------
    NotThereError
        It is not here, or was deleted.
    """
    new = new_of(request)
    case = new.find(request.path_params["case"])
    if case is None:
        minutes = new.idle_s / 60
        raise NotThereError(
            f"This case is no longer here: cases are deleted {minutes:g} minutes after somebody "
            "last looked at them, and when the server ends."
        )
    return case


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


async def new_page(request: Request) -> Response:
    """The page of a new case."""
    new = new_of(request)
    return page(
        request,
        "new.html",
        models=new.models.offers,
        pick=[path.name for path in await run_in_threadpool(pickable, new.pick)],
        picks=new.pick is not None,
        max_upload=new.max_upload,
        minutes=new.idle_s / 60,
        generated=all(offer.generated for offer in new.models.offers),
        generated_notice=GENERATED_MODEL,
    )


async def model(request: Request) -> Response:
    """What a model wants to know; it is loaded for that."""
    new, place = new_of(request), int(request.path_params["model"])
    if place >= len(new.models):
        raise NotThereError("There is no such model.")
    found = await run_in_threadpool(new.models.load, place)
    return JSONResponse(
        {
            "slides": found.looks_at_slides,
            "needed": needs_all(found),
            "generated": new.models.offers[place].generated,
            "columns": [asdict(column) for column in form_of(found)],
        }
    )


async def create(request: Request) -> Response:
    """A new case, empty."""
    try:
        case = new_of(request).create()
    except TooManyCasesError:
        sentence = "The server holds as many cases as it may. Delete one, or try again later."
        return JSONResponse({"problem": sentence}, 429)
    return JSONResponse({"case": case.id}, 201)


async def delete(request: Request) -> Response:
    """Delete a case now."""
    new_of(request).delete(case_of(request).id)
    return JSONResponse({})


async def upload(request: Request) -> Response:
    """A slide, as the request's body."""
    new, case = new_of(request), case_of(request)
    number = _next(case)
    part = case.folder / f"slide-{number}.part"
    with case.used():
        try:
            count = await receive(request, part, most=new.max_upload - case.bytes)
            with part.open("rb") as file:
                suffix = slide_suffix(file.read(_READ_BYTES))
            path = part.rename(part.with_suffix(suffix))
            given = check_slide(path, number=number, own_bytes=count, title="")
            return await _take(request, case, given)
        except AxillaError:
            for path in case.folder.glob(f"slide-{number}.*"):
                path.unlink()
            raise


async def pick(request: Request) -> Response:
    """A slide of the owner's folder."""
    new, case = new_of(request), case_of(request)
    asked = await read_body(request, Picked)
    there = await run_in_threadpool(pickable, new.pick)
    if asked.pick >= len(there):
        raise NotThereError("There is no such slide; reload the page.")
    number, picked = _next(case), there[asked.pick]
    with case.used():
        link = link_picked(picked, case.folder, number=number)
        try:
            given = check_slide(link, number=number, own_bytes=0, title=picked.name)
            return await _take(request, case, given)
        except AxillaError:
            link.unlink()
            raise


def _next(case: NewCase) -> int:
    """Number of a slide that is to come.

    Raises
    ------
    CohortError
        The case takes no more.
    """
    refuse_asked(case)
    if len(case.slides) >= MOST_SLIDES:
        raise CohortError(f"a case has at most {MOST_SLIDES} slides.", "Take one out.")
    case.numbered += 1
    return case.numbered


def refuse_asked(case: NewCase) -> None:
    """Raise CohortError where the model was asked already."""
    if case.job is not None and case.job.state not in {"failed", "stopped"}:
        raise CohortError("the model was asked about this case already.", "Begin a new one.")


async def _take(request: Request, case: NewCase, given: GivenSlide) -> Response:
    """Open the slide for the viewer, so that whatever is wrong with it is told at once."""
    case.slides[given.number] = given
    try:
        facts = await image_facts(request, case, given)
    except AxillaError:
        new_of(request).drop_slide(case, given.number)
        raise
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
    case = case_of(request)
    given = slide_of(request, case)
    refuse_asked(case)
    new_of(request).drop_slide(case, given.number)
    return JSONResponse({})


async def outline(request: Request) -> Response:
    """The tumour of a slide, uploaded or drawn; it takes the place of one that was given before."""
    case = case_of(request)
    given = slide_of(request, case)
    refuse_asked(case)
    part = case.folder / f"{given.name}-outline.part"
    part.unlink(missing_ok=True)
    with case.used():
        try:
            await receive(request, part, most=MAX_OUTLINE_BYTES)
            with part.open("rb") as file:
                suffix = outline_suffix(file.read(_READ_BYTES))
            trial = part.rename(part.with_suffix(suffix))
            found = await run_in_threadpool(read_outline, trial, given=given)
        except AxillaError:
            for path in case.folder.glob(f"{given.name}-outline.*"):
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
    case = case_of(request)
    given = slide_of(request, case)
    refuse_asked(case)
    _drop_outline(case, given)
    case.slides[given.number] = replace(given, outline=None)
    return JSONResponse({})


def _drop_outline(case: NewCase, given: GivenSlide) -> None:
    for suffix in (".json", ".xml"):
        (case.folder / f"{given.name}{suffix}").unlink(missing_ok=True)


async def run(request: Request) -> Response:
    """Ask the model, once it is this case's turn."""
    new, case = new_of(request), case_of(request)
    refuse_asked(case)
    asked = await read_body(request, Asked)
    if asked.model >= len(new.models):
        raise NotThereError("There is no such model.")
    loaded = await run_in_threadpool(new.models.load, asked.model)
    given = CaseInput(
        **_files(case, asked.regions) if loaded.looks_at_slides else {},
        clinical=read_typed(loaded, asked.values),
        patient_id=_patient(asked.patient),
        mpp=_scale(asked.mpp),
    )
    job = Job(loaded, given, case.folder / "work")
    try:
        new.queue.put(job)
    except FullError:
        return JSONResponse({"problem": str(full_error())}, 429)
    case.job, case.model = job, asked.model
    return JSONResponse({}, 202)


def _files(case: NewCase, regions: Regions) -> dict[str, Any]:
    slides = list(case.slides.values())
    if not slides:
        raise CohortError("the model looks at slides, and none is given.", "Give one.")
    outlines: list[Path] = []
    if regions == "annotation":
        without = [one for one in slides if one.outline is None]
        if without:
            which = ", ".join(str(1 + slides.index(one)) for one in without)
            raise CohortError(
                f"the tumour is not outlined on slide {which}.",
                "Draw it, upload its outline, or choose the tissue or the whole image.",
            )
        outlines = [one.outline.path for one in slides if one.outline is not None]
    return {
        "slides": tuple(one.path for one in slides),
        "annotations": tuple(outlines),
        "regions": regions,
    }


def _patient(text: str) -> str:
    name = text.strip() or "new case"
    if not is_file_name(name):
        raise CohortError("the patient's label cannot have slashes.", "Take them out.")
    return name


def _scale(text: str) -> float | None:
    if not text.strip():
        return None
    low, high = SANE_MPP
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise CohortError(
            f"{text.strip()!r} µm per pixel is no microscope's.",
            f"Give {low:g} to {high:g}, such as 0.25 at 40x.",
        )
    return value


async def state(request: Request) -> Response:
    """How far it is."""
    job = case_of(request).job
    if job is None:
        return JSONResponse({"state": "none"})
    return JSONResponse(
        {
            "state": job.state,
            "ahead": new_of(request).queue.ahead(job),
            "steps": [asdict(step) for step in list(job.steps)],
            "problem": job.problem,
        }
    )


async def stop(request: Request) -> Response:
    """End it before its next step."""
    job = case_of(request).job
    if job is not None:
        job.stop()
    return JSONResponse({})


async def read_body(request: Request, kind: type[Body]) -> Body:
    """JSON of a request.

    Raises
    ------
    CohortError
        It is not what the page sends.
    """
    try:
        return kind.model_validate(json.loads(await request.body()))
    except (ValueError, ValidationError, RecursionError) as error:
        raise CohortError("this is not what the page sends.", "Reload the page.") from error


_CASE = "/api/new/{case:str}"
_SLIDE = f"{_CASE}/slides/{{slide:int}}"
ROUTES = [
    Route("/new", new_page),
    Route("/api/new", create, methods=["POST"]),
    Route("/api/new/models/{model:int}", sentences(model)),
    Route(_CASE, delete, methods=["DELETE"]),
    Route(f"{_CASE}/slides", sentences(upload), methods=["PUT"]),
    Route(f"{_CASE}/slides", sentences(pick), methods=["POST"]),
    Route(_SLIDE, sentences(remove), methods=["DELETE"]),
    Route(f"{_SLIDE}/images/0", sentences(image)),
    Route(f"{_SLIDE}/outline", sentences(outline), methods=["PUT"]),
    Route(f"{_SLIDE}/outline", sentences(no_outline), methods=["DELETE"]),
    Route(f"{_CASE}/run", sentences(run), methods=["POST"]),
    Route(f"{_CASE}/state", state),
    Route(f"{_CASE}/stop", stop, methods=["POST"]),
]
