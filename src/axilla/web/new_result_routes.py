"""What came of a new case: its page, what lies over its slides, other values, its files."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from axilla.core.methods import method_title
from axilla.deploy.asking import probability
from axilla.deploy.case_page import page_of
from axilla.report.case_html import GENERATED_MODEL
from axilla.study.case_asking_live import LiveAnswer, value_remarks
from axilla.study.cases import ATTENTION, CONTRIBUTION
from axilla.web.new_form import form_of, needs_all, read_typed
from axilla.web.new_requests import Sent, case_of, new_of, read_body, sentences
from axilla.web.pages import page
from axilla.web.served import NotThereError
from axilla.wsi.tiles import patch_jpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from starlette.requests import Request

    from axilla.deploy.case_maps import SlideMaps
    from axilla.deploy.predicting import CaseResult
    from axilla.web.new_cases import NewCase
    from axilla.web.new_running import Job
    from axilla.web.served import Served

_PATCH_PX = 112
"""Side of a patch in the list of those that weigh most."""
_SANDBOX = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""Of files to download: opened all the same, they are of no site and ask for nothing."""


class Values(Sent):
    """What was typed into the clinical form."""

    values: dict[str, str] = Field(max_length=200)


async def result_page(request: Request) -> Response:
    """The page of a case that is done; of another one, the page of new cases."""
    case = case_of(request)
    if case.job is None or case.job.result is None:
        return RedirectResponse("/new", 303)
    return await run_in_threadpool(_result_page, request, case, case.job, case.job.result)


def _result_page(request: Request, case: NewCase, job: Job, found: CaseResult) -> Response:
    new, record = new_of(request), found.record
    clinical = {name: own.value for name, own in record.clinical.items()}
    return page(
        request,
        "new_result.html",
        case=page_of(record, found.maps),
        base=f"/api/new/{case.id}",
        own=f"/new/{case.id}",
        classes=record.model.classes,
        slides=[(given.title or given.name, number) for number, given in case.slides.items()],
        viewable=bool(found.maps),
        form=form_of(job.model, clinical),
        refuses_missing=needs_all(job.model),
        attention_sentence=ATTENTION,
        contribution_sentence=CONTRIBUTION.format(positive=record.model.classes[-1]),
        tiles=list(enumerate(found.tiles)),
        minutes=new.idle_s / 60,
        generated=record.model.generated,
        generated_notice=GENERATED_MODEL,
    )


async def overlays(request: Request) -> Response:
    """Outlines and measured patches of a slide, as the page of a study's case draws them."""
    job, found, own = _slide(request)
    return JSONResponse(await run_in_threadpool(_overlays, job, found, own))


def _overlays(job: Job, found: CaseResult, own: SlideMaps) -> dict[str, Any]:
    images = [{"outlines": job.rings.get(own.slide.slide_id, [])}]
    if own.grid is None:
        return {"images": images, "patches": None, "reason": "No patch was looked at."}
    contribution = own.values.get("contribution")
    return {
        "images": images,
        "method": method_title(found.record.model.method),
        "positive": found.record.model.classes[-1],
        "side": int(own.grid.size_level0),
        "patches": {
            "image": [0] * len(own.grid),
            "x": own.grid.xy[:, 0].tolist(),
            "y": own.grid.xy[:, 1].tolist(),
            "attention": _finite(own.values["attention"]),
            "contribution": None if contribution is None else _finite(contribution),
        },
    }


def _finite(values: NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


async def patch(request: Request) -> Response:
    """A patch as a small picture, by its place among the slide's patches."""
    case, served = case_of(request), _served(request)
    _, _, own = _slide(request)
    place = int(request.path_params["patch"])
    if own.grid is None or place >= len(own.grid):
        raise NotThereError("There is no such patch.")
    grid, new = own.grid, new_of(request)
    given = case.slides[int(request.path_params["slide"])]
    address = f"/tiles/new/{case.id}/{given.number}/patch/{place}"
    content = new.tiles.get(address)
    if content is None:

        def work() -> bytes:
            reader = new.slides.reader(given.slide, given.slide.images[0])
            x, y = map(int, grid.xy[place])
            return patch_jpeg(reader, x, y, int(grid.size_level0), size_px=_PATCH_PX)

        content = await served.workshop.make(address, work)
        new.tiles.put(address, content)
    return Response(content, media_type="image/jpeg")


async def ask(request: Request) -> Response:
    """What the model would say with the values that were typed."""
    job, found = _result(case_of(request))
    typed = await read_body(request, Values)
    answer = await run_in_threadpool(_answer, job, found, typed.values)
    return JSONResponse({"answers": [{**asdict(answer), "scores": dict(answer.scores)}]})


def _answer(job: Job, found: CaseResult, typed: dict[str, str]) -> LiveAnswer:
    clinical = read_typed(job.model, typed)
    classes, method = found.record.model.classes, found.record.model.method
    each = dict(zip(classes, map(float, probability(found.prepared, clinical)), strict=True))
    call = found.record.call
    threshold = None if call is None else call.threshold
    if len(classes) == 2:
        scores = {classes[1]: each[classes[1]]}
        called = None if threshold is None else classes[int(scores[classes[1]] >= threshold)]
    else:
        scores, called = each, max(each, key=lambda name: each[name])
    patient = replace(found.prepared.patient, clinical=clinical)
    remarks = value_remarks(job.model.bundle, patient)
    return LiveAnswer(method, method_title(method), scores, None, threshold, called, remarks)


async def page_file(request: Request) -> Response:
    """`case.html`."""
    _, found = _result(case_of(request))
    return _download(found.page, "case.html", "text/html; charset=utf-8")


async def record_file(request: Request) -> Response:
    """`case.json`."""
    _, found = _result(case_of(request))
    return _download(found.json, "case.json", "application/json")


async def tiles_file(request: Request) -> Response:
    """Patches of a slide as QuPath opens them."""
    _, found = _result(case_of(request))
    place, there = int(request.path_params["place"]), list(found.tiles.items())
    if place >= len(there):
        raise NotThereError("There is no such file.")
    name, text = there[place]
    return _download(text, name, "application/geo+json")


def _download(text: str, name: str, media_type: str) -> Response:
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-security-policy": _SANDBOX,
    }
    return Response(text, media_type=media_type, headers=headers)


def _served(request: Request) -> Served:
    served: Served = request.app.state.served
    return served


def _result(case: NewCase) -> tuple[Job, CaseResult]:
    if case.job is None or case.job.result is None:
        raise NotThereError("This case has no result.")
    return case.job, case.job.result


def _slide(request: Request) -> tuple[Job, CaseResult, SlideMaps]:
    case = case_of(request)
    job, found = _result(case)
    given = case.slides.get(int(request.path_params["slide"]))
    own = [one for one in found.maps if given is not None and one.slide.slide_id == given.name]
    if not own:
        raise NotThereError("No patch of this slide was looked at.")
    return job, found, own[0]


_API = "/api/new/{case:str}"
_SLIDE = f"{_API}/slides/{{slide:int}}"
ROUTES = [
    Route("/new/{case:str}", result_page),
    Route("/new/{case:str}/case.html", page_file),
    Route("/new/{case:str}/case.json", record_file),
    Route("/new/{case:str}/tiles/{place:int}", tiles_file),
    Route(f"{_SLIDE}/overlays", overlays),
    Route(f"{_SLIDE}/patches/{{patch:int}}", patch),
    Route(f"{_API}/ask", sentences(ask), methods=["POST"]),
]
