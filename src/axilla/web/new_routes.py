"""New case: its page, what the model is asked, and how far it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from axilla.core.errors import CohortError
from axilla.core.slide_files import is_file_name
from axilla.core.types import SANE_MPP
from axilla.deploy.case_inputs import CaseInput, Regions
from axilla.report.case_html import GENERATED_MODEL
from axilla.web.new_cases import NewCase, NewCases, TooManyCasesError
from axilla.web.new_files import (
    MAX_OUTLINE_BYTES,
    pickable,
)
from axilla.web.new_form import form_of, needs_all, read_typed
from axilla.web.new_requests import Sent, case_of, new_of, open_case, read_body, sentences
from axilla.web.new_running import FullError, Job, full_error
from axilla.web.pages import page
from axilla.web.security import BODY_BYTES
from axilla.web.served import NotThereError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request


class Asked(Sent):
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


async def run(request: Request) -> Response:
    """Ask the model, once it is this case's turn."""
    new, case = new_of(request), open_case(request)
    asked = await read_body(request, Asked)
    if asked.model >= len(new.models):
        raise NotThereError("There is no such model.")
    loaded = await run_in_threadpool(new.models.load, asked.model)
    open_case(request)  # again, and after this nothing is waited for
    if case.in_use:
        raise CohortError("a file is still coming in.", "Ask again once it is there.")
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


_CASE = "/api/new/{case:str}"
ROUTES = [
    Route("/new", new_page),
    Route("/api/new", create, methods=["POST"]),
    Route("/api/new/models/{model:int}", sentences(model)),
    Route(_CASE, delete, methods=["DELETE"]),
    Route(f"{_CASE}/run", sentences(run), methods=["POST"]),
    Route(f"{_CASE}/state", state),
    Route(f"{_CASE}/stop", stop, methods=["POST"]),
]
