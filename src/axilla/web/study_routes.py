"""The study: its page, and what that page asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from axilla.core.errors import ConfigError
from axilla.core.methods import method_title
from axilla.study.live_figures import cohort_figures, cohort_titles, figures_at, patient_rows
from axilla.web.file_routes import files_of
from axilla.web.pages import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from axilla.study.opened import OpenedEndpoint
    from axilla.web.served import Served


async def study_page(request: Request) -> Response:
    """The page of one endpoint."""
    place, endpoint = _endpoint(request)
    cohorts = cohort_titles(endpoint)
    return page(
        request,
        "study.html",
        place=place,
        endpoint=endpoint.name,
        classes=endpoint.cohort.classes,
        count=len(endpoint.cohort.patients),
        methods=[(name, method_title(name)) for name in endpoint.methods],
        method=endpoint.methods[-1],
        cohorts=list(cohorts.items()),
        cohort="test" if "test" in cohorts else next(iter(cohorts)),
        crossed=endpoint.config.crossed,
        notes=endpoint.notes,
        files=files_of(endpoint, place),
    )


async def patients(request: Request) -> Response:
    """All rows of the table of patients."""
    _, endpoint = _endpoint(request)
    rows = await run_in_threadpool(patient_rows, endpoint)
    places = {p.patient_id: i for i, p in enumerate(endpoint.cohort.patients)}
    return JSONResponse(
        {
            "classes": list(endpoint.cohort.classes),
            "groups": list(dict.fromkeys(title for row in rows for title in row.groups)),
            "rows": [
                {
                    "place": places[row.patient_id], "id": row.patient_id, "cohort": row.cohort,
                    "label": row.label, "scores": row.scores, "spread": row.spread,
                    "groups": row.groups,
                }
                for row in rows
            ],
        }
    )  # fmt: skip


async def figures(request: Request) -> Response:
    """What of a method and a cohort does not depend on the threshold."""
    _, endpoint = _endpoint(request)
    asked = request.query_params
    found = await run_in_threadpool(
        cohort_figures, endpoint, asked.get("method", ""), asked.get("cohort", "")
    )
    return JSONResponse(found)


async def operating(request: Request) -> Response:
    """The figures at one threshold."""
    _, endpoint = _endpoint(request)
    asked = request.query_params
    try:
        threshold = float(asked.get("threshold", ""))
    except ValueError:
        threshold = math.nan
    if not math.isfinite(threshold):
        raise ConfigError("the threshold is no number.", "Give one from 0 to 1.")
    found = await run_in_threadpool(
        figures_at, endpoint, asked.get("method", ""), asked.get("cohort", ""), threshold=threshold
    )
    return JSONResponse(found)


def _endpoint(request: Request) -> tuple[int, OpenedEndpoint]:
    served: Served = request.app.state.served
    place = int(request.path_params["endpoint"])
    return place, served.endpoint(place)


ROUTES = [
    Route("/e/{endpoint:int}", study_page),
    Route("/api/e/{endpoint:int}/patients", patients),
    Route("/api/e/{endpoint:int}/figures", figures),
    Route("/api/e/{endpoint:int}/operating", operating),
]
