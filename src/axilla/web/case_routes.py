"""A case: its page, its slides, what lies over them, and the model asked with other values."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from axilla.core.errors import CohortError
from axilla.study.case_opened import (
    has_nuclei,
    measured_table,
    nuclei_within,
    slide_overlays,
    slide_scale,
)
from axilla.study.cases import ATTENTION, CONTRIBUTION, SCORE
from axilla.web.pages import page
from axilla.web.served import NotThereError
from axilla.web.tiles import ImageKey
from axilla.wsi.tiles import TILE_PX, levels_of, patch_jpeg

if TYPE_CHECKING:
    from starlette.requests import Request

    from axilla.core.types import Slide
    from axilla.study.case_opened import OpenedCase
    from axilla.web.served import Served

_PATCH_PX = 112
"""Side of a patch in the list of those that weigh most."""


class Values(BaseModel):
    """What was typed into the clinical form."""

    model_config = ConfigDict(extra="forbid", strict=True)

    values: dict[str, str] = Field(max_length=200)


async def case_page(request: Request) -> Response:
    """The page of one patient."""
    case = await _case(request)
    served = _served(request)
    form = await run_in_threadpool(served.models.form, case)
    endpoint = case.endpoint
    return page(
        request,
        "case.html",
        base=_base(request),
        back=f"/e/{request.path_params['endpoint']}",
        patient=case.patient.patient_id,
        truth=case.truth,
        cohort=case.cohort,
        crossed=endpoint.config.crossed,
        classes=endpoint.cohort.classes,
        notes=case.notes,
        scores=case.scores,
        spread=any(score.spread is not None for score in case.scores),
        slides=[(s.slide_id, len(s.images)) for s in case.patient.slides],
        viewable=endpoint.tiles is not None and endpoint.config.regions != "patches",
        form=form,
        refuses_missing=endpoint.config.clinical.missing == "refuse",
        attention_sentence=ATTENTION,
        contribution_sentence=CONTRIBUTION.format(positive=endpoint.cohort.classes[-1]),
        score_sentence=SCORE,
    )


async def image(request: Request) -> Response:
    """An image's size and scale, and where its tiles are; it is opened for that."""
    served, key = _served(request), _key(request)
    slide = served.image(key)
    case = await _case(request)
    path = slide.images[key.image]
    reader = await served.workshop.make(
        f"open {key}", functools.partial(served.slides.reader, slide, path)
    )
    state, levels = path.stat(), levels_of(reader)
    version = f"{state.st_mtime_ns ^ state.st_size:x}"[-16:]
    places = f"{key.endpoint}/{key.patient}/{key.slide}/{key.image}"
    return JSONResponse(
        {
            "width": levels.width, "height": levels.height, "tile": TILE_PX,
            "highest": levels.highest, "mpp": slide_scale(case, slide),
            "tiles": f"/tiles/{places}/{version}", "nuclei": has_nuclei(case, slide),
        }
    )  # fmt: skip


async def overlays(request: Request) -> Response:
    """Outlines and measured patches of a slide."""
    served, case, slide = _served(request), await _case(request), _slide(request)
    work = functools.partial(_overlays, served, case, slide)
    return JSONResponse(await served.workshop.make(request.url.path, work))


async def nuclei(request: Request) -> Response:
    """Nuclei of an image within a window."""
    case = await _case(request)
    key = _key(request)
    slide = _served(request).image(key)
    try:
        window = [float(request.query_params.get(name, "")) for name in ("x", "y", "w", "h")]
    except ValueError:
        window = [math.nan]
    if not all(map(math.isfinite, window)):
        raise NotThereError("The window is four numbers: x, y, w, h.")
    x, y, width, height = window
    found = await run_in_threadpool(nuclei_within, case, slide, key.image, (x, y, width, height))
    return JSONResponse(found)


async def patch(request: Request) -> Response:
    """A measured patch as a small picture, by its place among the slide's patches."""
    served, case, slide = _served(request), await _case(request), _slide(request)
    tiles = case.endpoint.tiles
    place = int(request.path_params["patch"])
    if tiles is None or place >= len(tiles.grids[slide.slide_id]):
        raise NotThereError("There is no such patch.")

    def work() -> bytes:
        found = _overlays(served, case, slide)["patches"]
        if found is None or place >= len(found["x"]):
            raise NotThereError("There is no such patch.")
        side = int(tiles.grids[slide.slide_id].size_level0)
        reader = served.slides.reader(slide, slide.images[found["image"][place]])
        return patch_jpeg(reader, found["x"][place], found["y"][place], side, size_px=_PATCH_PX)

    address = request.url.path
    content = served.tiles.get(address)
    if content is None:
        content = await served.workshop.make(address, work)
        served.tiles.put(address, content)
    return Response(content, media_type="image/jpeg")


async def ask(request: Request) -> Response:
    """What the models would say with the values that were typed."""
    case = await _case(request)
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return JSONResponse({"problem": "Send JSON."}, 415)
    try:
        typed = Values.model_validate(json.loads(await request.body()))
    except (ValueError, ValidationError, RecursionError):
        return JSONResponse({"problem": "This is not what the form sends."}, 400)
    unknown = set(typed.values) - set(case.endpoint.config.clinical.names)
    if unknown:
        raise CohortError("the form has a value that the study has not.", "Reload the page.")
    answers = await run_in_threadpool(_served(request).models.ask, case, typed.values)
    return JSONResponse({"answers": [_plain(answer) for answer in answers]})


def _overlays(served: Served, case: OpenedCase, slide: Slide) -> dict[str, Any]:
    """Read once, and again where `axilla explain` measured the slide meanwhile."""
    table = measured_table(case, slide)
    key = (case.endpoint.name, slide.slide_id, table and (table, table.stat().st_mtime_ns))
    return served.overlays.get(key, functools.partial(slide_overlays, case, slide))


def _plain(answer: Any) -> dict[str, Any]:
    return {**dataclasses.asdict(answer), "scores": dict(answer.scores)}


def _served(request: Request) -> Served:
    served: Served = request.app.state.served
    return served


async def _case(request: Request) -> OpenedCase:
    where = request.path_params
    return await run_in_threadpool(
        _served(request).case, int(where["endpoint"]), int(where["patient"])
    )


def _slide(request: Request) -> Slide:
    where = request.path_params
    return _served(request).slide(
        int(where["endpoint"]), int(where["patient"]), int(where["slide"])
    )


def _key(request: Request) -> ImageKey:
    where = request.path_params
    return ImageKey(*(int(where[name]) for name in ("endpoint", "patient", "slide", "image")))


def _base(request: Request) -> str:
    where = request.path_params
    return f"/api/e/{where['endpoint']}/p/{where['patient']}"


_CASE = "/e/{endpoint:int}/p/{patient:int}"
_SLIDE = f"/api{_CASE}/slides/{{slide:int}}"
_IMAGE = f"{_SLIDE}/images/{{image:int}}"
ROUTES = [
    Route(_CASE, case_page),
    Route(f"/api{_CASE}/ask", ask, methods=["POST"]),
    Route(_IMAGE, image),
    Route(f"{_SLIDE}/overlays", overlays),
    Route(f"{_SLIDE}/patches/{{patch:int}}", patch),
    Route(f"{_IMAGE}/nuclei", nuclei),
]
